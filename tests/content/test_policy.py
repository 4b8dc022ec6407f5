"""What a column's policy decides, without a database or a storage."""

from __future__ import annotations

import pickle
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn import ContentRejectedError, ContentTypeRejectedError, FileTooLargeError, StoredObject
from filecolumn.content.media_types import ACTIVE, canonical
from filecolumn.content.policy import ContentPolicy
from filecolumn.naming import guess_content_type
from tests.samples import GIF, HTML, JPEG, MP4, PDF, PNG, SAMPLES, SVG


def decide(accept: set[str] | None, content: bytes, filename: str, declared: str = "") -> str:
    """Return the type that a row would have; *declared* is what the name says if it is not given."""
    policy = ContentPolicy.of(None, accept)
    return policy.type_of(content, filename, declared or guess_content_type(filename), "file")[0]


# A declaration


@pytest.mark.parametrize(
    "entry", ["", "png", "image", "image/", "/png", "*", "*/png", "image/p*", ".", "a b/c", ". pdf"]
)
def test_an_entry_that_means_nothing_is_refused_where_it_is_declared(entry: str) -> None:
    with pytest.raises(ValueError, match="accept has"):
        StoredObject(accept={entry})


def test_one_string_is_no_set() -> None:
    with pytest.raises(TypeError, match="accept is a set"):
        StoredObject(accept="image/*")


@pytest.mark.parametrize(
    ("size", "error"), [(-1, ValueError), (1.5, TypeError), ("10MB", TypeError), (True, TypeError)]
)
def test_a_size_is_a_number_of_bytes(size: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="number of bytes"):
        StoredObject(max_size=size)  # type: ignore[arg-type]


def test_the_declaration_can_be_read_and_is_not_rendered() -> None:
    kind = StoredObject("docs", max_size=10, accept=[".PDF", "Image/*"])
    assert (kind.max_size, kind.accept) == (10, frozenset({".pdf", "image/*"}))
    assert repr(kind) == "StoredObject(backend='docs')"
    assert StoredObject().accept is None


# Size


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_size_is_refused_if_it_is_above_the_limit(limit: int, size: int) -> None:
    policy = ContentPolicy.of(limit, None)
    if size <= limit:
        policy.check_size(size)
        return
    with pytest.raises(FileTooLargeError) as caught:
        policy.check_size(size, "file")
    assert caught.value.params == {"max_size": limit}


# Types


@pytest.mark.parametrize(
    ("accept", "content", "filename", "declared", "row"),
    [
        ({"image/*"}, PNG, "a.png", "", "image/png"),
        ({"image/*"}, PNG, "photo", "", "image/png"),
        ({"image/*"}, PNG, "photo.png", "application/octet-stream", "image/png"),
        ({"image/jpeg"}, JPEG, "a.jpg", "image/pjpeg", "image/pjpeg"),
        ({"text/*"}, b"a,b", "a.csv", "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ({".csv"}, b"a,b", "a.csv", "application/vnd.ms-excel", "text/csv"),
        ({"text/csv"}, b"a,b", "a.csv", "text/plain", "text/csv"),
        ({".PDF"}, PDF, "A.PDF", "", "application/pdf"),
        ({".tar.gz"}, SAMPLES["a.gz"][0], "a.tar.gz", "", "application/gzip"),
        ({".dwx"}, b"\0\1\2\3", "plan.dwx", "", "application/octet-stream"),
        ({"application/*"}, SAMPLES["a.docx"][0], "a.docx", "", SAMPLES["a.docx"][1]),
        ({"image/svg+xml"}, SVG, "a.svg", "", "image/svg+xml"),
        ({".svg"}, SVG, "a.svg", "", "image/svg+xml"),
        ({"text/markdown"}, b"<h1>Title</h1>", "a.md", "", "text/markdown"),
        ({"text/plain"}, b"", "a.txt", "", "text/plain"),
        ({"application/octet-stream"}, b"\0\1\2", "blob", "", "application/octet-stream"),
        ({"*/*"}, PNG, "a.png", "", "image/png"),
    ],
)
def test_content_is_accepted(
    accept: set[str], content: bytes, filename: str, declared: str, row: str
) -> None:
    assert decide(accept, content, filename, declared) == row


@pytest.mark.parametrize(
    ("accept", "content", "filename", "declared"),
    [
        ({"image/*"}, HTML, "a.png", "image/png"),
        ({"image/*"}, HTML, "photo", "image/png"),
        ({"image/*"}, b"text", "a.png", ""),
        ({"image/*"}, b"", "a.png", ""),
        ({"image/*"}, PNG, "a.jpg", ""),
        ({"image/*"}, PNG, "a.jpg", "image/png"),
        ({"image/*"}, PNG, "a.png", "image/gif"),
        ({"image/*"}, GIF, "shell.php", "image/gif"),
        ({"image/*"}, GIF, "a.gif.php", "image/gif"),
        ({"image/*"}, PNG, "a.html", "image/png"),
        ({"image/*"}, GIF, "a.aspx", ""),
        (set(SAMPLES["a.mp4"][1:]), PNG, "a.png", ""),
        ({".pdf"}, b"\0\1\2", "a.pdf", ""),
        ({".csv"}, SAMPLES["a.exe"][0], "a.csv", ""),
        ({"application/x-unheard-of"}, SAMPLES["a.exe"][0], "a", "application/x-unheard-of"),
        (set(), PNG, "a.png", ""),
    ],
)
def test_content_is_refused(accept: set[str], content: bytes, filename: str, declared: str) -> None:
    with pytest.raises(ContentTypeRejectedError):
        decide(accept, content, filename, declared)


@pytest.mark.parametrize(
    ("accept", "content", "filename"),
    [
        ({"image/*"}, SVG, "a.svg"),
        ({"text/*"}, HTML, "a.html"),
        ({"text/*"}, b"alert(1)", "a.js"),
        ({"*/*"}, HTML, "a.html"),
        ({"application/*"}, SAMPLES["a.xhtml"][0], "a.xhtml"),
        ({".dwx"}, HTML, "a.dwx"),
    ],
)
def test_what_a_browser_runs_passes_by_its_own_name_only(
    accept: set[str], content: bytes, filename: str
) -> None:
    with pytest.raises(ContentTypeRejectedError):
        decide(accept, content, filename)


@pytest.mark.parametrize("claim", ["image/x-unheard-of", "image/png,text/html", "audio/x-own"])
def test_a_wildcard_takes_what_the_bytes_show_only(claim: str) -> None:
    kind = claim.partition("/")[0]
    for content in (b"\0\1\2\3", b"text", SAMPLES["a.exe"][0]):
        with pytest.raises(ContentTypeRejectedError):
            decide({f"{kind}/*"}, content, "blob", claim)


def test_a_refusal_can_be_read_by_a_program() -> None:
    with pytest.raises(ContentRejectedError) as mismatch:
        decide({"image/*", ".pdf"}, HTML, "a.png")
    assert (mismatch.value.field, mismatch.value.code) == ("file", "type_mismatch")
    assert mismatch.value.params == {
        "claimed": "image/png",
        "found": "text/html",
        "accept": [".pdf", "image/*"],
    }
    with pytest.raises(ContentRejectedError) as refused:
        decide({"image/*"}, PDF, "a.pdf")
    assert (refused.value.field, refused.value.code) == ("file", "type_not_accepted")
    assert refused.value.params == {"content_type": "application/pdf", "accept": ["image/*"]}
    copy = pickle.loads(pickle.dumps(refused.value))
    assert (str(copy), copy.field, copy.code, copy.params) == (
        str(refused.value),
        "file",
        "type_not_accepted",
        refused.value.params,
    )


# Names

RUNS = (
    "hta scr lnk vbs vbe ps1 psm1 cmd bat com pif cpl msi jar pht phtml shtml cer html xhtml xht htc mht svg "
    "xsl js mjs jse wsf wsc sct reg url desktop py pl sh cgi asp asa aspx ashx jsp cfm swf dll sys inf chm "
    "jnlp application appref-ms settingcontent-ms library-ms scf msc gadget xll iqy vb class config apk csh pyz "
    "shs pyd crx oxt mobileconfig accdb iso img crt".split()
)


@pytest.mark.parametrize(
    "name",
    "a.{}|data:,a.{}|a.gif.{}|a.gif?.{}|A.{}.|a.{} |a.{}::$DATA|a.{}\ufe0f|a.\u3164{}|a.{}\U000e0020".split(
        "|"
    ),
)
@pytest.mark.parametrize("declared", ["image/gif", "application/octet-stream"])
def test_a_picture_has_no_name_that_something_runs(name: str, declared: str) -> None:
    for extension in RUNS:
        with pytest.raises(ContentTypeRejectedError) as refused:
            decide({"image/*"}, GIF, name.format(extension), declared)
        assert refused.value.code == "type_mismatch", extension


@pytest.mark.parametrize("content", [HTML, b"alert(1)"])
def test_text_has_no_name_that_something_runs(content: bytes) -> None:
    for extension in RUNS:
        with pytest.raises(ContentTypeRejectedError):
            decide({"text/plain"}, content, f"a.{extension}", "text/plain")


@pytest.mark.parametrize(
    "name",
    [
        "holiday.2024",
        "IMG_001",
        "scan.final",
        "v1.2",
        "Dr. Smith",
        "photo.",
        ".hidden",
        "a.jfif",
        "data:x",
        "a#b",
        "1.0.0",
        "letter.user",
        "to.do",
        "lang.bundle",
    ],
)
def test_an_everyday_name_is_no_claim(name: str) -> None:
    assert decide({"image/*"}, JPEG, name, "application/octet-stream") == "image/jpeg"


@pytest.mark.parametrize("extension", ["hta", "reg", "cgi", "mht", "wsc"])
def test_an_extension_that_is_listed_is_taken(extension: str) -> None:
    assert decide({f".{extension}"}, b"text", f"a.{extension}")


# Formats in a container


@pytest.mark.parametrize(
    ("accept", "content", "filename", "declared", "row"),
    [
        ({".gpx"}, b"<?xml version='1.0'?><gpx/>", "a.gpx", "", "application/octet-stream"),
        ({".gpx"}, b"<?xml version='1.0'?><gpx/>", "a.gpx", "application/gpx+xml", "application/gpx+xml"),
        ({".drawio"}, b"<mxfile host='x'/>", "a.drawio", "", "application/octet-stream"),
        ({".kmz"}, SAMPLES["a.zip"][0], "a.kmz", "", "application/octet-stream"),
        ({"audio/*"}, SAMPLES["a.webm"][0], "voice.webm", "audio/webm", "audio/webm"),
        ({"audio/webm"}, SAMPLES["a.webm"][0], "blob", "audio/webm;codecs=opus", "audio/webm;codecs=opus"),
        ({"video/*"}, SAMPLES["a.webm"][0], "film.webm", "audio/webm", "video/webm"),
        ({"audio/*"}, MP4, "voice.mp4", "audio/mp4", "audio/mp4"),
        ({"font/*"}, b"wOFF\0\1\0\0", "a.woff", "", "font/woff"),
        ({"font/*"}, b"\0\1\0\0\0\x0b\0\x80\0\3\0\x30OS/2", "a.ttf", "", "font/ttf"),
        ({".doc"}, b"{\\rtf1\\ansi hello}", "a.doc", "application/msword", "application/msword"),
        ({".xls"}, b"a\tb\n", "a.xls", "", "application/vnd.ms-excel"),
        ({".docx"}, SAMPLES["a.doc"][0], "secret.docx", "", SAMPLES["a.docx"][1]),
        ({".dot"}, b"digraph { a -> b }", "a.dot", "text/vnd.graphviz", "application/msword"),
        ({"application/x-subrip"}, b"1\n00:00", "a.srt", "application/x-subrip", "application/x-subrip"),
        ({".vue"}, b"<script setup>let a</script>", "a.vue", "", "text/x-template"),
        ({guess_content_type("a.apk")}, SAMPLES["a.zip"][0], "a.apk", "", guess_content_type("a.apk")),
        ({"application/x-sh"}, b"#!/bin/csh\nls\n", "a.csh", "", "application/x-sh"),
        ({"text/plain"}, b"use auto\nsummarize price\n", "a.do", "text/plain", "text/plain"),
    ],
)
def test_a_format_keeps_its_own_type(
    accept: set[str], content: bytes, filename: str, declared: str, row: str
) -> None:
    assert decide(accept, content, filename, declared) == row


@pytest.mark.parametrize(
    ("media_type", "content", "filename"),
    [
        ("text/calendar", b"BEGIN:VCALENDAR\r\n", "a.ics"),
        ("text/vcard", b"BEGIN:VCARD\r\n", "a.vcf"),
        ("application/geo+json", b'{"type": "Feature"}', "a.geojson"),
        ("application/x-ndjson", b'{"a": 1}\n{"a": 2}\n', "a.ndjson"),
        ("application/rtf", b"{\\rtf1 a}", "a.rtf"),
        ("image/vnd.adobe.photoshop", b"8BPS\0\1", "a.psd"),
        ("audio/midi", b"MThd\0\0\0\6\0\1", "a.mid"),
        ("audio/webm", SAMPLES["a.webm"][0], "a.weba"),
        ("video/ogg", SAMPLES["a.ogg"][0], "a.ogv"),
        ("model/gltf+json", b'{"asset": {}}', "a.gltf"),
        ("application/vnd.android.package-archive", SAMPLES["a.zip"][0], "a.apk"),
        ("application/x-sh", b"#!/bin/csh -f\n", "a.csh"),
    ],
)
def test_a_type_is_taken_under_its_usual_extension(media_type: str, content: bytes, filename: str) -> None:
    for declared in ("application/octet-stream", media_type):
        assert decide({media_type}, content, filename, declared) == media_type
    assert decide({f".{filename.partition('.')[2]}"}, content, filename, "") == media_type


@pytest.mark.parametrize(
    ("media_type", "other", "content", "filename"),
    [
        ("text/vcard", "text/x-vcard", b"BEGIN:VCARD\r\n", "a.vcf"),
        ("text/vcard", "text/directory", b"BEGIN:VCARD\r\n", "a.vcf"),
        ("text/csv", "application/csv", b"a,b", "a.csv"),
        ("text/csv", "text/x-csv", b"a,b", "blob"),
        ("text/markdown", "text/x-markdown", b"# a", "blob"),
        ("audio/midi", "audio/x-midi", b"MThd\0\0\0\6\0\1", "a.midi"),
        ("audio/midi", "audio/mid", b"RIFF\x10\0\0\0RMIDdata", "a.mid"),
        ("application/pdf", "application/x-pdf", PDF, "a.pdf"),
    ],
)
def test_an_old_name_of_a_type_is_as_good(media_type: str, other: str, content: bytes, filename: str) -> None:
    assert decide({media_type}, content, filename, other) == other
    assert decide({other}, content, filename, media_type) == media_type


OTHER_NAMES = "png pdf txt csv md json xml gpx docx zip mp3 mp4 ttf dwx xls doc".split()


@pytest.mark.parametrize("declared", ["", "application/octet-stream"])
@pytest.mark.parametrize(
    "content",
    [
        HTML,
        SVG,
        SAMPLES["a.xhtml"][0],
        SAMPLES["e.html"][0],
        SAMPLES["a.php"][0],
        SAMPLES["a.exe"][0],
        SAMPLES["a.elf"][0],
        b"\xcf\xfa\xed\xfe\7\0\0\1",
        b"#!/bin/sh\necho",
        b"@echo off\r\n",
    ],
)
def test_what_runs_passes_under_no_other_name(content: bytes, declared: str) -> None:
    for extension in OTHER_NAMES:
        with pytest.raises(ContentTypeRejectedError):
            decide({f".{extension}"}, content, f"a.{extension}", declared)


@pytest.mark.parametrize("start", [HTML, b"<!--free--><script>alert(1)</script>", b"<?php echo 1; ?>", SVG])
@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ({".pdf"}, "a.pdf"),
        ({"video/*"}, "a.mp4"),
        ({"video/*"}, "a.mov"),
        ({".tar"}, "a.tar"),
        ({".dcm"}, "a.dcm"),
        ({".dwx"}, "a.dwx"),
    ],
)
def test_a_page_with_a_signature_behind_it_passes_under_no_other_name(
    start: bytes, accept: set[str], name: str
) -> None:
    for content in (
        start + b"\x01\n%PDF-1.4\n%\xe2\xe3\xcf\xd3",
        start + b"\0",
        start.ljust(257) + b"ustar\0",
        start.ljust(128) + b"DICM\0",
    ):
        with pytest.raises(ContentTypeRejectedError):
            decide(accept, content, name)


@pytest.mark.parametrize("wildcard", ["text/*", "application/*", "*/*"])
@pytest.mark.parametrize(
    "declared",
    "application/ecmascript application/javascript application/x-ecmascript application/x-javascript text/ecmascript "
    "text/javascript text/javascript1.0 text/javascript1.1 text/javascript1.2 text/javascript1.3 text/javascript1.4 "
    "text/javascript1.5 text/jscript text/livescript text/x-ecmascript text/x-javascript text/vbscript "
    "text/x-component text/xml application/xml application/atom+xml application/xslt+xml text/css".split(),
)
def test_no_wildcard_takes_what_a_browser_runs(wildcard: str, declared: str) -> None:
    with pytest.raises(ContentTypeRejectedError):
        decide({wildcard}, b"alert(1)", "a", declared)
    assert decide({declared}, b"alert(1)", "a", declared) == declared


# The rule of wildcards, stated a second time by fnmatch

KINDS = sorted({media_type for _, media_type in SAMPLES.values()} - {"application/x-ole-storage"})
ENTRIES = st.sets(
    st.one_of(
        st.sampled_from(KINDS),
        st.sampled_from(["image/*", "text/*", "video/*", "audio/*", "application/*", "*/*"]),
    )
)


@given(ENTRIES, st.sampled_from(sorted(SAMPLES)))
def test_a_file_that_claims_nothing_is_taken_as_its_bytes_match(accept: set[str], name: str) -> None:
    content, found = SAMPLES[name]
    exact = canonical(found) in map(canonical, accept)
    wild = canonical(found) not in ACTIVE and any(fnmatchcase(found, entry) for entry in accept)
    try:
        assert decide(accept, content, "file", "application/octet-stream") == found
    except ContentTypeRejectedError:
        assert not exact
        assert not wild
    else:
        assert exact or wild


NAMES = st.sampled_from(
    ["a", "a.png", "a.jpg", "a.txt", "a.html", "a.svg", "a.pdf", "a.csv", "a.zip", "a.php", "a.dwx"]
)
DECLARED = st.one_of(st.just(""), st.sampled_from([*KINDS, "image/x-own", "application/x-own"]))


@given(ENTRIES, st.sampled_from(sorted(SAMPLES)), NAMES, DECLARED)
def test_no_claim_gets_a_page_or_a_program_through_where_none_is_named(
    accept: set[str], sample: str, filename: str, declared: str
) -> None:
    """Whatever name and declared type say: what is accepted is served as text at most."""
    content, found = SAMPLES[sample]
    named = accept & ACTIVE
    if named or found not in ACTIVE:
        return
    try:
        row = decide(accept, content, filename, declared)
    except ContentTypeRejectedError:
        return
    assert row.partition(";")[0] in {"text/plain", "text/markdown"}


# Without accept


@pytest.mark.parametrize(
    ("content", "filename", "declared", "row"),
    [
        (b"body", "report.pdf", "", "application/pdf"),
        (b"\0\1\2", "report.pdf", "", "application/pdf"),
        (PNG, "blob", "", "application/octet-stream"),
        (JPEG, "a.png", "", "image/jpeg"),
        (HTML, "a.png", "", "application/octet-stream"),
        (HTML, "a", "image/png", "application/octet-stream"),
        (SVG, "a.png", "", "application/octet-stream"),
        (SAMPLES["a.exe"][0], "a.pdf", "", "application/octet-stream"),
        (HTML, "a.html", "", "text/html"),
        (HTML, "a.txt", "", "text/plain"),
        (SAMPLES["a.docx"][0], "a.docx", "", SAMPLES["a.docx"][1]),
        (PNG, "a.dwx", "application/x-own", "application/x-own"),
    ],
)
def test_without_accept_only_a_disproved_claim_is_corrected(
    content: bytes, filename: str, declared: str, row: str
) -> None:
    assert decide(None, content, filename, declared) == row


@pytest.mark.parametrize(
    ("accept", "name", "declared", "is_refused"),
    [
        ({"image/*"}, "a", "image/png", False),
        ({"image/*"}, "a.png", "application/pdf", True),
        ({"image/*"}, "a", "image/svg+xml", True),
        ({"image/*"}, "a", "application/octet-stream", False),
        ({"text/csv"}, "a.csv", "text/plain", False),
        ({".csv"}, "a.csv", "application/vnd.ms-excel", False),
        ({"*/*"}, "a", "text/html", True),
        (None, "a", "text/html", False),
    ],
)
def test_a_declared_type_is_judged_before_there_is_any_content(
    accept: set[str] | None, name: str, declared: str, is_refused: bool
) -> None:
    policy = ContentPolicy.of(None, accept)
    if is_refused:
        with pytest.raises(ContentTypeRejectedError):
            policy.check_declared(declared, name)
    else:
        policy.check_declared(declared, name)
