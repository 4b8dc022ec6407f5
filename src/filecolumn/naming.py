"""Names of files, keys of objects, and key templates; pure."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from mimetypes import MimeTypes
from string import Formatter

from filecolumn.errors import InvalidKeyError

__all__ = (
    "DEFAULT_CONTENT_TYPE",
    "INCOMING",
    "MAX_FILENAME_BYTES",
    "PLAIN_FILENAME",
    "RESERVED_FOLDER",
    "RUNNABLE_EXTENSIONS",
    "STAGE_FOLDER",
    "KeyContext",
    "KeyTemplate",
    "ReservedKey",
    "check_content_type",
    "check_key",
    "clean_filename",
    "guess_content_type",
    "incoming_key",
    "is_device_name",
    "is_stage_name",
    "last_extension",
    "new_key",
    "safe_extension",
    "slug",
    "uuid7_hex",
)

DEFAULT_CONTENT_TYPE = "application/octet-stream"
DEFAULT_FILENAME = "file"
MAX_FILENAME_BYTES = 255
# `unicodedata.normalize` takes quadratic time for a run of marks, so text is cut before it.  What is
# 255 bytes when composed has at most three times as many when decomposed (Hangul)
_MAX_DECOMPOSED_BYTES = 1024
MAX_KEY_BYTES = 1024
# Local storages add to a name while a file is written, and file systems allow 255
MAX_SEGMENT_BYTES = 240

_END_OF_9999 = 253_402_300_799
"""The last second that `datetime` knows."""
_HOUR_NS = 3_600_000_000_000

RESERVED_FOLDER = ".filecolumn"
"""The folder at a storage's root that is ours."""
STAGE_FOLDER = f"{RESERVED_FOLDER}/stage"
"""Where unfinished uploads are, in storages that show a file while it is written."""

# Refused in keys: controls, bidirectional overrides, zero-width characters, BOM
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
# Removed from names: the same, without the joiners
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
# U+200C and U+200D shape the letters of Persian, Hindi or Sinhala, and make one emoji of several.  At an
# end, beside a space, between two ASCII characters and after another one they show nothing, and would
# only make `p<joiner>hp` look like another extension
_STRAY_JOINERS = re.compile(
    "^[\u200c\u200d]+|(?<=[\u200c\u200d])[\u200c\u200d]+"
    r"|(?<=\s)[\u200c\u200d]+|[\u200c\u200d]+(?=\s|\Z)|(?<=[!-~])[\u200c\u200d]+(?=[!-~])"
)
# Nothing in such a name has to be cleaned
PLAIN_FILENAME = r"[A-Za-z0-9](?:[A-Za-z0-9 ._()+-]{0,253}[A-Za-z0-9])?"
"""A pattern of file names that are shown as they are; those of other languages may be so too."""
_CLEAN = re.compile(PLAIN_FILENAME, re.ASCII)
_SEPARATORS = re.compile(r"[/\\]")
# A space makes a title of it: `A: plan.txt`
_DRIVES = re.compile(r"^(?:[A-Za-z]:[\u200c\u200d]*(?!\s))+")
_CONTENT_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"  # RFC 6838, section 4.2
    r'(?:[ \t]*;[ \t]*[a-z0-9!#$&^_.+-]+=(?:[a-z0-9!#$&^_.+-]+|"[ !#-\[\]-~]*"))*',
    re.IGNORECASE,
)
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file#naming-conventions
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:\..*)?", re.IGNORECASE)
# The stage files of obstore's local store; it refuses such names itself, other storages do not
_STAGE = re.compile(r".*#\d+")

# What `new_key` makes, which has nothing of the above in it
_MADE = re.compile(r"\d{8}/\d\d/[0-9a-f]{32}(?:\.[a-z0-9]{1,7})?", re.ASCII)

# Extensions that no web server or desktop runs when a key with them is opened
_SAFE_EXTENSIONS = frozenset(
    "7z aac ai avi avif avro bin bmp bz2 csv dat doc docx dwg eml eps epub flac geojson gif glb gltf gpx gz "
    "h5 heic heif ico ics jpeg jpg json jsonl log m4a m4v md mkv mov mp3 mp4 mpeg mpg npy npz obj odp ods "
    "odt oga ogg ogv opus otf parquet pdf png ppt pptx psd rar rtf srt stl tar tgz tif tiff toml tsv ttf "
    "txt vcf vtt wav webm webp woff woff2 xls xlsx xz yaml yml zip zst".split()
)
# Known to every machine alike: Python's own table without the system's files
_MIME_TYPES = MimeTypes(filenames=())
_EXTENSIONS = {
    "application/epub+zip": ".epub",
    "application/geo+json": ".geojson",
    "application/octet-stream": ".bin .mod .pot .ts",
    "application/rtf": ".rtf",
    "application/vnd.android.package-archive": ".apk",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.ms-cab-compressed": ".cab",
    "application/vnd.oasis.opendocument.graphics": ".odg",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.rar": ".rar",
    "application/vnd.sqlite3": ".sqlite .sqlite3",
    "application/x-7z-compressed": ".7z",
    "application/x-ndjson": ".ndjson",
    "application/xml-dtd": ".dtd",
    "application/xml-external-parsed-entity": ".ent",
    "application/yaml": ".yaml .yml",
    "application/zstd": ".zst",
    "audio/flac": ".flac",
    "audio/midi": ".mid .midi",
    "audio/mp4": ".m4a .m4b",
    "audio/ogg": ".ogg .oga .opus",
    "audio/webm": ".weba",
    "font/collection": ".ttc",
    "font/otf": ".otf",
    "font/ttf": ".ttf",
    "font/woff": ".woff",
    "font/woff2": ".woff2",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "image/heif": ".heif .hif",
    "image/jp2": ".jp2",
    "image/jpeg": ".jpg .jpeg .jpe .jfif",
    "image/jxl": ".jxl",
    "image/vnd.adobe.photoshop": ".psd",
    "image/webp": ".webp",
    "model/gltf+json": ".gltf",
    "text/calendar": ".ics",
    "text/markdown": ".md .markdown",
    "text/vcard": ".vcf",
    "text/x-qml": ".qml",
    "video/mp4": ".mp4 .m4v",
    "video/ogg": ".ogv",
    "video/x-matroska": ".mkv",
    # what runs where it is opened
    "application/hta": ".hta",
    "application/java-archive": ".jar",
    "application/java-vm": ".class",
    "application/wasm": ".wasm",
    "application/x-bat": ".bat .cmd",
    "application/x-desktop": ".desktop",
    "application/x-executable": ".elf .so .o .ko .axf .debug .appimage",
    "application/x-httpd-php": ".php .phtml .phar .php2 .php3 .php4 .php5 .php6 .php7 .php8 .pht .phps .phpt",
    "application/x-java-jnlp-file": ".jnlp",
    "application/x-mach-binary": ".dylib",
    "application/x-mimearchive": ".mht .mhtml",
    "application/x-ms-shortcut": ".lnk",
    "application/x-msdownload": ".exe .dll .com .scr .cpl .sys .ocx .pif",
    "application/x-msi": ".msi",
    "application/x-sh": ".sh .bash .zsh .ksh .csh .tcsh .fish .command",
    "application/x-shockwave-flash": ".swf",
    "application/xhtml+xml": ".xhtml .xht",
    "application/xslt+xml": ".xsl .xslt",
    "text/asp": ".asp .asa",
    "text/aspx": ".aspx .ascx .ashx .asmx .asax .cshtml .vbhtml",
    "text/cache-manifest": ".appcache .manifest",
    "text/javascript": ".js .mjs .cjs .jsm .jsx .jse",
    "text/vbscript": ".vbs .vbe",
    "text/x-awk": ".awk",
    "text/x-cfm": ".cfm .cfml .cfc",
    "text/x-component": ".htc",
    "text/x-dsrc": ".d",
    "text/x-gnuplot": ".gnuplot .gp",
    "text/x-groovy": ".groovy .gradle",
    "text/x-jsp": ".jsp .jspx .jspf",
    "text/x-julia": ".jl",
    "text/x-lua": ".lua",
    "text/spreadsheet": ".slk",
    "text/x-ms-regedit": ".reg",
    "text/x-perl": ".pl .pm",
    "text/x-powershell": ".ps1 .psm1 .psd1",
    "text/x-python": ".py .py3 .pyw",
    "text/x-ruby": ".rb",
    "text/x-scriptlet": ".sct .wsf .wsh",
    "text/x-sed": ".sed",
    "text/x-server-parsed-html": ".shtml .shtm .stm",
    "text/x-tcl": ".tcl .exp",
    "text/x-template": ".vue .svelte .hbs .mustache .ejs .erb .twig .jinja .jinja2 .j2 .tmpl .tpl",
}
_TYPES = {
    extension: media_type
    for media_type, extensions in _EXTENSIONS.items()
    for extension in extensions.split()
}
RUNNABLE_EXTENSIONS = frozenset(
    ".accda .accdb .accde .accdr .ace .action .ade .adp .ahk .app .appcontent-ms .applescript "
    ".application .appref-ms .appx .appxbundle .asis .asx .au3 .axd .bas .btm .caction .cdx .cdxml .cer "
    ".cgi .chi .chm .cnt .config .configprofile .cpgz .cpi .crt .crx .dc42 .deb .der .dex .diagcab "
    ".directory .diskcopy42 .dmg .dmgpart .drv .dvdr .efi .fcgi .fileloc .fon .fxp .gadget .grp .hlp .hpj "
    ".htaccess .html5 .htpasswd .htt .htx .img .imgpart .inetloc .inf .ins .internetconnect .inx .iqy "
    ".iso .isp .isu .its .jhtml .job .jspa .jsv .jsw .jtml .library-ms .mad .maf .mag .mam .maq .mar .mas "
    ".master .mau .mav .maw .mcf .mda .mdb .mde .mdt .mdw .mdz .mmc .mobileconfig .mpkg .msc .msh "
    ".msh1 .msh1xml .msh2 .msh2xml .mshxml .msix .msixbundle .msp .mst .msu .mui .ndif .networkconnect "
    ".ops .oqy .osas .osascript .osax .osd .oxt .paf .pcd .pkg .plg .plx .prf .prg .printerexport "
    ".ps1xml .ps2 .ps2xml .psc1 .psc2 .psdm1 .pssc .pst .pyd .pyz .pyzw .raku .rem .rgs .rpm .rqy "
    ".run .scf .scpt .scptd .search-ms .seplugin .service .settingcontent-ms .shb .shs .soap "
    ".sparsebundle .sparseimage .spl .svc .terminal .theme .themepack .toast .u3p .udif .udl .url .vb "
    ".vbp .vbscript .vhd .vhdx .vsmacros .vsto .vsw .vxd .war .webloc .webpnp .website .wflow .workflow "
    ".ws .wsb .wsc .xap .xbap .xhtm .xip .xll .xnk .xrm-ms .xul".split()
)
"""Extensions without a type of their own that a desktop or a server runs, installs or mounts: what Outlook
blocks and Chromium calls dangerous, their siblings (`.msix` beside `.appx`, `.iso` beside `.img`, `.au3`
beside `.vbs`), and the handlers of IIS, Apache and Tomcat.  Not those that are everyday names of data or words:
`.ad`, `.as`, `.cdr`, `.cfg`, `.dart`, `.definition`, `.eml`, `.ini`, `.local`, `.mat`, `.mof`, `.msg`,
`.out`, `.partial`, `.pax`, `.pet`, `.pup`, `.rels`, `.slp`, `.smi`, `.tmp`, `.xml`, `.xsd`, and Visio's drawings.
https://support.microsoft.com/office/434752e1-02d3-4e90-9124-8b81e49a8519
https://chromium.googlesource.com/chromium/src/+/main/components/safe_browsing/content/resources/download_file_types.asciipb
"""
_COMPRESSED_TYPES = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
# How Windows and its servers read a name: without these at its end
_DROPPED = re.compile(r"(?:::\$[a-z_]+|[. ])+$", re.IGNORECASE)
# Default_Ignorable_Code_Point of Unicode, and the empty Braille pattern.  Emoji and some scripts need them in
# names; https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def clean_filename(name: str | None) -> str:
    """Return *name* as it may be shown: no folders, NFC, no controls, at most 255 bytes.

    What hides or turns letters is removed: bidirectional overrides, zero-width spaces, byte order marks.
    The joiners U+200C and U+200D stay where they change how the characters beside them look, and so do
    characters that emoji and scripts are made of, as U+FE0F; `last_extension` passes over them.  None, as
    uploads without a name have, and a name with nothing left become `file`.  Raises InvalidKeyError for a
    lone surrogate, which no database or header could carry.
    """
    if name is None:
        return DEFAULT_FILENAME
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a file name is a str, not {type(name).__name__}: pass path.name of a path")
    if _CLEAN.fullmatch(name):
        return name
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidKeyError(f"the file name {name!a} is not valid Unicode") from error
    base = _SEPARATORS.split(_HIDDEN.sub("", name).rstrip("/\\"))[-1].strip()
    composed = unicodedata.normalize("NFC", _trimmed(base, _MAX_DECOMPOSED_BYTES))
    visible = _STRAY_JOINERS.sub("", composed).strip()
    trimmed = _trimmed(_DRIVES.sub("", visible).strip(), MAX_FILENAME_BYTES)
    return trimmed if trimmed.strip(". ") else DEFAULT_FILENAME


def safe_extension(filename: str) -> str:
    """Return the last extension of *filename*, as `.ext`, if it is one that a key may carry."""
    extension = filename.rpartition(".")[2].lower()
    return f".{extension}" if "." in filename and extension in _SAFE_EXTENSIONS else ""


def slug(text: str) -> str:
    """Return *text* as one safe segment of a key: ASCII letters, digits, `.`, `_` and `-`."""
    ascii_text = (
        unicodedata.normalize("NFKD", text[:_MAX_DECOMPOSED_BYTES]).encode("ascii", "ignore").decode()
    )
    segment = re.sub(r"[^A-Za-z0-9_.-]+", "-", ascii_text)
    segment = re.sub(r"\.{2,}", ".", segment).strip(".-")[:100].rstrip(".-")
    return f"_{segment}" if _DEVICE.fullmatch(segment) else segment


class ReservedKey(str):
    """A key inside `RESERVED_FOLDER`: only filecolumn's own code makes one, no row and no user can."""

    __slots__ = ()


def check_key(key: str) -> str:
    """Return *key* if a storage may be given it, else raise InvalidKeyError that says why."""
    if isinstance(key, ReservedKey) or (type(key) is str and _MADE.fullmatch(key)):
        return key
    if problem := _problem_of(key):
        raise InvalidKeyError(f"the storage key {ascii(key)[:200]} {problem}")
    return key


def _problem_of(key: object) -> str | None:
    # what a key function of the user returns is not typed
    if not isinstance(key, str):
        return f"is a {type(key).__name__}, not a str"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if not 0 < size <= MAX_KEY_BYTES:
        return f"has {size} bytes; 1 to {MAX_KEY_BYTES} are allowed"
    if "\\" in key or _INVISIBLE.search(key):
        return "has a backslash or an invisible character"
    segments = key.split("/")
    if segments[0] == RESERVED_FOLDER:
        return f"is inside {RESERVED_FOLDER}/, which is reserved for filecolumn"
    return next((problem for segment in segments if (problem := _segment_problem(segment))), None)


def _segment_problem(segment: str) -> str | None:
    if segment in {"", ".", ".."}:
        return "must be relative, with no empty, '.' or '..' segment"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"has a segment of more than {MAX_SEGMENT_BYTES} bytes"
    if segment != segment.strip() or segment.endswith("."):
        return "has a segment that starts or ends with a space, or ends with a dot"
    if _DEVICE.fullmatch(segment) or ":" in segment or is_stage_name(segment):
        return "has a segment that some file system treats as a device, a stream or a stage file"
    return None


def is_device_name(name: str) -> bool:
    """Return whether Windows takes a file of this name for a device."""
    return _DEVICE.fullmatch(name) is not None


def is_stage_name(name: str) -> bool:
    """Return whether obstore's local store gives such names to unfinished uploads."""
    return _STAGE.fullmatch(name) is not None


def new_key(filename: str) -> str:
    """Make a key that no other object ever has: `YYYYMMDD/HH/<uuid7 hex><safe extension>`, in UTC.

    A clock outside of the years 1970 to 9999, as of a board without a battery, counts as the nearest of them.
    """
    now = time.time_ns()
    return f"{_folder_of(now // _HOUR_NS)}/{uuid7_hex(now)}{safe_extension(filename)}"


@lru_cache(maxsize=8)
def _folder_of(hour: int) -> str:
    """Return the folder for new keys of an hour since the epoch."""
    seconds = min(max(hour * 3600, 0), _END_OF_9999)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d/%H")


def uuid7_hex(now_ns: int | None = None) -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7) as 32 hex digits: 74 bits are random."""
    # 48 bits, which do not wrap: what is older than a time before 1970 is nothing
    milliseconds = min(max((time.time_ns() if now_ns is None else now_ns) // 1_000_000, 0), (1 << 48) - 1)
    bits = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    return f"{value:032x}"


def guess_content_type(filename: str) -> str:
    """Return the content type that the last extension claims, `application/octet-stream` if none.

    A name is never read as a URL, as `mimetypes.guess_type` does.
    """
    return _type_of_extension(last_extension(filename))


@lru_cache(maxsize=512)
def _type_of_extension(extension: str) -> str:
    extension = _MIME_TYPES.suffix_map.get(extension, extension).rpartition(".")[2]
    extension = f".{extension}"
    if encoding := _MIME_TYPES.encodings_map.get(extension):
        return _COMPRESSED_TYPES.get(encoding, DEFAULT_CONTENT_TYPE)
    return _TYPES.get(extension) or _MIME_TYPES.types_map[True].get(extension, DEFAULT_CONTENT_TYPE)


def last_extension(filename: str) -> str:
    """Return `.ext`, in lower case, as a reader sees it and a desktop or a server goes by it; empty if none is."""
    _, dot, plain = filename.rpartition(".")
    if dot and plain.isascii() and plain.isalnum():
        # as most names: nothing behind it that is dropped, nothing in it that is not seen
        return f".{plain.lower()}"
    seen = filename if filename.isascii() else _UNSEEN.sub("", filename)
    _, dot, extension = _DROPPED.sub("", seen).rpartition(".")
    return f".{extension.lower()}" if dot else ""


def check_content_type(content_type: str) -> str:
    """Return a declared content type in lower case, or `application/octet-stream` if it is malformed.

    A type goes into headers of storages and responses: what RFC 9110, section 8.3 does not
    allow there is never passed on.
    """
    stripped = content_type.strip()
    return DEFAULT_CONTENT_TYPE if len(stripped) > MAX_FILENAME_BYTES else _checked_type(stripped)


@lru_cache(maxsize=512)
def _checked_type(stripped: str) -> str:
    if not _CONTENT_TYPE.fullmatch(stripped):
        return DEFAULT_CONTENT_TYPE
    kind, semicolon, parameters = stripped.partition(";")
    return kind.lower().rstrip() + semicolon + parameters


def _trimmed(name: str, limit: int) -> str:
    """Cut *name* to *limit* bytes on a code point that is no joiner, keeping a short extension."""
    if len(name.encode()) <= limit:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}" if stem and len(extension.encode()) <= 32 else ""
    room = limit - len(tail.encode())
    kept = (stem if tail else name).encode()[:room].decode("utf-8", "ignore")
    return kept.rstrip().rstrip("\u200c\u200d") + tail


INCOMING = "incoming"
"""The folder of a storage that clients upload into; a bucket's lifecycle rule may empty it after 7 days."""


def incoming_key(filename: str) -> str:
    """Make the key of an upload."""
    return f"{INCOMING}/{new_key(filename)}"


_DATE_FIELDS = {"date": "%Y%m%d", "year": "%Y", "month": "%m", "day": "%d", "hour": "%H"}
_FIELDS = frozenset({"table", "column", "uuid", "ext", "name", *_DATE_FIELDS})


@dataclass(frozen=True, slots=True)
class KeyContext:
    """What `KeyTemplate.render` makes a key from."""

    table: str
    """Name of the table."""
    column: str
    """Name of the mapped attribute."""
    filename: str
    """The file name."""
    record: object
    """The mapped instance; any other name in a template is one of its attributes."""


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A template for keys, checked when it is made.

    It may have these names in braces: `uuid`, which is required because it makes the key unique; `table`,
    `column`; `ext`, a safe extension with its dot, or nothing; `name`, the file name as a slug; `date`
    (`YYYYMMDD`), `year`, `month`, `day` and `hour`, in UTC; and any attribute of the record, as a slug.

    Raises InvalidKeyError for a template without `uuid`, or one that cannot give valid keys.
    """

    text: str
    """The template as it was written."""

    def __post_init__(self) -> None:
        """Refuse at declaration what could never make good keys."""
        fields = list(self._fields())
        if "uuid" not in fields:
            raise InvalidKeyError(f"the key template {self.text!r} needs {{uuid}}: keys are never reused")
        check_key(self.text.format_map(dict.fromkeys(fields, "x")))

    def render(self, context: KeyContext) -> str:
        """Return a new key; InvalidKeyError if an attribute is still None, or has no character fit for a key."""
        now = datetime.now(UTC)
        values = {field: _value(field, context, now) for field in self._fields()}
        return check_key(self.text.format_map(values))

    def _fields(self) -> Iterator[str]:
        try:
            parsed = list(Formatter().parse(self.text))
        except ValueError as error:
            raise InvalidKeyError(f"the key template {self.text!r} cannot be parsed: {error}") from error
        for _, field, spec, conversion in parsed:
            if field is None:
                continue
            if not field.isidentifier() or spec or conversion:
                raise InvalidKeyError(f"the key template {self.text!r} may contain plain {{names}} only")
            yield field


def _value(field: str, context: KeyContext, now: datetime) -> str:
    if field in _DATE_FIELDS:
        return now.strftime(_DATE_FIELDS[field])
    match field:
        case "uuid":
            return uuid7_hex()
        case "ext":
            return safe_extension(context.filename)
        case "name":
            return slug(context.filename) or "file"
        case "table" | "column":
            return slug(getattr(context, field))
        case _:
            return _attribute(field, context.record)


def _attribute(field: str, record: object) -> str:
    try:
        value: object = getattr(record, field)
    except AttributeError as error:
        raise InvalidKeyError(
            f"{type(record).__name__} has no attribute {field!r} for its key template"
        ) from error
    if value is None:
        raise InvalidKeyError(
            f"{type(record).__name__}.{field} is None when the file is stored, and the key template needs it; "
            "set it before the flush (database-made values are not known yet)"
        )
    if not (segment := slug(str(value))):
        raise InvalidKeyError(
            f"{type(record).__name__}.{field} has no character that a storage key may contain"
        )
    return segment
