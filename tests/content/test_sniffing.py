"""What the bytes of a file show, and which claims that leaves standing."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filecolumn.content.media_types import FRAGMENT, SCRIPT, agree, is_proven
from filecolumn.content.sniffing import CONTAINERS, FORMS, HEAD_SIZE, STARTS, signature_of, sniff
from filecolumn.naming import guess_content_type
from tests.samples import HTML, SAMPLES, zipped

REAL = [name for name in SAMPLES if name.startswith(("a.", "b.", "c.", "d.", "e.")) and name != "a.elf"]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_bytes_show_the_type(name: str) -> None:
    content, media_type = SAMPLES[name]
    assert sniff(content[:HEAD_SIZE]) == media_type


@pytest.mark.parametrize("name", REAL)
def test_a_true_name_agrees(name: str) -> None:
    claim = guess_content_type(name)
    assert agree(claim, sniff(SAMPLES[name][0])) or claim == "application/octet-stream"


BINARY = [
    name
    for name in REAL
    if SAMPLES[name][1].startswith(("image/", "video/", "audio/")) and ".svg" not in name
]


# What is shown, and what else it may be called: containers that several formats share
SHARED = {
    ("image/webp", "audio/x-wav"),
    ("audio/x-wav", "image/webp"),
    ("image/avif", "video/mp4"),
    ("video/mp4", "image/avif"),
    # a FLAC may have tags of MP3 before it, or be in an Ogg
    ("audio/mpeg", "audio/x-flac"),
    ("audio/ogg", "audio/x-flac"),
}


@pytest.mark.parametrize("claimed", BINARY)
@pytest.mark.parametrize("name", REAL)
def test_a_picture_sound_or_film_is_what_it_says(name: str, claimed: str) -> None:
    """No other sample of this list passes under the name of one of them, unless they share a container."""
    claim, found = SAMPLES[claimed][1], sniff(SAMPLES[name][0])
    assert agree(claim, found) == (found == claim or (found, claim) in SHARED)


@pytest.mark.parametrize(("found", "claim"), sorted(SHARED))
def test_a_wildcard_tells_a_picture_from_a_film_in_one_container(found: str, claim: str) -> None:
    kinds = {found.partition("/")[0], claim.partition("/")[0]}
    assert is_proven(claim, found) == ("image" not in kinds)


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("video/quicktime", "video/mp4"),
        ("audio/mp4", "video/mp4"),
        ("audio/opus", "audio/ogg"),
        ("image/heif", "image/heic"),
        ("font/otf", "application/font-sfnt"),
        ("image/x-nikon-nef", "image/tiff"),
        ("application/java-archive", "application/zip"),
        ("application/zip", "application/epub+zip"),
        ("application/vnd.ms-excel", "application/x-ole-storage"),
        ("application/vnd.ms-outlook", "application/x-ole-storage"),
        ("application/vnd.ms-excel", "text/plain"),  # CSV, as browsers on Windows declare it
        ("application/json", "text/plain"),
        ("model/obj", "text/plain"),
        ("application/gpx+xml", "application/xml"),
        ("text/plain", FRAGMENT),
        ("text/markdown", FRAGMENT),
        ("application/xml", FRAGMENT),
        ("application/postscript", "application/pdf"),
        ("application/msword", "application/rtf"),
        ("application/msword", "application/xml"),
        ("application/vnd.ms-excel", "application/zip"),
        (SAMPLES["a.docx"][1], "application/x-ole-storage"),  # with a password
        ("application/vnd.google-earth.kml+xml", "text/plain"),
        ("application/x-plist", "application/xml"),
        ("application/vnd.google-earth.kmz", "application/zip"),
        ("application/geopackage+sqlite3", "application/vnd.sqlite3"),
        ("image/svg+xml-compressed", "application/gzip"),
        ("application/x-gtar", "application/x-tar"),
        ("audio/webm", "video/webm"),
        ("audio/aac", "audio/mpeg"),
        ("video/mp2t", "text/plain"),  # TypeScript
        ("text/x-ruby", SCRIPT),
        ("audio/mpeg", "application/octet-stream"),
        ("application/x-tar", "application/octet-stream"),
        ("IMAGE/PNG; q=1", "image/png"),
    ],
)
def test_a_claim_may_say_more_or_less_than_the_bytes(claim: str, found: str) -> None:
    assert agree(claim, found)


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("image/png", "text/plain"),
        ("image/svg+xml", "text/plain"),
        ("text/plain", "text/html"),
        ("text/markdown", "text/html"),
        ("application/xml", "text/html"),
        ("application/xml", "image/svg+xml"),
        ("application/gpx+xml", "application/xhtml+xml"),
        ("text/plain", SCRIPT),
        ("application/pdf", SCRIPT),
        ("application/x-unheard-of", SCRIPT),
        ("text/csv", "application/x-executable"),
        ("application/json", FRAGMENT),
        ("text/csv", "application/octet-stream"),
        ("text/plain", "image/png"),
        ("application/pdf", "application/zip"),
        ("application/json", "text/html"),
        ("application/x-unheard-of", "text/html"),
        ("application/x-unheard-of", "image/svg+xml"),
        ("application/x-unheard-of", "application/x-msdownload"),
        ("application/zip", "application/octet-stream"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "text/plain"),
    ],
)
def test_a_claim_is_disproved(claim: str, found: str) -> None:
    assert not agree(claim, found)


def test_a_type_that_nobody_can_tell_is_not_disproved_and_not_proven() -> None:
    assert agree("image/x-unheard-of", "image/gif")
    assert not is_proven("image/x-unheard-of", "image/gif")
    assert not is_proven("image/x-unheard-of", "application/octet-stream")


def test_an_office_file_whose_parts_are_far_behind_is_a_zip_at_least() -> None:
    content = zipped(
        ("[Content_Types].xml", "<Types/>"), ("a.bin", bytes(range(256)) * 40), ("word/d.xml", "")
    )
    claim = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    assert agree(claim, sniff(content[:HEAD_SIZE]))


@given(st.binary(max_size=600))
@example(b"<?")
@example(b"<!DOCTYPE svg [")
@example(b"<!--")
@example(b"\xff\xfe<")
def test_any_bytes_have_a_type(head: bytes) -> None:
    assert "/" in sniff(head)


@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 60))
def test_a_cut_sample_has_a_type(name: str, size: int) -> None:
    assert "/" in sniff(SAMPLES[name][0][:size])


@pytest.mark.parametrize(
    "piece",
    [
        b"<!--",
        b"<?",
        b"<!a [",
        b"<!---->",
        b"<??>",
        b" ",
        b"<a:",
        b"<",
        b"<p",
        b" on",
        b" onaa",
        b"`",
        b"```\n",
    ],
)
def test_a_hostile_head_costs_little(piece: bytes) -> None:
    started = time.perf_counter()
    for start in (b"<?xml?>", b"<p>", b"<p "):
        for _ in range(20):
            sniff((start + piece * HEAD_SIZE)[:HEAD_SIZE])
    assert time.perf_counter() - started < 2


PAGES = [
    (HTML, "text/html"),
    (b"\xef\xbb\xbf \n" + HTML, "text/html"),
    (b"<!--free--><script>alert(1)</script>", "text/html"),
    (b"<!--skip--><html><script>alert(1)</script>", "text/html"),
    (b"<div><script>alert(1)</script></div>", "text/html"),
    (b"<?php system($_GET['c']); ?>", "application/x-httpd-php"),
    (b"<svg onload=alert(1)>", "image/svg+xml"),
    (b"#!/bin/sh\necho", SCRIPT),
    (b"@echo off\r\n", "application/x-bat"),
    (b"<p>wide", FRAGMENT),
]


@pytest.mark.parametrize(("start", "found"), PAGES)
def test_what_runs_is_not_hidden_by_a_signature_behind_it(start: bytes, found: str) -> None:
    """One byte that no text has used to be enough for the signatures that leave the beginning free."""
    assert sniff(start + b"\x01\n%PDF-1.4\n%\xe2\xe3\xcf\xd3") == found
    assert sniff(start.ljust(257) + b"ustar\0") == found
    assert sniff(start.ljust(128) + b"DICM\2\0") == found
    if found not in {SCRIPT, FRAGMENT, "application/x-bat"}:
        assert sniff(start + b"\0") == found


@pytest.mark.parametrize("atom", [b"free", b"skip", b"moov", b"wide", b"pnot", b"styp"])
def test_letters_are_no_size_of_an_atom(atom: bytes) -> None:
    assert sniff(b"The " + atom + b" of charge\0") == "application/octet-stream"
    assert sniff(b"\0\x12\0\0" + atom + b"\0\0") == "video/quicktime"


def test_an_archive_is_no_other_thing_that_it_says() -> None:
    for told in ("application/pdf", "application/java-archive", "application/xhtml+xml", "application/json"):
        assert sniff(zipped(("mimetype", told), ("a", "x"))) == "application/zip"
    content = zipped(("mimetype", "image/png"), ("mimetypeapplication/epub+zip", "x"))
    assert sniff(content) == "application/zip"
    assert sniff(zipped(("mimetype", "application/x-krita"), ("a", "x"))) == "application/x-krita"


def test_an_archive_says_its_type_behind_an_extra_field() -> None:
    content = zipped(("mimetype", "application/epub+zip"), ("a", "x"))
    end = 30 + len("mimetype")
    content = content[:28] + b"\4\0" + content[30:end] + b"\xca\xfe\0\0" + content[end:]
    assert sniff(content) == "application/epub+zip"


CODE_IN_MARKDOWN = [
    b"```html\n<script src=a.js></script>\n```\n",
    b"  ~~~~\n<body onload=go()>\n~~~\n  ~~~~~\n",
    b"```\n<script src=a.js></script>\n",
    b"Put the `<script >` tag last.\n",
    b"Write:\n\n    <script src=a.js>\n    </script>\n\n\t<iframe src=a>\n\nThat is all.",
]


@pytest.mark.parametrize("code", CODE_IN_MARKDOWN)
def test_code_that_a_markdown_file_shows_does_not_run(code: bytes) -> None:
    start = b"<p align=center>A project</p>\n\n"
    assert sniff(start + code) == FRAGMENT
    assert sniff(start + code.replace(b"\n", b"\r\n")) == FRAGMENT


def test_what_stands_beside_code_runs() -> None:
    for page in (
        b"<p>\n```\n<b>\n```\n<script >",
        b"<p>`a`<script >`b`",
        b"<p>\n\n    <b>\n\n<script >",
        b"<div>\n    <script >",
        b"<script src=a>\n```\n```",
    ):
        assert sniff(page) == "text/html", page


def test_markup_is_found_behind_white_space() -> None:
    assert sniff(b" \n\t" * 100 + HTML) == "text/html"


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"# Title\n\x1b[1mbold\x1b[0m and a page break \x0c and \x08 and the end of DOS \x1a", "text/plain"),
        (b"8=FIX.4.2\x0135=ExecutionReport\x0149=SENDER-OF-IT\x0152=20240605-12:00:00.000\x01", "text/plain"),
        ("id;name;town\r\n1;Ann;Bonn\r\n".encode("utf-16-le"), "text/plain"),
        ("id;name\r\n1;Ann\r\n".encode("utf-32-be"), "text/plain"),
        ("<html><script>".encode("utf-16-be"), "text/html"),
        (b"\x1b%-12345X@PJL\r\n%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
        (b"#!/bin/sh\necho", SCRIPT),
        (b"#! /usr/bin/env python3\n", SCRIPT),
        (b"@ECHO OFF\r\n", "application/x-bat"),
        (b"<p align=center>A project</p>\n\n# Title", FRAGMENT),
        (b"<p>A project<script>alert(1)</script>", "text/html"),
        (b"<div onclick='alert(1)'>", "text/html"),
        (b"<!-- Copyright --><!ELEMENT a (b)>", "text/plain"),
        (b"<!-- made by hand --><map/>", "text/plain"),
        (b"\xcf\xfa\xed\xfe\x07\0\0\x01", "application/x-mach-binary"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02\x01\0\0\x07", "application/x-mach-binary"),
        (b"\xca\xfe\xba\xbe\0\0\0\x41\0\x1d", "application/java-vm"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x08wide\0\0\0\x10mdat", "video/quicktime"),
        (b"II+\0\x08\0\0\0", "image/tiff"),
        (b"\0\x01\0\0\0\x0b\0\x80\0\x03\0\x30OS/2", "font/sfnt"),
        (b"wOF2\0\x01\0\0", "font/woff2"),
    ],
)
def test_what_real_files_begin_with(head: bytes, found: str) -> None:
    assert sniff(head) == found


FORM_MATCHERS = {re.compile(form, re.DOTALL): name for form, (_, name) in FORMS.items()}


def signature_by_all(head: bytes) -> str | None:
    """Ask every start and every form, whatever the first byte is."""
    for start, name in STARTS.items():
        if head.startswith(start):
            return CONTAINERS[name](head) if name in CONTAINERS else name
    return next((name for form, name in FORM_MATCHERS.items() if form.match(head)), None)


# A form that is all but matched is what random bytes never are
beginnings = st.one_of(
    st.binary(max_size=16),
    st.sampled_from(sorted(STARTS)),
    st.sampled_from(sorted(SAMPLES)).map(lambda name: SAMPLES[name][0]),
    st.one_of(*(st.from_regex(form) for form in FORM_MATCHERS)),
)


@given(beginnings, st.binary(max_size=40), st.integers(0, 80), st.none() | st.integers(0, 255))
def test_the_first_byte_leaves_out_no_signature(
    beginning: bytes, rest: bytes, kept: int, first: int | None
) -> None:
    head = beginning[:kept] + rest
    if first is not None:
        head = bytes((first,)) + head[1:]
    assert signature_of(head) == signature_by_all(head)


@pytest.mark.parametrize("start", STARTS, ids=repr)
def test_each_start_is_found_under_its_first_byte(start: bytes) -> None:
    for head in (start, start[:-1], start + bytes(64), start + b"x" * 400):
        assert signature_of(head) == signature_by_all(head)
    for first in range(256):
        head = bytes((first,)) + start[1:] + bytes(64)
        assert signature_of(head) == signature_by_all(head)
    assert not [other for other in STARTS if other != start and start.startswith(other)]


@pytest.mark.parametrize("form", FORMS, ids=repr)
@given(data=st.data())
def test_the_first_bytes_of_a_form_are_those_that_are_written_beside_it(
    form: bytes, data: st.DataObject
) -> None:
    matcher = re.compile(form, re.DOTALL)
    head = data.draw(st.from_regex(matcher, fullmatch=True))
    matching = {first for first in range(256) if matcher.match(bytes((first,)) + head[1:])}
    assert matching == set(FORMS[form][0])


@given(st.integers(0, 200), st.sampled_from([b"\0", b"\1", b"\x1f"]), st.integers(0, 200))
def test_letters_are_a_signature_only_in_what_is_not_text(before: int, control: bytes, after: int) -> None:
    text = b"wvpk" + b"a" * before
    assert sniff(text) == "text/plain"
    assert sniff(text + control + b"a" * after) == "audio/x-wavpack"
