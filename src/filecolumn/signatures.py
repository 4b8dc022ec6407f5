"""How the content of binary formats begins: one table, and the containers that say inside what they hold.

The types are those under which `filecolumn.mediatypes` keeps their families.
"""

from __future__ import annotations

import re

from filecolumn.mediatypes import OFFICE, may_be_zipped

__all__ = ("late_signature_of", "signature_of")

_STARTS: dict[bytes, str] = {
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
_LONGEST_FIRST = sorted(_STARTS.items(), key=lambda row: -len(row[0]))

# Starts that are too short to tell alone, with the fields behind them
_FIELDS: dict[bytes, str] = {
    # two reserved fields, and the pixels begin within 64 KiB
    rb"BM.{4}\0{4}..\0\0": "image/bmp",
    # at most 255 pictures, each with a reserved 0
    rb"\0\0[\x01\x02]\0[^\0]\0.{3}\0": "image/x-icon",
    # a version of 2 to 4, a size of seven bits in each byte
    rb"ID3[\x02-\x04].[^\x80-\xff].?[\0-\x7f]{3}": "audio/mpeg",
    # a frame: layer 1 to 3, no reserved rate; or ADTS, whose layer is 0
    rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]": "audio/mpeg",
    rb"\xff[\xf0\xf1\xf8\xf9][\x00-\xff]": "audio/aac",
    rb"FORM.{4}AIF[FC]": "audio/aiff",
    rb"\x47(?:.{187}\x47){2}": "video/mp2t",
    rb"MZ.{58}": "application/x-msdownload",
    rb"[FCZ]WS[\x01-\x40].{4}": "application/x-shockwave-flash",
    # one to 30 architectures; the version of a class is 45 at least
    rb"\xca\xfe\xba\xbe\0\0\0[\x01-\x1e]": "application/x-mach-binary",
    rb"\xca\xfe\xba\xbe\0.\0.": "application/java-vm",
    rb"\0\x01\0\0\0[\x01-\x40].{6}[ -~]{4}": "font/sfnt",
}
_FORMS = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _FIELDS.items())
# Formats that leave their first bytes to others
_LATE_FORMS = (
    (re.compile(rb".{257}ustar", re.DOTALL), "application/x-tar"),
    (re.compile(rb".{128}DICM", re.DOTALL), "application/dicom"),
)

_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/x-wav", b"AVI ": "video/x-msvideo"}
_RIFF_MARKS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
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
_EBML = b"\x1aE\xdf\xa3"
_PARTS = {
    b"word/": OFFICE + "wordprocessingml.document",
    b"xl/": OFFICE + "spreadsheetml.sheet",
    b"ppt/": OFFICE + "presentationml.presentation",
}
_ENTRY = re.compile(rb"PK\x03\x04.{22}(..)(..)", re.DOTALL)
_MIMETYPE = re.compile(rb"application/[a-z0-9.+-]+")


def signature_of(head: bytes) -> str | None:
    """Return the media type whose signature *head* begins with; None if it has none that is known."""
    found = next((name for start, name in _LONGEST_FIRST if head.startswith(start)), None)
    if found == "application/zip":
        return _zipped(head)
    if found is not None:
        return found
    if head.startswith(_RIFF_MARKS):
        return _RIFF.get(head[8:12], "application/x-riff")
    if head.startswith(_EBML):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return next((name for form, name in _FORMS if form.match(head)), None)


def late_signature_of(head: bytes) -> str | None:
    """Return the media type whose signature *head* has behind bytes of any kind, which may show something else."""
    atom = head[4:8]
    if atom in _ATOMS and (atom in {b"ftyp", b"mdat"} or head[:1] <= _LARGEST_SIZE):
        return _brand(head)
    return next((name for form, name in _LATE_FORMS if form.match(head)), None)


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
