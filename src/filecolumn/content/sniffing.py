"""What the first bytes of content show it to be: pure functions, no I/O.

Binary formats are known by one table of signatures, looked up by the first byte, and by what containers
(ZIP, RIFF, ISO media) say of their content; text and markup by how they begin.  The types are those under
which `filecolumn.content.media_types` keeps their families.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from filecolumn.content.media_types import (
    DANGEROUS,
    FRAGMENT,
    OFFICE,
    SCRIPT,
    TEXT,
    UNKNOWN,
    XML,
    may_be_zipped,
)

__all__ = (
    "CONTAINERS",
    "FORMS",
    "HEAD_SIZE",
    "STARTS",
    "late_signature_of",
    "signature_of",
    "sniff",
)

STARTS: dict[bytes, str] = {
    # pictures
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"II+\0": "image/tiff",
    b"MM\0+": "image/tiff",
    b"IIU\0": "image/tiff",
    b"IIRO": "image/tiff",
    b"8BPS\0": "image/vnd.adobe.photoshop",
    b"\0\0\0\x0cjP  \r\n\x87\n": "image/jp2",
    b"\xff\x4f\xff\x51": "image/jp2",
    b"\0\0\0\x0cJXL \r\n\x87\n": "image/jxl",
    b"\xff\x0a": "image/jxl",
    b"gimp xcf ": "image/x-xcf",
    b"AT&TFORM": "image/vnd.djvu",
    b"\x76\x2f\x31\x01": "image/x-exr",
    # sound and film
    b"fLaC": "audio/x-flac",
    b"OggS\0": "audio/ogg",
    b"MThd\0\0\0\x06": "audio/midi",
    b"#!AMR": "audio/amr",
    b"MAC \x96\x0f": "audio/x-ape",
    b"wvpk": "audio/x-wavpack",
    b"caff\0\x01": "audio/x-caf",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "video/x-ms-asf",
    b"FLV\x01": "video/x-flv",
    b"\0\0\x01\xba": "video/mpeg",
    b"\0\0\x01\xb3": "video/mpeg",
    # archives
    b"PK\x03\x04": "application/zip",
    b"PK\x05\x06": "application/zip",
    b"PK\x07\x08PK\x03\x04": "application/zip",
    b"PK00PK\x03\x04": "application/zip",
    b"\x1f\x8b": "application/gzip",
    b"\x1f\x9d": "application/x-compress",
    b"BZh": "application/x-bzip2",
    b"\xfd7zXZ\0": "application/x-xz",
    b"\x28\xb5\x2f\xfd": "application/zstd",
    b"\x04\x22\x4d\x18": "application/x-lz4",
    b"LZIP\x01": "application/x-lzip",
    b"7z\xbc\xaf\x27\x1c": "application/x-7z-compressed",
    b"Rar!\x1a\x07": "application/vnd.rar",
    b"MSCF\0\0\0\0": "application/vnd.ms-cab-compressed",
    # containers of sound and film, and of whatever else
    b"RIFF": "application/x-riff",
    b"RIFX": "application/x-riff",
    b"RF64": "application/x-riff",
    b"BW64": "application/x-riff",
    b"\x1aE\xdf\xa3": "video/x-matroska",
    # documents, data, fonts
    b"%PDF-": "application/pdf",
    b"\xc5\xd0\xd3\xc6": "application/postscript",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "application/x-ole-storage",
    b"SQLite format 3\0": "application/vnd.sqlite3",
    b"\x89HDF\r\n\x1a\n": "application/x-hdf5",
    b"PAR1": "application/vnd.apache.parquet",
    b"OTTO\0": "font/sfnt",
    b"true\0": "font/sfnt",
    b"ttcf\0": "font/sfnt",
    b"wOFF": "font/woff",
    b"wOF2": "font/woff2",
    # what a system or a browser runs
    b"\x7fELF": "application/x-executable",
    b"\xfe\xed\xfa\xce": "application/x-mach-binary",
    b"\xfe\xed\xfa\xcf": "application/x-mach-binary",
    b"\xce\xfa\xed\xfe": "application/x-mach-binary",
    b"\xcf\xfa\xed\xfe": "application/x-mach-binary",
    b"\0asm": "application/wasm",
    b"dex\n0": "application/x-dex",
    b"L\0\0\0\x01\x14\x02\0": "application/x-ms-shortcut",
}
"""What files begin with; none of these is the beginning of another."""

FORMS: dict[bytes, tuple[bytes, str]] = {
    # two reserved fields, and the pixels begin within 64 KiB
    rb"BM.{4}\0{4}..\0\0": (b"B", "image/bmp"),
    # at most 255 pictures, each with a reserved 0
    rb"\0\0[\x01\x02]\0[^\0]\0.{3}\0": (b"\0", "image/x-icon"),
    # a version of 2 to 4, a size of seven bits in each byte
    rb"ID3[\x02-\x04].[^\x80-\xff].?[\0-\x7f]{3}": (b"I", "audio/mpeg"),
    # a frame: layer 1 to 3, no reserved rate; or ADTS, whose layer is 0
    rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]": (b"\xff", "audio/mpeg"),
    rb"\xff[\xf0\xf1\xf8\xf9][\x00-\xff]": (b"\xff", "audio/aac"),
    rb"FORM.{4}AIF[FC]": (b"F", "audio/aiff"),
    rb"\x47(?:.{187}\x47){2}": (b"\x47", "video/mp2t"),
    rb"MZ.{58}": (b"M", "application/x-msdownload"),
    rb"[FCZ]WS[\x01-\x40].{4}": (b"FCZ", "application/x-shockwave-flash"),
    # one to 30 architectures; the version of a class is 45 at least
    rb"\xca\xfe\xba\xbe\0\0\0[\x01-\x1e]": (b"\xca", "application/x-mach-binary"),
    rb"\xca\xfe\xba\xbe\0.\0.": (b"\xca", "application/java-vm"),
    rb"\0\x01\0\0\0[\x01-\x40].{6}[ -~]{4}": (b"\0", "font/sfnt"),
}
"""Starts that are too short to tell alone, with the fields behind them: first bytes, and type.

In this order, where no start of `STARTS` is found.
"""
_Starts = tuple[tuple[bytes, str], ...]
_Forms = tuple[tuple[re.Pattern[bytes], str], ...]


def _by_first_byte() -> dict[int, tuple[_Starts, _Forms]]:
    """Return the starts and forms that content with a given first byte can have: about four of all."""
    forms = [(firsts, re.compile(form, re.DOTALL), name) for form, (firsts, name) in FORMS.items()]
    return {
        first: (
            tuple((start, name) for start, name in STARTS.items() if start[0] == first),
            tuple((form, name) for firsts, form, name in forms if first in firsts),
        )
        for first in {*(start[0] for start in STARTS), *b"".join(firsts for firsts, _, _ in forms)}
    }


_BY_FIRST_BYTE = _by_first_byte()
_NONE: tuple[_Starts, _Forms] = ((), ())

# Formats that leave their first bytes to others
_TAR, _TAR_AT = b"ustar", 257
_DICOM, _DICOM_AT = b"DICM", 128

_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/x-wav", b"AVI ": "video/x-msvideo"}
_LARGEST_SIZE = b"\x08"
"""The first byte of 128 MiB: what has more, and is not the film itself, is a letter."""
_ATOMS = frozenset((b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"mif1": "image/heif",
    b"mif2": "image/heif",
    b"msf1": "image/heif",
    b"jpeg": "image/heif",
    b"crx ": "image/x-canon-cr3",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
}
_PARTS = {
    b"word/": OFFICE + "wordprocessingml.document",
    b"xl/": OFFICE + "spreadsheetml.sheet",
    b"ppt/": OFFICE + "presentationml.presentation",
}
_ENTRY = re.compile(rb"PK\x03\x04.{22}(..)(..)", re.DOTALL)
_MIMETYPE = re.compile(rb"application/[a-z0-9.+-]+")


def signature_of(head: bytes) -> str | None:
    """Return the media type whose signature *head* begins with; None if it has none that is known."""
    starts, forms = _BY_FIRST_BYTE.get(head[0], _NONE) if head else _NONE
    for start, name in starts:
        if head.startswith(start):
            looked_into = CONTAINERS.get(name)
            return name if looked_into is None else looked_into(head)
    for form, name in forms:
        if form.match(head):
            return name
    return None


def late_signature_of(head: bytes) -> str | None:
    """Return the media type whose signature *head* has behind bytes of any kind, which may show something else."""
    atom = head[4:8]
    if atom in _ATOMS and (atom in {b"ftyp", b"mdat"} or head[:1] <= _LARGEST_SIZE):
        return _brand(head)
    if head.startswith(_TAR, _TAR_AT):
        return "application/x-tar"
    return "application/dicom" if head.startswith(_DICOM, _DICOM_AT) else None


def _brand(head: bytes) -> str:
    """Return what an ISO media file says to be: its first brand that is known, else film."""
    if head[4:8] != b"ftyp":
        return "video/quicktime"
    brands = head[8 : min(int.from_bytes(head[:4], "big"), 128)]
    major, minor = brands[:4], [brands[at : at + 4] for at in range(8, len(brands), 4)]
    if major in {b"mif1", b"msf1"}:
        # the structure's own brand: those behind it say how the picture is coded
        coded = [_BRANDS[one] for one in minor if one in _BRANDS and one not in {b"mif1", b"msf1"}]
        return next(iter(coded), "image/heif")
    if major.startswith((b"3gp", b"3g2")):
        return "video/3gpp"
    return _BRANDS.get(major, "video/mp4")


def _riff(head: bytes) -> str:
    """Return what a RIFF file says to be."""
    return _RIFF.get(head[8:12], "application/x-riff")


def _ebml(head: bytes) -> str:
    """Return what a file of EBML says to be: a film of either kind."""
    return "video/webm" if b"webm" in head[:64] else "video/x-matroska"


def _zipped(head: bytes) -> str:
    """Return what the first entries of a ZIP archive say; office files and e-books are such."""
    names: list[bytes] = []
    for entry in _ENTRY.finditer(head):
        length = int.from_bytes(entry[1], "little")
        names.append(head[entry.end() : entry.end() + length])
    if names[:1] == [b"mimetype"] and (told := _told(head)) and may_be_zipped(told):
        return told
    if any(name in {b"[Content_Types].xml", b"_rels/.rels"} for name in names):
        parts = (_PARTS.get(name.partition(b"/")[0] + b"/") for name in names)
        return next((part for part in parts if part), "application/zip")
    return "application/zip"


def _told(head: bytes) -> str | None:
    """Return the content of the first entry, in which e-books and office files say their type."""
    entry = _ENTRY.search(head)
    if entry is None:
        return None
    lengths = (int.from_bytes(length, "little") for length in entry.groups())
    told = _MIMETYPE.match(head, entry.end() + sum(lengths))
    return told[0].decode() if told else None


CONTAINERS: dict[str, Callable[[bytes], str]] = {
    "application/zip": _zipped,
    "application/x-riff": _riff,
    "video/x-matroska": _ebml,
}
"""What the first bytes of a container say of its content, by the container's type."""

HEAD_SIZE = 4096
"""Bytes of the content that are looked at."""

# Text has bells, backspaces, form feeds, escapes and the DOS end of file; other controls are few in it,
# as separators of fields or what switches a character set (ISO 2022)
_IN_TEXT = bytes({*b"\a\b\t\n\f\r\x1a\x1b", *range(0x20, 0x100)})
_SHORT = 64
"""Bytes among which most binary files have one that no text has."""
_RARE_IN_TEXT = 10
"""One in so many bytes, at most, may be a control that most text does not have."""
_UTF_8 = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_WIDE = re.compile(
    rb"(?:[\t\n\r -~]\0){8}|(?:\0[\t\n\r -~]){8}|(?:[\t\n\r -~]\0\0\0){4}|(?:\0\0\0[\t\n\r -~]){4}"
)
"""UTF-16 or UTF-32 without a mark: Latin letters whose other bytes are 0."""

_TEXT_SIGNATURES: dict[bytes, _Forms] = {
    b"%": (
        (re.compile(rb"%PDF-"), "application/pdf"),
        (re.compile(rb"%!PS"), "application/postscript"),
    ),
    b"{": ((re.compile(rb"\{\\rtf"), "application/rtf"),),
    b"<": ((re.compile(rb"<\?(?:php\b|=)", re.IGNORECASE), "application/x-httpd-php"),),
    b"#": ((re.compile(rb"#!\s*/\S"), SCRIPT),),
    b"@": ((re.compile(rb"@echo\s+off\b", re.IGNORECASE), "application/x-bat"),),
}
"""By the first byte behind white space."""
# Printers' commands or a mail's header may stand before it: https://www.iso.org/standard/75839.html, annex
_PDF = b"%PDF-"
_LATE_PDF = re.compile(rb"%PDF-\d\.\d\s{1,2}%[\x80-\xff]{2}")
_LATE_PDF_SIZE = 1024
# An installer or a zipped program of Python may begin with a script, and XML may hold binary data
_SEEN_IN_BINARY = DANGEROUS - {SCRIPT, XML} | {"application/pdf"}

_HTML = re.compile(rb"<(?:!doctype html|html|head|script|iframe|style|title|body)[\s>]", re.IGNORECASE)
_HTML_PARTS = re.compile(rb"<(?:h1|div|font|table|a|b|br|p)[\s>]|<!--", re.IGNORECASE)
"""Section 7.1 of the standard: what begins a page, and what begins many a Markdown file too."""
# Each part ends at the next tag or is bounded: without that, the time grows with the square of the size
_RUNS = re.compile(
    rb"<(?:script|iframe|object|embed|body|html)[\s>]|<[^<>]*\son[a-z]{1,32}\s{0,8}=", re.IGNORECASE
)
# https://spec.commonmark.org/0.31.2/: fenced and indented code, and spans within a line
_SHOWN_CODE = re.compile(
    rb"^ {0,3}(`{3,}|~{3,}).*?(?:\n {0,3}\1|\Z)|(?<=\n)\r?\n(?:(?: {4}|\t)[^\n]*(?:\n|\Z))+|`[^`\n]+`",
    re.DOTALL | re.MULTILINE,
)
_DECLARATION = re.compile(rb"<!(?:ENTITY|ELEMENT|ATTLIST|NOTATION)\s")
_PAGES = frozenset((b"html", b"head", b"body", b"script", b"iframe", b"style", b"title"))
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)")
_PROLOG = {b"<?": b"?>", b"<!--": b"-->", b"<!": b">"}


def sniff(head: bytes) -> str:
    """Return the media type that the first `HEAD_SIZE` bytes of a file show.

    `text/plain` is any text without a mark of its own, also an empty file; `application/octet-stream`
    is what nobody knows.
    """
    if head.startswith(_WIDE_MARKS) or (b"\0" in head[:2] and _WIDE.match(head)):
        # every second or fourth byte of what a tag is made of
        return _sniff_text(head.replace(b"\0", b"").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff"))
    if not (head[:_SHORT].translate(None, _IN_TEXT) or head.translate(None, _IN_TEXT)):
        return _sniff_text(head)
    if signature := signature_of(head):
        return signature
    shown = _sniff_text(head)
    if late := late_signature_of(head):
        # a page or a script may stand before it
        return late if shown == TEXT else shown
    odd = head.translate(None, _IN_TEXT)
    is_text = b"\0" not in odd and len(odd) * _RARE_IN_TEXT <= len(head)
    return shown if is_text or shown in _SEEN_IN_BINARY else UNKNOWN


def _sniff_text(head: bytes) -> str:
    text = head.removeprefix(_UTF_8).lstrip()
    first = text[:1]
    for signature, media_type in _TEXT_SIGNATURES.get(first, ()):
        if signature.match(text):
            return media_type
    if first == b"<":
        return _sniff_markup(text)
    start = text[:_LATE_PDF_SIZE]
    return "application/pdf" if _PDF in start and _LATE_PDF.search(start) else TEXT


def _sniff_markup(text: bytes) -> str:
    root = _root_of(text)
    if root == b"svg":
        return "image/svg+xml"
    if text.startswith(b"<?xml"):
        return "application/xhtml+xml" if root == b"html" else "application/xml"
    if _HTML.match(text) or (root in _PAGES and text.startswith(b"<!")):
        return "text/html"
    if _DECLARATION.search(text) and not root:
        # a DTD
        return TEXT
    if not _HTML_PARTS.match(text) or (
        root and text.startswith(b"<!--") and not _HTML_PARTS.match(b"<%b>" % root)
    ):
        return TEXT
    return "text/html" if _RUNS.search(_SHOWN_CODE.sub(b"\n", text)) else FRAGMENT


def _root_of(text: bytes) -> bytes:
    """Return the local name of the first element, in lower case; empty if it is not in sight."""
    while opening := next((mark for mark in _PROLOG if text.startswith(mark)), None):
        end = _PROLOG[opening]
        before, _, _ = text.partition(b">")
        if opening == b"<!" and b"[" in before:
            # declarations of its own: the end of them, not of the first
            end = b"]>"
        text = text.partition(end)[2].lstrip()
    root = _ROOT.match(text)
    return root[1].lower() if root else b""
