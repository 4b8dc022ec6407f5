# ruff: noqa: RUF001 - letters that look like others are what is tested
"""Names and types in headers: one header for any name, and what may run is saved, never shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn.http.headers import INLINE_TYPES, content_disposition, served_as, served_type

_VALUE = re.compile(
    r"attachment; filename=\"([^\"\\]*)\"(?:; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]+))?"
)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.png", 'attachment; filename="a.png"'),
        ("a b;c=d.png", 'attachment; filename="a b;c=d.png"'),
        (
            'a"; filename="b.exe',
            "attachment; filename=\"a_; filename=_b.exe\"; filename*=UTF-8''a%22%3B%20filename%3D%22b.exe",
        ),
        (
            "x\r\nSet-Cookie: a=b",
            "attachment; filename=\"xSet-Cookie_ a=b\"; filename*=UTF-8''xSet-Cookie%3A%20a%3Db",
        ),
        ("a%0d%0ab", "attachment; filename=\"a_0d_0ab\"; filename*=UTF-8''a%250d%250ab"),
        ("é.txt", "attachment; filename=\"e.txt\"; filename*=UTF-8''%C3%A9.txt"),
        ("😀.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%F0%9F%98%80.txt"),
        (
            "کتاب\u200cها.docx",
            (
                'attachment; filename="_______.docx"; '
                "filename*=UTF-8''%DA%A9%D8%AA%D8%A7%D8%A8%E2%80%8C%D9%87%D8%A7.docx"
            ),
        ),
        ("a\u202egnp.exe", 'attachment; filename="agnp.exe"'),
        ("CON", 'attachment; filename="_CON"'),
        ("NUL.tar.gz", 'attachment; filename="_NUL.tar.gz"'),
        ("..", 'attachment; filename="file"'),
        ("\ud800", 'attachment; filename="file"'),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
    ],
)
def test_names(filename: str, expected: str) -> None:
    assert content_disposition("attachment", filename) == expected


@given(st.text(max_size=300))
def test_any_name_is_one_header_of_two_parameters(filename: str) -> None:
    value = content_disposition("attachment", filename)
    assert value.isascii()
    assert value.isprintable()
    match = _VALUE.fullmatch(value)
    assert match is not None
    if match[2] is not None:
        assert not set(unquote(match[2])) & set("/\\\r\n\0")


@pytest.mark.parametrize(
    "kind",
    "text/html image/svg+xml application/xhtml+xml text/xml application/xml application/atom+xml text/javascript "
    "application/javascript text/css multipart/related message/rfc822 application/x-shockwave-flash "
    "TEXT/HTML;charset=utf-8 application/ecmascript application/x-ecmascript application/x-javascript text/ecmascript "
    "text/javascript1.0 text/javascript1.1 text/javascript1.2 text/javascript1.3 text/javascript1.4 text/javascript1.5 "
    "text/jscript text/livescript text/x-ecmascript text/x-javascript text/vbscript text/x-component text/xsl "
    "application/wasm application/hta application/java-archive video/x+xml application/vnd.acme".split(),
)
def test_what_runs_is_saved_and_has_no_name(kind: str) -> None:
    assert served_as("inline", kind, INLINE_TYPES) == "attachment"
    assert served_as("inline", kind, {"*/*", "image/*", "text/*", "application/*"}) == "attachment"
    assert served_type(kind, INLINE_TYPES) == "application/octet-stream"


@pytest.mark.parametrize(
    "kind", ["application/pdf", "application/zip", "application/octet-stream", "font/woff2"]
)
def test_what_is_not_listed_is_saved(kind: str) -> None:
    assert served_as("inline", kind, INLINE_TYPES) == "attachment"
    assert served_type(kind, INLINE_TYPES) == kind
    assert served_as("inline", kind, {kind}) == "inline"


@pytest.mark.parametrize("kind", ["image/png", "video/mp4", "audio/flac", "IMAGE/PNG"])
def test_pictures_and_players_are_shown_if_that_is_wanted(kind: str) -> None:
    assert served_as("inline", kind, INLINE_TYPES) == "inline"
    assert served_as("attachment", kind, INLINE_TYPES) == "attachment"


@pytest.mark.parametrize("kind", ["image/jpg", "image/pjpeg", "image/x-ms-bmp", "IMAGE/JPG; q=1"])
def test_another_name_of_a_picture_is_shown_too(kind: str) -> None:
    assert served_as("inline", kind, INLINE_TYPES) == "inline"


@pytest.mark.parametrize(
    ("kind", "listed"),
    [
        ("text/javascript", "application/javascript"),
        ("application/javascript", "text/javascript"),
        ("image/jpeg", "image/jpg"),
        ("text/xml", "application/xml"),
        ("application/pdf", "Application/PDF"),
    ],
)
def test_a_list_of_types_may_use_another_name(kind: str, listed: str) -> None:
    assert served_type(kind, {listed}) == kind
    assert served_as("inline", kind, {listed}) == "inline"


@pytest.mark.parametrize(
    "kind", ["image/png,text/html", "a/b/c", "x" * 10_000, "image/png\r\nSet-Cookie: a=b", "", "image"]
)
def test_a_type_that_is_none_is_not_sent(kind: str) -> None:
    assert served_type(kind, INLINE_TYPES) == "application/octet-stream"


def test_a_type_of_ones_own_is_sent_if_it_is_listed() -> None:
    assert served_type("application/vnd.acme", {"application/vnd.acme"}) == "application/vnd.acme"
    assert served_type("image/svg+xml", {"image/svg+xml"}) == "image/svg+xml"


def test_text_has_its_charset_and_no_other() -> None:
    assert served_type("text/plain", INLINE_TYPES) == "text/plain"
    assert served_type("text/plain; charset=latin-1", INLINE_TYPES) == "text/plain; charset=latin-1"
