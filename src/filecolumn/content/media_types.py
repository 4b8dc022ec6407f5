"""Media types: which names mean the same, what a declared type can be, what runs where it is opened.

Pure functions over `type/subtype`, as `filecolumn.content.sniffing` and the names of files give them.  A declared
type is refuted only by bytes that prove another family: formats that share a container are of one family, and what
nobody knows is of none.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = (
    "ACTIVE",
    "DANGEROUS",
    "FRAGMENT",
    "INLINE_TYPES",
    "OFFICE",
    "SCRIPT",
    "TEXT",
    "UNKNOWN",
    "XML",
    "agree",
    "bare",
    "canonical",
    "is_active",
    "is_inert",
    "is_known",
    "is_proven",
    "is_recording",
    "may_be_zipped",
    "may_stand_for",
)

UNKNOWN = "application/octet-stream"
"""Nothing is declared, and no signature is known."""

TEXT = "text/plain"
XML = "application/xml"
FRAGMENT = "text/html; fragment"
"""A tag of HTML that begins many a Markdown file, and nothing in sight that runs."""
SCRIPT = "application/x-sh"
"""Text that names the program that runs it."""

_NAMES = {
    "application/gzip": "application/x-gzip",
    "application/java-archive": "application/x-java-archive",
    "application/pdf": "application/x-pdf",
    "application/postscript": "image/x-eps image/eps application/eps application/x-eps",
    "application/rtf": "text/rtf",
    "application/vnd.ms-cab-compressed": "application/x-cab application/x-cabinet",
    "application/vnd.rar": "application/x-rar application/x-rar-compressed",
    "application/vnd.sqlite3": "application/x-sqlite3",
    "application/x-7z-compressed": "application/x-7zip",
    "application/x-bzip2": "application/x-bzip",
    "application/x-executable": "application/x-elf application/x-sharedlib application/x-object application/x-core "
    "application/x-pie-executable application/vnd.appimage",
    "application/java-vm": "application/x-java application/x-java-class",
    "application/x-httpd-php": "application/x-php text/x-php",
    "application/x-msdownload": "application/x-dosexec application/vnd.microsoft.portable-executable "
    "application/x-ms-dos-executable application/x-msdos-program",
    "application/x-sh": "application/x-shellscript text/x-sh text/x-shellscript",
    "application/x-shockwave-flash": "application/futuresplash application/vnd.adobe.flash.movie",
    "application/x-pkcs12": "application/pkcs12",
    "application/x-ndjson": "application/ndjson application/jsonl application/x-jsonlines",
    "application/x-tex": "text/x-tex",
    "application/x-troff": "text/troff",
    "application/x-troff-ms": "text/x-troff-ms",
    "application/xml": "text/xml",
    "application/xslt+xml": "text/xsl",
    "application/yaml": "application/x-yaml text/yaml text/x-yaml",
    "application/zip": "application/x-zip-compressed application/x-zip",
    "audio/aac": "audio/x-aac audio/aacp",
    "audio/aiff": "audio/x-aiff audio/x-aifc",
    "audio/flac": "audio/x-flac",
    "audio/midi": "audio/mid audio/x-mid audio/x-midi",
    "audio/mp4": "audio/x-m4a audio/m4a",
    "audio/mpeg": "audio/mp3 audio/x-mp3 audio/mpeg3 audio/x-mpeg",
    "application/x-pn-realaudio": "application/ram audio/x-pn-realaudio",
    "audio/wav": "audio/x-wav audio/wave audio/vnd.wave",
    "font/sfnt": "application/font-sfnt",
    "font/woff": "application/font-woff application/x-font-woff",
    "image/bmp": "image/x-ms-bmp image/x-bmp",
    "image/jp2": "image/jpx image/jpeg2000",
    "image/jpeg": "image/jpg image/pjpeg",
    "image/png": "image/x-png",
    "image/vnd.dwg": "application/acad image/x-dwg",
    "image/x-icon": "image/vnd.microsoft.icon image/ico",
    "text/csv": "application/csv text/x-csv",
    # https://mimesniff.spec.whatwg.org/#javascript-mime-type
    "text/javascript": "application/ecmascript application/javascript application/x-ecmascript "
    "application/x-javascript text/ecmascript text/javascript1.0 text/javascript1.1 text/javascript1.2 "
    "text/javascript1.3 text/javascript1.4 text/javascript1.5 text/jscript text/livescript text/x-ecmascript "
    "text/x-javascript",
    "text/markdown": "text/x-markdown",
    # https://www.rfc-editor.org/rfc/rfc6350: it takes the place of both
    "text/vcard": "text/x-vcard text/directory",
    "text/x-awk": "application/x-awk",
    "text/x-gnuplot": "application/x-gnuplot",
    "text/x-groovy": "text/x-gradle",
    "text/x-perl": "application/x-perl",
    "text/x-python": "application/x-python text/x-python3",
    "text/x-ruby": "application/x-ruby",
    "text/x-tcl": "application/x-tcl text/tcl",
    "text/x-template": "text/x-twig",
    "text/vbscript": "text/x-vbscript application/x-vbscript application/vbscript",
    "video/mp4": "video/x-m4v",
    "video/x-msvideo": "video/avi video/msvideo",
}
_CANONICAL = {alias: name for name, aliases in _NAMES.items() for alias in aliases.split()}

# What runs, by whom

_RUN_BY = {
    "browser": "application/wasm application/xhtml+xml application/xml application/xslt+xml image/svg+xml "
    "text/cache-manifest text/css text/html text/javascript text/vbscript text/x-component text/x-scriptlet "
    "text/xsl",
    # and what a browser hands on to a plugin or a program that is a browser itself
    "plugin": "application/hta application/java-archive application/java-vm application/x-java-applet "
    "application/x-java-jnlp-file application/x-mimearchive application/x-ms-application "
    "application/x-ms-xbap application/x-shockwave-flash application/x-silverlight application/x-silverlight-app",
    "server": "application/x-httpd-php text/asp text/aspx text/x-cfm text/x-jsp text/x-template",
    "server and browser": "text/x-server-parsed-html",
    "desktop": "application/x-bat application/x-dex application/x-executable application/x-mach-binary "
    "application/x-ms-shortcut application/x-msdownload application/x-sh",
}
"""The one table of what runs where it is opened or served, under canonical names; see `is_active`."""
_SERVER_SIDE = frozenset(_RUN_BY["server"].split())
_PROGRAMS = frozenset(_RUN_BY["desktop"].split())
DANGEROUS = frozenset(" ".join(_RUN_BY.values()).split())
"""What is not to pass under the name of a format that nobody can tell."""
ACTIVE = DANGEROUS - _PROGRAMS
"""What a browser, its plugins, or a careless server runs or lets run."""

INLINE_TYPES = frozenset(
    "image/avif image/bmp image/gif image/jpeg image/png image/webp audio/* video/* text/plain".split()
)
"""Types that a browser only shows or plays; all others are saved (OWASP ASVS 5.0, 3.2.1)."""

OFFICE = "application/vnd.openxmlformats-officedocument."
"""What the types of Word, Excel and PowerPoint begin with."""
_ODF = "application/vnd.oasis.opendocument."
_INERT = frozenset(
    "application/epub+zip application/geo+json application/gzip application/json application/msword "
    "application/octet-stream application/pdf application/rtf application/vnd.apache.parquet "
    "application/vnd.ms-excel application/vnd.ms-outlook application/vnd.ms-powerpoint application/vnd.rar "
    "application/vnd.sqlite3 application/x-7z-compressed application/x-bzip2 application/x-ndjson "
    "application/x-tar application/x-xz application/yaml application/zip application/zstd "
    "image/apng image/avif image/bmp image/gif image/heic image/heif image/jp2 image/jpeg image/jxl image/png "
    "image/tiff image/vnd.adobe.photoshop image/webp image/x-icon "
    "text/calendar text/csv text/markdown text/plain text/tab-separated-values text/vcard text/vtt".split()
) | frozenset(
    [
        *(
            OFFICE + part
            for part in ("wordprocessingml.document", "spreadsheetml.sheet", "presentationml.presentation")
        ),
        *(_ODF + part for part in ("text", "spreadsheet", "presentation", "graphics")),
    ]
)
_INERT_KINDS = ("audio/", "font/", "video/")

# What a declared type can be

_MEMBERS = {
    "asf": "video/x-ms-asf video/x-ms-wmv audio/x-ms-wma application/vnd.ms-asf",
    "bmp": "image/bmp",
    "cabinet": "application/vnd.ms-cab-compressed",
    "compressed": "application/gzip application/x-bzip2 application/x-xz application/zstd application/x-compress "
    "application/x-lz4 application/x-lzip application/x-tar application/x-gtar application/x-compressed-tar "
    "application/x-bzip-compressed-tar application/x-xz-compressed-tar application/x-zstd-compressed-tar "
    "image/svg+xml-compressed",
    "dicom": "application/dicom",
    "ebml": "video/x-matroska video/webm audio/webm audio/x-matroska",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "gif": "image/gif",
    "hdf5": "application/x-hdf5 application/x-hdf",
    "icon": "image/x-icon",
    "iso media": "video/mp4 video/quicktime video/3gpp video/3gpp2 video/iso.segment audio/mp4 audio/3gpp "
    "audio/3gpp2 audio/x-m4b application/mp4 image/avif image/avif-sequence image/heic image/heif "
    "image/heic-sequence image/heif-sequence image/x-canon-cr3",
    "jpeg": "image/jpeg image/mpo",
    "jpeg 2000": "image/jp2 image/jpm image/j2c image/x-jp2-codestream video/mj2",
    "jpeg xl": "image/jxl",
    "midi": "audio/midi",
    "mpeg": "video/mpeg video/mp2t video/mp2p",
    "mpeg audio": "audio/mpeg audio/aac audio/mp2 audio/x-mp2 audio/mpa",
    "ogg": "audio/ogg video/ogg application/ogg audio/opus audio/vorbis audio/speex audio/x-speex",
    "ole": "application/x-ole-storage application/msword application/vnd.ms-excel application/vnd.ms-outlook "
    "application/vnd.ms-powerpoint application/vnd.ms-project application/vnd.visio application/x-msi",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "photoshop": "image/vnd.adobe.photoshop",
    "png": "image/png image/apng",
    "postscript": "application/postscript",
    "program": "application/java-vm application/wasm application/x-dex application/x-executable "
    "application/x-mach-binary application/x-ms-shortcut application/x-msdownload application/x-shockwave-flash",
    "rar": "application/vnd.rar",
    "riff": "image/webp audio/wav video/x-msvideo application/x-riff",
    "rtf": "application/rtf",
    "7z": "application/x-7z-compressed",
    "sfnt": "font/sfnt font/ttf font/otf font/collection application/x-font-ttf application/x-font-otf "
    "application/vnd.ms-opentype",
    "sqlite": "application/vnd.sqlite3",
    "text": "application/graphql application/hta application/json application/sql application/toml "
    "application/x-bat application/x-desktop application/x-java-jnlp-file application/x-latex "
    "application/x-mimearchive application/x-ndjson application/x-sh application/x-subrip application/x-tex "
    "application/x-httpd-php application/yaml",
    "tiff": "image/tiff",
    "woff": "font/woff font/woff2",
    "xml": "application/xml image/svg+xml application/xml-dtd application/xml-external-parsed-entity",
    "zip": "application/zip application/java-archive application/vnd.android.package-archive",
}
"""By family: the types whose content begins alike, in a container that they share."""

# What programs also write under these names
_ALSO = {
    "application/msword": ("rtf", "xml", "zip", "text"),
    "application/vnd.ms-excel": ("xml", "zip", "text"),
    "application/vnd.ms-powerpoint": ("xml", "zip"),
    "application/vnd.visio": ("xml", "zip"),
    # Illustrator's .ai
    "application/postscript": ("pdf", "text"),
    "application/x-java-jnlp-file": ("xml",),
    "application/xml": ("text",),
    "audio/aac": ("iso media",),
    # tags of MP3 before it, or Ogg around it
    "audio/flac": ("mpeg audio", "ogg"),
    "audio/midi": ("riff",),
    "application/xml-dtd": ("text",),
    "application/xml-external-parsed-entity": ("text",),
    # sources of TypeScript and of translations, which browsers declare as film
    "video/mp2t": ("text", "xml"),
}
_ZIPPED = (OFFICE, _ODF, "application/epub+zip", "application/vnd.ms-visio.")
_STRICT = frozenset(("7z", "gif", "jpeg", "pdf", "png", "rar", "text", "xml", "zip"))
"""Families of which every form has a signature that is known; bytes without one are something else."""

_CODE = frozenset(
    "application/typescript application/x-csh application/x-desktop application/x-httpd-php text/javascript".split()
) | frozenset(
    "text/x-" + language
    for language in "awk clojure common-lisp crystal csharp dart dsrc elixir erlang gnuplot groovy haskell "
    "java julia kotlin lisp lua makefile matlab meson nim ocaml octave perl python qml r ruby rust scala scheme sed "
    "swift tcl".split()
)
"""Types of text that may name the program which runs it."""
_SCRIPTED = frozenset("application/x-msi text/x-ms-regedit text/x-powershell".split())
_PAGES = frozenset("application/hta application/xhtml+xml text/html text/x-server-parsed-html".split())
_MAY_BE = {
    "application/java-vm": frozenset[str](),
    "application/xhtml+xml": _PAGES,
    "application/x-httpd-php": frozenset(("text/x-template",)),
    "image/svg+xml": frozenset[str](),
    "text/html": _PAGES | _SERVER_SIDE,
}
"""What runs, and what else it may be called."""


def bare(content_type: str) -> str:
    """Return a media type in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


@lru_cache(maxsize=1024)
def canonical(content_type: str) -> str:
    """Return the one name of a media type."""
    name = bare(content_type)
    return _CANONICAL.get(name, name)


def is_active(content_type: str) -> bool:
    """Return whether a browser, its plugins or a careless server run content of a type, or let it run.

    These are pages, XML of any kind, since it can be styled and carry scripts, and programs.
    """
    name = canonical(content_type)
    return name in ACTIVE or name.endswith("+xml") or name.startswith("multipart/")


def is_inert(content_type: str) -> bool:
    """Return whether a type is known to run nowhere; a browser shows or plays it, or saves it."""
    name = canonical(content_type)
    return (name in _INERT or name.startswith(_INERT_KINDS)) and not is_active(name)


def agree(declared: str, found: str) -> bool:
    """Return whether content of which the bytes show *found* can be what *declared* says.

    A declared type may say more than the bytes (a DOCX is a ZIP).  Only bytes that prove another family refute it,
    or that show what runs: that passes under its own name only.
    """
    name, shown = canonical(declared), canonical(found)
    if name == shown:
        return True
    if shown in DANGEROUS and shown != XML:
        return _may_run(name, found)
    families = _families(name)
    if not families:
        return True
    if shown == UNKNOWN:
        return _home(name) not in _STRICT
    return _home(shown) in families


def is_recording(one: str, other: str) -> bool:
    """Return whether two types are a sound and a film of one container, which does not tell them apart."""
    kinds = {canonical(name).partition("/")[0] for name in (one, other)}
    return kinds == {"audio", "video"} and _share(one, other)


def may_stand_for(declared: str, named: str) -> bool:
    """Return whether a declared type says what the extension's says in other words, or more closely."""
    name = canonical(named)
    if name == XML:
        return canonical(declared).endswith("+xml")
    return _share(declared, named) and not (name in DANGEROUS or name in _CODE or name in _SCRIPTED)


def may_be_zipped(told: str) -> bool:
    """Return whether a ZIP archive that says to be *told* can be it: an archive, or what only its maker knows."""
    name = canonical(told)
    return _home(name) in {"zip", None} and name not in DANGEROUS and not is_active(name)


def _share(one: str, other: str) -> bool:
    return bool(_families(canonical(one)) & _families(canonical(other)))


def is_known(content_type: str) -> bool:
    """Return whether it is known how content of a type begins."""
    return bool(_families(canonical(content_type)))


def is_proven(declared: str, found: str) -> bool:
    """Return whether the bytes show what *declared* says; nothing against it is not enough."""
    name, shown = canonical(declared), canonical(found)
    families = _families(name)
    if shown == TEXT:
        return "text" in families and _kind(name) != "video"
    if shown == "image/tiff" and name.startswith("image/x-"):
        # what cameras call their raw pictures
        return True
    if name == shown:
        return True
    return agree(name, found) and shown != UNKNOWN and bool(families) and _kind(name) == _kind(shown)


def _kind(name: str) -> str:
    """Return the first half of a type; whether a film has pictures, its container does not tell."""
    kind = name.partition("/")[0]
    return "video" if kind == "audio" else kind


def _may_run(name: str, found: str) -> bool:
    shown = canonical(found)
    if shown == SCRIPT:
        return name in _CODE
    if found == FRAGMENT and _families(name) & {"text", "xml"} and name != "image/svg+xml":
        return name.startswith("text/") or "xml" in _families(name)
    return name in _MAY_BE.get(shown, ())


def _families(name: str) -> frozenset[str]:
    """Return the families that content of a type can be of; none if nobody knows how it begins."""
    if name in _FAMILIES:
        return _FAMILIES[name]
    home = _home(name)
    return _ALSO_OF.get(home, frozenset()) | {home} if home else frozenset()


def _home(name: str) -> str | None:
    """Return the family that a type is of."""
    if name in _HOMES:
        return _HOMES[name]
    if name.startswith(_ZIPPED) or name.endswith("+zip"):
        return "zip"
    if name.startswith(("text/x-", "text/vnd.")):
        return "own text"
    if name.startswith("text/") or name.endswith(("+json", "+yaml")):
        return "text"
    return "xml" if name.endswith("+xml") else None


_ALSO_OF = {
    # a document with a password is an OLE file
    "zip": frozenset(("ole", "xml")),
    # what a program calls its own text may be compiled
    "own text": frozenset(("text", "xml")),
    "text": frozenset(("xml",)),
    "xml": frozenset(("text",)),
}


def _table() -> dict[str, frozenset[str]]:
    families = {name: {family} for name, family in _HOMES.items()}
    for name, others in _ALSO.items():
        families.setdefault(name, set()).update(others)
    return {name: frozenset(several) for name, several in families.items()}


_HOMES = {canonical(member): family for family, members in _MEMBERS.items() for member in members.split()}
_FAMILIES = _table()
