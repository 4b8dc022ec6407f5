"""Media types: which names mean the same, and whether a claim fits what the bytes show.

Pure functions over `type/subtype`, as `filecolumn.sniffing` and the names of files give them.
"""

from __future__ import annotations

from filecolumn.signatures import SIGNED

__all__ = ("ACTIVE", "DANGEROUS", "UNKNOWN", "agree", "bare", "canonical", "is_proven")

UNKNOWN = "application/octet-stream"
"""No claim, and no signature that is known."""

TEXT = "text/plain"

_NAMES = {
    "application/gzip": "application/x-gzip",
    "application/rtf": "text/rtf",
    "application/vnd.rar": "application/x-rar application/x-rar-compressed",
    "application/vnd.sqlite3": "application/x-sqlite3",
    "application/x-7z-compressed": "application/x-7zip",
    "application/x-msdownload": "application/x-dosexec application/vnd.microsoft.portable-executable",
    "application/xml": "text/xml",
    "application/yaml": "application/x-yaml text/yaml text/x-yaml",
    "application/zip": "application/x-zip-compressed application/x-zip",
    "audio/aac": "audio/x-aac audio/aacp",
    "audio/aiff": "audio/x-aiff",
    "audio/flac": "audio/x-flac",
    "audio/mp4": "audio/x-m4a",
    "audio/mpeg": "audio/mp3 audio/x-mp3 audio/mpeg3 audio/x-mpeg",
    "audio/wav": "audio/x-wav audio/wave audio/vnd.wave",
    "font/sfnt": "application/font-sfnt",
    "font/woff": "application/font-woff",
    "image/bmp": "image/x-ms-bmp image/x-bmp",
    "image/jp2": "image/jpx image/jpeg2000",
    "image/jpeg": "image/jpg image/pjpeg",
    "image/png": "image/x-png",
    "image/vnd.dwg": "application/acad image/x-dwg",
    "image/x-icon": "image/vnd.microsoft.icon",
    "text/javascript": "application/javascript application/x-javascript application/ecmascript",
    "video/mp4": "video/x-m4v",
    "video/x-msvideo": "video/avi video/msvideo",
}
_CANONICAL = {alias: name for name, aliases in _NAMES.items() for alias in aliases.split()}

_FAMILIES = {
    member: family
    for family in (
        "audio/ogg video/ogg application/ogg audio/opus audio/vorbis",
        "font/sfnt font/ttf font/otf font/collection",
        "font/woff font/woff2",
        "image/heic image/heif image/heic-sequence image/heif-sequence",
        "image/png image/apng",
        "video/mp4 video/quicktime video/3gpp video/3gpp2 audio/mp4 audio/3gpp",
        "video/x-matroska video/webm audio/webm audio/x-matroska",
        "video/x-ms-wmv video/x-ms-asf audio/x-ms-wma application/vnd.ms-asf",
    )
    for member in family.split()
}
"""Types whose content begins alike, or that programs take for one another."""

ACTIVE = frozenset(
    "application/x-httpd-php application/xhtml+xml application/xml image/svg+xml text/css text/html "
    "text/javascript".split()
)
"""What a browser, or a careless server, runs or lets run."""

DANGEROUS = ACTIVE | {"application/x-executable", "application/x-msdownload", "application/x-shockwave-flash"}
"""What is not to pass under the name of a format that nobody can tell."""

_TEXTUAL = frozenset(
    "application/graphql application/json application/sql application/toml application/x-httpd-php "
    "application/x-latex application/x-ndjson application/x-sh application/x-tex application/x-yaml "
    "application/xml application/yaml image/svg+xml".split()
)
_EXCEL = "application/vnd.ms-excel"
"""What browsers on Windows declare CSV as."""
_NEVER_PLAIN = frozenset({"image/svg+xml"})
_ANY_TEXT = frozenset({TEXT, "text/markdown"})
_MARKUP = {
    "text/html": _ANY_TEXT | {"application/xhtml+xml", "application/x-httpd-php"},
    "application/xml": _ANY_TEXT,
    "application/xhtml+xml": _ANY_TEXT | {"text/html", "application/xml"},
    "application/x-httpd-php": _ANY_TEXT,
    "image/svg+xml": _ANY_TEXT | {"text/html", "application/xml"},
}
"""What the bytes show, and what else it may be called."""
_ZIPPED = ("application/vnd.openxmlformats-", "application/vnd.oasis.opendocument.", "application/epub+zip")
_OLE = frozenset({"application/msword", _EXCEL, "application/vnd.ms-powerpoint"})


def bare(content_type: str) -> str:
    """Return a media type in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def canonical(content_type: str) -> str:
    """Return the one name of a media type."""
    name = bare(content_type)
    return _CANONICAL.get(name, name)


def _alike(name: str) -> str:
    return _FAMILIES.get(name, name)


_SIGNED = frozenset(_alike(canonical(name)) for name in SIGNED) - {UNKNOWN}
"""Types with a signature: content without it is something else."""


def agree(claim: str, found: str) -> bool:
    """Return whether content of which the bytes show *found* can be what *claim* says.

    A claim may say more than the bytes (a DOCX is a ZIP) or less (HTML is text).  One that has no
    signature cannot be disproved, unless the bytes show a program or what a browser runs.
    """
    name, found = canonical(claim), canonical(found)
    if _alike(name) == _alike(found):
        return True
    if found == TEXT:
        return name not in _NEVER_PLAIN and (not _is_signed(name) or name == _EXCEL)
    if found in _MARKUP:
        return name in _MARKUP[found] or (
            found == "application/xml" and (name.endswith("+xml") or _is_open(name))
        )
    return _agree_binary(name, found)


def _agree_binary(name: str, found: str) -> bool:
    if name == "application/zip":
        return _is_zipped(found)
    if _is_zipped(name):
        return found == "application/zip"
    if name in _OLE:
        return found == "application/x-ole-storage"
    if name == "application/postscript":
        # what Illustrator calls .ai
        return found == "application/pdf"
    return _is_open(name) and found not in DANGEROUS


def is_proven(claim: str, found: str) -> bool:
    """Return whether the bytes show what *claim* says, and not only nothing against it."""
    name, found = canonical(claim), canonical(found)
    if found == TEXT:
        return _is_textual(name)
    if found == "image/tiff" and name.startswith("image/x-"):
        # what cameras call their raw pictures
        return True
    return agree(name, found) and not _is_open(name)


def _is_signed(name: str) -> bool:
    return _alike(name) in _SIGNED


def _is_open(name: str) -> bool:
    """Return whether nothing is known of how content of a type begins."""
    return not _is_signed(name) and not _is_textual(name) and not _is_zipped(name)


def _is_zipped(name: str) -> bool:
    return name.startswith(_ZIPPED) or name.endswith("+zip") or name == "application/java-archive"


def _is_textual(name: str) -> bool:
    return name.startswith("text/") or name in _TEXTUAL or name.endswith(("+json", "+xml", "+yaml"))
