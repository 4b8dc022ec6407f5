"""How text is announced: as UTF-8 only if that is what it is, the same by GET, HEAD and for each range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from filecolumn import storages
from filecolumn.http.headers import LOOKED_AT
from tests.litestar.application import objects

URL = "/documents/1/file"
UTF_8 = "text/plain; charset=utf-8"
PLAIN = "text/plain"


def announced(http: httpx.Client) -> set[str]:
    """Every type that the file is announced with."""
    answers = [
        http.get(URL, params={"show": "1"}),
        http.get(URL),
        http.head(URL),
        http.get(URL, headers={"Range": "bytes=3-5"}),
        http.get(URL, headers={"Range": "bytes=-4"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 206, 206]
    return {answer.headers["content-type"] for answer in answers}


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("Müller, größer, 10 €".encode(), UTF_8),
        (b"ASCII only", UTF_8),
        ("\ufeffMüller".encode(), UTF_8),
        ("Müller, größer, 10 €".encode("cp1252"), PLAIN),
        ("Müller".encode("utf-16"), PLAIN),
        ("日本語です".encode("shift-jis"), PLAIN),
        ("日本語です".encode("iso-2022-jp"), PLAIN),
        # without a mark, letters of ASCII are UTF-8 with zeros between them
        ("id;name\r\n1;Ann\r\n".encode("utf-16-le"), PLAIN),
        ("id;name\r\n1;Ann\r\n".encode("utf-16-be"), PLAIN),
        ("id;name\r\n1;Ann\r\n".encode("utf-32-le"), PLAIN),
        (b"\x1b(I123\x1b(B", PLAIN),
        # \x1b[31m and \x1b(B are of terminals, and change no letters
        ("\x1b[31mrot: Ä\x1b(B\x1b[m".encode(), UTF_8),
        # a character that is cut at its end
        ("Müller €".encode()[:-1], PLAIN),
        # a character across the end of what is looked at, then others behind it and before it
        (b"a" * (LOOKED_AT - 1) + "é".encode() * 50_000, UTF_8),
        (b"a" * LOOKED_AT + "é".encode("cp1252") * 50_000, UTF_8),
        (b"a" * (LOOKED_AT - 2) + "é".encode("cp1252") * 50_000, PLAIN),
    ],
    ids=lambda value: ascii(value)[:30],
)  # fmt: skip
def test_text_is_announced_as_utf_8_if_it_is(http: httpx.Client, content: bytes, content_type: str) -> None:
    assert http.put("/raw/a.txt", content=content, headers={"Content-Type": PLAIN}).status_code == 200
    assert announced(http) == {content_type}
    assert http.get(URL).content == content


@pytest.mark.parametrize(
    "declared", ["text/plain; charset=iso-8859-1", 'text/plain; format=flowed; Charset="utf-16"']
)
def test_a_declared_charset_stays(http: httpx.Client, declared: str) -> None:
    http.put("/raw/a.txt", content="Müller".encode("latin-1"), headers={"Content-Type": declared})
    assert announced(http) == {declared}


def test_other_parameters_are_no_charset(http: httpx.Client) -> None:
    http.put("/raw/a.txt", content="Müller".encode(), headers={"Content-Type": "text/plain; format=flowed"})
    assert announced(http) == {"text/plain; format=flowed; charset=utf-8"}


def test_a_range_reads_little_of_a_large_text_besides(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.put("/raw/a.txt", content=b"a" * 1_000_000, headers={"Content-Type": PLAIN})
    backend, asked = type(storages.get("files")), list[int | None]()
    real = backend.get_async

    async def get_async(self: Any, key: str, *, start: int = 0, length: int | None = None) -> Any:
        asked.append(length)
        return await real(self, key, start=start, length=length)

    monkeypatch.setattr(backend, "get_async", get_async)
    assert http.get(URL, headers={"Range": "bytes=0-9"}).headers["content-type"] == UTF_8
    assert http.head(URL).headers["content-type"] == UTF_8
    assert sorted(length or 1_000_000 for length in asked) == [10, 65_536, 65_536]


def test_an_empty_text_has_any_charset(http: httpx.Client) -> None:
    http.put("/raw/a.txt", content=b"", headers={"Content-Type": PLAIN})
    assert http.get(URL).headers["content-type"] == http.head(URL).headers["content-type"] == UTF_8


def test_what_the_client_has_already_is_not_read(http: httpx.Client, tmp_path: Path) -> None:
    http.put("/raw/a.txt", content=b"text", headers={"Content-Type": PLAIN})
    tag = http.get(URL).headers["etag"]
    objects(tmp_path)[0].unlink()
    assert http.get(URL, headers={"If-None-Match": tag}).status_code == 304
    assert http.get(URL).status_code == http.head(URL).status_code == 404
