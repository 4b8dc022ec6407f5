# ruff: noqa: RUF001 - letters that look like others are what is tested
"""File names, storage keys and content types: what is cleaned, what is kept, and what is refused."""

from __future__ import annotations

import re
import time
import unicodedata
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filecolumn import InvalidKeyError
from filecolumn.content import media_types
from filecolumn.content.media_types import canonical, is_known
from filecolumn.naming import (
    RUNNABLE_EXTENSIONS,
    check_content_type,
    check_key,
    clean_filename,
    guess_content_type,
    is_stage_name,
    last_extension,
    new_key,
    safe_extension,
    slug,
    uuid7_hex,
)

TEXT = st.text(max_size=400)
HOSTILE = st.lists(
    st.sampled_from(
        [
            "..",
            ".",
            "/",
            "\\",
            "\x00",
            "\r\n",
            "\u202e",
            "\u200b",
            "\u200c",
            "\u200d",
            "\u0301",
            "\u212a",
            "\ufeff",
            "C:",
            " ",
            "é",
            "ﬁ",
            "\uff0e",
            "CON",
            "#1",
        ]
    )
    | st.text(max_size=5),
    max_size=40,
).map("".join)
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
JOINERS = "[\u200c\u200d]"
# with one visible character before and after it, of which one is not ASCII
JOINED = re.compile(
    rf"(?<![\s\u200c\u200d]){JOINERS}(?=[^\s\u200c\u200d])(?<!^.)(?!(?<=[!-~].)[!-~])", re.DOTALL
)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        # traversal
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x", "x"),
        ("....//x", "x"),
        # absolute paths, drives, shares, URLs
        ("/etc/passwd", "passwd"),
        ("C:\\x", "x"),
        ("C:x", "x"),
        ("\\\\srv\\share\\x", "x"),
        ("file:///x", "x"),
        ("s3://other/x", "x"),
        ("x/C:y", "y"),
        ("C:C:x", "x"),
        ("C:Users", "Users"),
        # a title is no drive
        ("A: plan.txt", "A: plan.txt"),
        ("C:B: minutes.pdf", "B: minutes.pdf"),
        ("folder/Q: and A.txt", "Q: and A.txt"),
        # never decoded
        ("%2e%2e%2fx", "%2e%2e%2fx"),
        ("%252e", "%252e"),
        # control characters
        ("a\x00b\r\nc\td\x1be\x7ff\x85g.txt", "abcdefg.txt"),
        # nothing left
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("   ", "file"),
        (". . .", "file"),
        ("a/", "a"),
        # devices may be shown
        ("CON", "CON"),
        ("con.txt", "con.txt"),
        ("NUL.tar.gz", "NUL.tar.gz"),
        ("COM¹", "COM¹"),
        ("aux ", "aux"),
        ("sub/NUL", "NUL"),
        # composed form
        ("e\u0301.txt", "\u00e9.txt"),
        ("\u00e9.txt", "\u00e9.txt"),
        # bidirectional override, zero width, BOM
        ("exe\u202egpj.txt", "exegpj.txt"),
        ("a\u200bb\ufeff.txt", "ab.txt"),
        # joiners between what they join, and nowhere else
        ("می\u200cخواهم.pdf", "می\u200cخواهم.pdf"),
        ("PDF\u200cها.docx", "PDF\u200cها.docx"),
        ("क्\u200dष.png", "क्\u200dष.png"),
        ("ශ්\u200dරී ලංකා.pdf", "ශ්\u200dරී ලංකා.pdf"),
        ("সর\u200d্যা.pdf", "সর\u200d্যা.pdf"),
        ("👨\u200d👩\u200d👧.png", "👨\u200d👩\u200d👧.png"),
        ("🏳️\u200d🌈.png", "🏳️\u200d🌈.png"),
        ("\u200dخ\u200c\u200c\u200dخ \u200dخ\u200c", "خ\u200cخ خ"),
        ("folder\u200d/\u200cخ", "خ"),
        ("C:\u200dخ", "خ"),
        ("\u200d\u200c", "file"),
        ("\u200d.\u200c", "file"),
        ("evil.p\u200dhp", "evil.php"),
        ("evil.php\u200c", "evil.php"),
        ("evil\u200d.php", "evil.php"),
        ("a\u200e\u200f\u2066b\u061c.txt", "ab.txt"),
        # names that mean something to a web server are kept for people, without spaces at an end
        ("a.jpg.php", "a.jpg.php"),
        ("a.jpg ", "a.jpg"),
        (".htaccess", ".htaccess"),
        ("web.config", "web.config"),
        # case is kept
        ("A.TXT", "A.TXT"),
    ],
)
def test_a_hostile_filename_becomes_one_that_may_be_shown(name: str, cleaned: str) -> None:
    assert clean_filename(name) == cleaned


def test_a_lone_surrogate_is_refused_by_name() -> None:
    with pytest.raises(InvalidKeyError, match="Unicode"):
        clean_filename("a\ud800.txt")


@pytest.mark.parametrize("name", ["x" * 5000 + ".pdf", "é" * 300 + ".pdf", "y" * 251 + "€.pdf"])
def test_a_long_filename_keeps_its_extension_within_255_bytes(name: str) -> None:
    cleaned = clean_filename(name)
    assert len(cleaned.encode()) <= 255
    assert cleaned.endswith(".pdf")


@pytest.mark.parametrize("end", [".pdf", ""])
def test_a_long_filename_is_not_cut_behind_a_joiner(end: str) -> None:
    for length in range(60, 70):
        cleaned = clean_filename("x" * length + "👩\u200d" * 60 + "x" + end)
        assert cleaned.endswith("👩" + end)
        assert 255 - 7 <= len(cleaned.encode()) <= 255


def test_a_long_filename_is_composed_before_it_is_cut() -> None:
    hangul = "\u1112\u1161\u11ab" * 83
    assert clean_filename(hangul + ".pdf") == "\ud55c" * 83 + ".pdf"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0315" * 500_000 + "\u0300" * 500_000 + ".pdf",
        "خ\u200d\u200c" * 500_000,
        "\u200d" * 1_000_000 + "x",
        " \u200d" * 500_000 + "x",
        "C:" * 500_000,
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_a_text_of_a_million_characters_is_cleaned_in_linear_time(text: str) -> None:
    """The time of `unicodedata.normalize` grows with the square of a run of marks: this would take minutes."""
    assert len(clean_filename(text).encode()) <= 255
    assert len(slug(text)) <= 101


def test_a_name_of_exactly_255_bytes_is_kept() -> None:
    name = "é" * 125 + "x.pdf"
    assert len(name.encode()) == 255
    assert clean_filename(name) == name


def test_an_extension_too_long_to_be_one_is_cut_too() -> None:
    assert len(clean_filename("a." + "b" * 400).encode()) == 255


@given(TEXT | HOSTILE)
def test_a_cleaned_filename_is_short_visible_and_flat(name: str) -> None:
    cleaned = clean_filename(name)
    assert 0 < len(cleaned.encode()) <= 255
    assert not INVISIBLE.search(JOINED.sub("", cleaned))
    assert "/" not in cleaned
    assert "\\" not in cleaned
    assert cleaned.strip(". ")


@given(TEXT | HOSTILE)
@example("x/C:y")
@example("C:C:x")
@example("e\u200b\u0301.txt")
@example("." * 300 + "b" * 40)
def test_cleaning_a_filename_twice_changes_nothing(name: str) -> None:
    cleaned = clean_filename(name)
    assert clean_filename(cleaned) == cleaned


@given(TEXT | HOSTILE)
@example("e\u200b\u0301.txt")
def test_a_cleaned_filename_is_composed(name: str) -> None:
    assert unicodedata.is_normalized("NFC", clean_filename(name))


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.PDF", ".pdf"),
        ("a.tar.gz", ".gz"),
        ("a.jpg.php", ""),
        ("a.php%00.jpg", ".jpg"),
        ("a.jpg::$DATA", ""),
        (".htaccess", ""),
        ("web.config", ""),
        ("page.html", ""),
        ("image.svg", ""),
        ("pdf", ""),
        ("", ""),
    ],
)
def test_only_a_harmless_extension_goes_into_a_key(name: str, extension: str) -> None:
    assert safe_extension(name) == extension


INVISIBLE_IN_NAMES = "\ufe0f\u034f\u3164\uffa0\u115f\u17b5\u180b\u2800\U000e0020\U000e0101\U0001d173"


@pytest.mark.parametrize("hidden", INVISIBLE_IN_NAMES, ids=ascii)
def test_an_extension_is_read_as_it_looks(hidden: str) -> None:
    for name in (
        f"a.p{hidden}hp",
        f"a.php{hidden}",
        f"a.{hidden}php",
        f"a.php{hidden} .",
        f"a.png.php{hidden * 9}",
    ):
        assert last_extension(name) == last_extension(clean_filename(name)) == ".php"
        assert guess_content_type(name) == "application/x-httpd-php"
    assert last_extension(f"photo.\u2764{hidden}") == ".\u2764"


def test_an_emoji_keeps_what_it_is_made_of() -> None:
    for name in ("\u2764\ufe0f.png", "\U0001f3f4\U000e0067\U000e0062\U000e007f.png", "1\ufe0f\u20e3.png"):
        assert clean_filename(name) == name
        assert last_extension(name) == ".png"


def test_a_usual_extension_says_each_type_that_is_served() -> None:
    """Except for what other formats are called too (`.msg`), and what is a PNG for most programs."""
    extensions = (
        "docx xlsx pptx odt ods odp odg epub geojson gz json doc pdf rtf parquet xls ppt rar sqlite 7z "
    )
    extensions += "bz2 ndjson tar xz yaml zip zst avif bmp gif heic heif jp2 jpg jxl png tiff psd webp ico "
    extensions += "ics csv md txt tsv vcf vtt bin"
    served = {canonical(guess_content_type(f"a.{extension}")) for extension in extensions.split()}
    assert served == set(media_types._INERT) - {"application/vnd.ms-outlook", "image/apng"}


def test_an_extension_with_a_type_that_is_known_needs_no_list_of_names() -> None:
    types = {extension: guess_content_type(f"a{extension}") for extension in RUNNABLE_EXTENSIONS}
    assert not {extension: name for extension, name in types.items() if is_known(name)}


@given(TEXT | HOSTILE)
def test_a_slug_is_empty_or_a_safe_segment(text: str) -> None:
    made = slug(text)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{0,101}", made)
    if made:
        assert check_key(made) == made


@pytest.mark.parametrize("device", ["CON", "con.txt", "NUL.tar.gz", "COM1", "aux "])
def test_a_slug_is_never_a_device(device: str) -> None:
    assert slug(device).startswith("_")


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a/b/c.txt",
        "20260101/10/0198.pdf",
        "with space/inside it.txt",
        "glob*?[x]{y}",
        "%2e%2e%2fx",
        "é/ß.txt",
        ".hidden",
        "a..b",
        "deep/.filecolumn/x",
        "console",
        "nullable.txt",
        "x#",
        "x#1a",
        "s" * 240,
        "/".join(["s" * 100] * 10),
    ],
)
def test_a_good_key_is_accepted_as_it_is(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        # traversal, empty segments, absolute paths, drives, shares, URLs
        "../x",
        "a/../../x",
        "..",
        ".",
        "a/./b",
        "//",
        "a//b",
        "/etc/passwd",
        "a/",
        "",
        "..\\x",
        "C:x",
        "C:/x",
        "\\\\srv\\share\\x",
        "file:///x",
        "s3://other/x",
        # control characters
        "a\x00b",
        "a\r\nb",
        "a\tb",
        "a\x1bb",
        "a\x7fb",
        "a\x85b",
        # segments of nothing but spaces or dots
        " ",
        "a/ /b",
        "...",
        "a/.../b",
        # a segment or a key that is too long
        "s" * 256,
        "é" * 128,
        "/".join(["s" * 100] * 11),
        # devices
        "CON",
        "con.txt",
        "NUL.tar.gz",
        "COM¹",
        "aux ",
        "sub/NUL",
        "sub/nul/x",
        "lpt9.x",
        # bidirectional override, zero width, BOM, a lone surrogate
        "a\u202eb",
        "a\u200bb",
        "می\u200cخواهم",
        "👨\u200d👩",
        "\ufeffa",
        "a\ud800",
        # streams of NTFS, and spaces and dots at an end
        "a.jpg::$DATA",
        "a.jpg ",
        "a.jpg.",
        " a",
        # stage files of obstore's local store, and our own folder
        "x#1",
        "x#1/y",
        ".filecolumn/stage/x",
        ".filecolumn",
    ],
)
def test_a_key_that_some_storage_takes_for_another_place_is_refused(key: str) -> None:
    with pytest.raises(InvalidKeyError):
        check_key(key)


def test_the_error_for_a_key_is_short_and_printable() -> None:
    with pytest.raises(InvalidKeyError) as caught:
        check_key("\u202e" + "x" * 5000)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 400


@given(HOSTILE)
def test_an_accepted_key_stays_in_its_folder(key: str) -> None:
    try:
        check_key(key)
    except InvalidKeyError:
        return
    segments = key.split("/")
    assert not {"", ".", ".."} & set(segments)
    assert not INVISIBLE.search(key)
    assert "\\" not in key
    assert ":" not in key


@pytest.mark.parametrize(
    ("name", "is_stage"), [("x#1", True), ("x#12", True), ("x#", False), ("x#1a", False)]
)
def test_stage_names_are_those_of_obstore(name: str, is_stage: bool) -> None:
    assert is_stage_name(name) is is_stage


def test_a_new_key_has_day_hour_uuid_and_extension() -> None:
    assert re.fullmatch(r"\d{8}/\d{2}/[0-9a-f]{32}\.pdf", new_key("Report (1).PDF"))


@given(TEXT | HOSTILE)
def test_a_new_key_passes_for_any_filename(name: str) -> None:
    key = new_key(name)
    assert check_key(key) == key
    assert re.fullmatch(r"\d{8}/\d{2}/[0-9a-f]{32}(\.[a-z0-9]+)?", key)


def test_new_keys_are_unique_for_equal_names() -> None:
    assert len({new_key("a.txt") for _ in range(10_000)}) == 10_000


def test_keys_that_differ_in_case_only_are_never_made() -> None:
    assert new_key("A.TXT").islower()


@pytest.mark.parametrize(
    ("seconds", "folder"),
    [
        (-(10**9), "19700101/00"),
        (-1, "19700101/00"),
        (253_402_300_800, "99991231/23"),
        (10**18, "99991231/23"),
    ],
)
def test_a_clock_that_is_far_off_makes_keys_all_the_same(
    monkeypatch: pytest.MonkeyPatch, seconds: int, folder: str
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: seconds * 10**9)
    key = new_key("a.txt")
    assert re.fullmatch(rf"{folder}/[0-9a-f]{{12}}7[0-9a-f]{{19}}\.txt", key)
    assert check_key(key) == key
    assert UUID(uuid7_hex()).version == 7


def test_nothing_is_older_than_a_time_before_1970() -> None:
    assert uuid7_hex(-(10**18)) < uuid7_hex(10**9) < uuid7_hex(10**18)


def test_new_keys_sort_by_time() -> None:
    early = new_key("a.txt")
    time.sleep(0.002)
    assert early < new_key("a.txt")


@given(st.integers(min_value=0, max_value=(1 << 48) * 1_000_000 - 1))
def test_a_uuid_has_version_7_the_rfc_variant_and_its_time(now_ns: int) -> None:
    made = UUID(uuid7_hex(now_ns))
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == now_ns // 1_000_000


def test_the_74_other_bits_of_a_uuid_are_all_random() -> None:
    ones, zeros = 0, 0
    for _ in range(200):
        value = int(uuid7_hex(0), 16)
        ones |= value
        zeros |= ~value
    random = ((1 << 12) - 1) << 64 | (1 << 62) - 1
    assert ones & zeros & ((1 << 128) - 1) == random


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.pdf", "application/pdf"),
        ("a.PNG", "image/png"),
        ("a.webp", "image/webp"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.tar.gz", "application/gzip"),
        ("a.csv.xz", "application/x-xz"),
        ("a.txt.Z", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("a.nosuchthing", "application/octet-stream"),
    ],
)
def test_the_content_type_is_guessed_from_the_name(name: str, content_type: str) -> None:
    assert guess_content_type(name) == content_type


@pytest.mark.parametrize(
    ("declared", "checked"),
    [
        ("Image/PNG", "image/png"),
        (" text/plain ", "text/plain"),
        ("Text/Plain; charset=UTF-8", "text/plain; charset=UTF-8"),
        ('text/plain; name="a b"', 'text/plain; name="a b"'),
        ("text/plain\r\nX-Evil: 1", "application/octet-stream"),
        ("text/plain; a=\x00", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("text/", "application/octet-stream"),
        ("*/*", "application/octet-stream"),
        ("text/plain, text/html", "application/octet-stream"),
        ("text/" + "x" * 300, "application/octet-stream"),
        ("text/plain\n", "text/plain"),
    ],
)
def test_a_declared_content_type_is_one_that_a_header_may_carry(declared: str, checked: str) -> None:
    assert check_content_type(declared) == checked


@given(st.text(max_size=300))
def test_a_checked_content_type_never_breaks_a_header(declared: str) -> None:
    checked = check_content_type(declared)
    assert checked.isascii()
    assert checked.isprintable() or "\t" in checked
    assert not set("\r\n\x00") & set(checked)


@given(st.text(max_size=300))
def test_guessing_takes_any_name(name: str) -> None:
    assert "/" in guess_content_type(name)
