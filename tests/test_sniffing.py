"""What the bytes of a file show, and which claims that leaves standing."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filecolumn.mediatypes import agree, is_proven
from filecolumn.naming import guess_content_type
from filecolumn.sniffing import HEAD_SIZE, sniff
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


@pytest.mark.parametrize("claimed", BINARY)
@pytest.mark.parametrize("name", REAL)
def test_a_picture_sound_or_film_is_what_it_says(name: str, claimed: str) -> None:
    """No other sample of this list passes under the name of one of them."""
    claim, found = SAMPLES[claimed][1], sniff(SAMPLES[name][0])
    assert agree(claim, found) == (found == claim)


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
        ("text/plain", "text/html"),
        ("text/markdown", "text/html"),
        ("application/postscript", "application/pdf"),
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


@pytest.mark.parametrize("piece", [b"<!--", b"<?", b"<!a [", b"<!---->", b"<??>", b" ", b"<a:", b"<"])
def test_a_hostile_head_costs_little(piece: bytes) -> None:
    head = (b"<?xml?>" + piece * HEAD_SIZE)[:HEAD_SIZE]
    started = time.perf_counter()
    for _ in range(20):
        sniff(head)
    assert time.perf_counter() - started < 2


def test_markup_is_found_behind_white_space() -> None:
    assert sniff(b" \n\t" * 100 + HTML) == "text/html"
