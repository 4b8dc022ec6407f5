"""What a row says about a file, and the JSON in which it is written there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Literal, NoReturn, TypeGuard, cast

from filecolumn.errors import ContentRejectedError, CorruptFileMetadataError, InvalidKeyError
from filecolumn.naming import (
    DEFAULT_CONTENT_TYPE,
    MAX_FILENAME_BYTES,
    PLAIN_FILENAME,
    check_content_type,
    clean_filename,
)

if TYPE_CHECKING:
    from filecolumn.files._msgspec import Row

__all__ = (
    "PUBLIC_FIELDS",
    "FileFacts",
    "Json",
    "JsonObject",
    "NotAList",
    "PublicField",
    "checked_metadata",
    "facts_by_pattern",
    "facts_from_row",
    "known_time",
    "place_in_row",
    "public_from_facts",
    "read_only",
    "reader_of",
    "row_from_facts",
    "rows_of",
    "stored_in",
)

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""A JSON-serialisable value."""

JsonObject = Mapping[str, Json]

ROW_VERSION = 1
MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 8
# Far above what is written, and far below where Python's recursion ends
_MAX_ROW_DEPTH = 100
MAX_INTEGER = 2**63 - 1
_MAX_FLOAT = sys.float_info.max
_KNOWN = frozenset(
    "filename to_filename backend content_type size checksum etag version_id last_modified metadata v".split()
)


NO_DATA: JsonObject = {}
"""No metadata, or no unknown keys; shared by the facts that have none, and never changed."""


@dataclass(frozen=True, slots=True, init=False)
class FileFacts:
    """The facts of one file; None is a fact that is not known (yet)."""

    filename: str
    """The name for people, without folders."""
    key: str | None
    """The key in the storage; None before the file is saved."""
    backend: str | None
    """The key of the storage in the registry; None: the column's, or the default."""
    content_type: str
    """The media type."""
    size: int | None
    """Bytes."""
    checksum: str | None
    """`sha256:<hex>` of the content."""
    etag: str | None
    """The storage's own tag."""
    version_id: str | None
    """The storage's own version."""
    last_modified: float | None
    """Seconds since the epoch, UTC; what another program wrote may be any finite number."""
    metadata: JsonObject
    """The user's own data; a copy nobody else can change."""
    sniffed: str | None = field(compare=False, repr=False)
    """The media type that the first bytes show, if this process has seen them; no row has it."""
    foreign: bool
    """Whether advanced-alchemy wrote the row: its keys are file names, which rows may share."""
    unknown: JsonObject = field(repr=False)
    """Keys of the row that this version does not know; written back as they were."""

    def __init__(
        self,
        *,
        filename: str,
        key: str | None = None,
        backend: str | None = None,
        content_type: str = DEFAULT_CONTENT_TYPE,
        size: int | None = None,
        checksum: str | None = None,
        etag: str | None = None,
        version_id: str | None = None,
        last_modified: float | None = None,
        metadata: JsonObject = NO_DATA,
        sniffed: str | None = None,
        foreign: bool = False,
        unknown: JsonObject = NO_DATA,
    ) -> None:
        # Made for each row that is read: the `__init__` of a frozen dataclass takes twice as long
        _set_filename(self, filename)
        _set_key(self, key)
        _set_backend(self, backend)
        _set_content_type(self, content_type)
        _set_size(self, size)
        _set_checksum(self, checksum)
        _set_etag(self, etag)
        _set_version_id(self, version_id)
        _set_last_modified(self, last_modified)
        _set_metadata(self, metadata)
        _set_sniffed(self, sniffed)
        _set_foreign(self, foreign)
        _set_unknown(self, unknown)


(
    _set_filename,
    _set_key,
    _set_backend,
    _set_content_type,
    _set_size,
    _set_checksum,
    _set_etag,
    _set_version_id,
    _set_last_modified,
    _set_metadata,
    _set_sniffed,
    _set_foreign,
    _set_unknown,
) = (vars(FileFacts)[each.name].__set__ for each in fields(FileFacts))


def stored_in(known: FileFacts, backend: str) -> FileFacts:
    """Return *known* with the key of the storage that its content goes to."""
    if known.backend == backend:
        return known
    return FileFacts(
        filename=known.filename,
        key=known.key,
        backend=backend,
        content_type=known.content_type,
        size=known.size,
        checksum=known.checksum,
        etag=known.etag,
        version_id=known.version_id,
        last_modified=known.last_modified,
        metadata=known.metadata,
        sniffed=known.sniffed,
        foreign=known.foreign,
        unknown=known.unknown,
    )


@dataclass(frozen=True, slots=True)
class NotAList:
    """Stands for the one corrupt file of a `multiple=True` row that is not a list of files."""

    row: object
    problem: str


@dataclass(frozen=True, slots=True)
class PublicField:
    """One field of the JSON that clients get of a file."""

    type: Literal["string", "integer", "number"]
    nullable: bool = True
    description: str = ""


PUBLIC_FIELDS: Mapping[str, PublicField] = {
    "filename": PublicField("string", nullable=False),
    "content_type": PublicField("string", nullable=False),
    "size": PublicField("integer", description="bytes"),
    "checksum": PublicField("string", description="sha256:<hex>"),
    "last_modified": PublicField("number", description="seconds since the epoch, UTC"),
    "url": PublicField("string", description="reads the content for an hour"),
}
"""What clients may know of a file."""


def public_from_facts(facts: FileFacts, url: str | None) -> dict[str, Json]:
    """Return the JSON that clients get: `PUBLIC_FIELDS`."""
    known = (facts.filename, facts.content_type, facts.size, facts.checksum, facts.last_modified, url)
    return dict(zip(PUBLIC_FIELDS, known, strict=True))


def row_from_facts(facts: FileFacts) -> dict[str, Json]:
    """Return the JSON object of a row."""
    return {
        **(deepcopy(facts.unknown) if facts.unknown else {}),
        "filename": facts.key if facts.foreign else facts.filename,
        "to_filename": None if facts.foreign else facts.key,
        "backend": facts.backend,
        "content_type": facts.content_type,
        "size": facts.size,
        "checksum": facts.checksum,
        "etag": facts.etag,
        "version_id": facts.version_id,
        "last_modified": facts.last_modified,
        "metadata": deepcopy(dict(facts.metadata)) if facts.metadata else {},
        "v": ROW_VERSION,
    }


def facts_from_row(value: object) -> FileFacts:
    """Read one file's JSON, as text or decoded; CorruptFileMetadataError says what is wrong with it.

    Name and content type are cleaned as those of a new file are: applications show them, and put
    them into headers and paths.
    """
    # `_facts_of` decides; what reads faster gives the same facts, and leaves to it whatever it is not sure of
    facts = _text_reader()(value) if isinstance(value, str) else None
    return _facts_of(_decoded(value)) if facts is None else facts


@cache
def _text_reader() -> Callable[[str], FileFacts | None]:
    """Return what reads text fastest: msgspec where it is installed."""
    try:
        from filecolumn.files._msgspec import decoded_row  # noqa: PLC0415 - msgspec may be missing
    except ImportError:
        return facts_by_pattern
    return reader_of(decoded_row)


def reader_of(decode: Callable[[str], Row | None]) -> Callable[[str], FileFacts | None]:
    """Return what reads a row that *decode* takes; it reads None where the row needs a second look."""

    def read(text: str) -> FileFacts | None:
        if (row := decode(text)) is None or not row.filename:
            return None
        key, size, time = row.to_filename, row.size, row.last_modified
        is_known = bool(key) if key is not None else row.backend is not None
        if not (is_known and (size is None or _fits(size)) and (time is None or _fits(abs(time)))):
            return None
        try:
            return FileFacts(
                filename=clean_filename(row.filename),
                key=key or row.filename,
                foreign=key is None,
                backend=row.backend,
                content_type=_media_type(row.content_type or DEFAULT_CONTENT_TYPE),
                size=size,
                checksum=row.checksum,
                etag=row.etag,
                version_id=row.version_id,
                last_modified=time,
                metadata=_bounded(row.metadata) if row.metadata else NO_DATA,
            )
        except ValueError:
            return None

    return read


_ASCII = r"[ !#-\[\]-~]"
_TEXT = f'(?:"({_ASCII}*)"|null)'
_PATTERNS = {
    "filename": f'"({PLAIN_FILENAME})"',
    "to_filename": f'"({_ASCII}+)"',
    "backend": _TEXT,
    "content_type": r'"([a-z0-9][a-z0-9.+-]{0,126}/[a-z0-9][a-z0-9.+-]{0,126})"',
    "size": r"(?:(0|[1-9][0-9]{0,17})|null)",
    "checksum": _TEXT,
    # most storages have it in quotation marks
    "etag": rf'(?:"((?:\\")?{_ASCII}*(?:\\")?)"|null)',
    "version_id": _TEXT,
    "last_modified": r"(?:((?:0|[1-9][0-9]{0,17})\.[0-9]{1,17})|null)",
    "metadata": r"(\{[^{}\\]*\})",
    "v": "1",
}


def _row_pattern(names: Iterable[str]) -> re.Pattern[str]:
    items = ", ".join(f'"{name}": {_PATTERNS[name]}' for name in names)
    return re.compile(rf"\{{{items}\}}")


_AS_WRITTEN = _row_pattern(_PATTERNS)
"""A row as `json.dumps` writes it and databases that store text keep it: here without escapes."""
_BY_LENGTH = _row_pattern(sorted(_PATTERNS, key=lambda name: (len(name), name)))
"""The same as PostgreSQL's JSONB and MySQL's JSON return it: shorter keys first."""


def facts_by_pattern(text: str) -> FileFacts | None:
    """Read a row as this version writes it; None for any other, which may be one nevertheless."""
    if (match := _AS_WRITTEN.fullmatch(text)) is not None:
        name, key, backend, media_type, size, checksum, etag, version, modified, metadata = match.groups()
    elif (match := _BY_LENGTH.fullmatch(text)) is not None:
        etag, size, backend, checksum, name, metadata, version, key, media_type, modified = match.groups()
    else:
        return None
    try:
        return FileFacts(
            filename=name,
            key=key,
            backend=backend,
            content_type=media_type,
            size=None if size is None else int(size),
            checksum=checksum,
            etag=None if etag is None else etag.replace('\\"', '"'),
            version_id=version,
            last_modified=None if modified is None else float(modified),
            metadata=NO_DATA if metadata == "{}" else _bounded(_DECODER.decode(metadata)),
        )
    except (ValueError, RecursionError):
        return None


def place_in_row(text: str) -> tuple[str | None, str] | None:
    """Return storage and key in a row exactly as this version writes it, without decoding it; None for any other.

    Such a text may be written again as it is.
    """
    if (match := _AS_WRITTEN.fullmatch(text)) is not None:
        key, backend, metadata = match.group(2, 3, 10)
    elif (match := _BY_LENGTH.fullmatch(text)) is not None:
        key, backend, metadata = match.group(8, 3, 6)
    else:
        return None
    # what is in metadata is for a decoder
    return (backend, key) if metadata == "{}" else None


def _facts_of(row: object) -> FileFacts:
    """Read one file's decoded JSON, whatever is in it."""
    if isinstance(row, NotAList):
        raise CorruptFileMetadataError(row.problem)
    if not _is_json_object(row):
        raise CorruptFileMetadataError(f"a file's row must be a JSON object, not {_kind(row)}")
    filename = _string(row, "filename")
    if not filename:
        raise CorruptFileMetadataError("a file's row has no 'filename'")
    # rows of advanced-alchemy have no "to_filename": their key is the file name
    key = _string(row, "to_filename")
    if key == "":
        raise CorruptFileMetadataError("a file's row has an empty 'to_filename'")
    if key is None and row.get("backend") is None and "v" not in row:
        # sqlalchemy-file and others have a "filename" too: under it may lie another file
        raise CorruptFileMetadataError(
            "a file's row names neither a key ('to_filename') nor a storage ('backend'), so neither filecolumn nor "
            "advanced-alchemy wrote it: convert it first"
        )
    return FileFacts(
        filename=_shown(filename),
        key=key or filename,
        foreign=key is None,
        backend=_string(row, "backend"),
        content_type=_media_type(_string(row, "content_type") or DEFAULT_CONTENT_TYPE),
        size=_size(row),
        checksum=_string(row, "checksum"),
        etag=_string(row, "etag"),
        version_id=_string(row, "version_id"),
        last_modified=_time(row, "last_modified"),
        metadata=_metadata(row),
        unknown=NO_DATA
        if row.keys() <= _KNOWN
        else _bounded({name: item for name, item in row.items() if name not in _KNOWN}),
    )


def rows_of(value: object) -> Sequence[object]:
    """Return the rows of the files of a `multiple=True` row, to be read on first use; one `NotAList` if it is none."""
    if isinstance(value, str) and (texts := _split(value)):
        return texts
    try:
        rows = _decoded(value)
    except CorruptFileMetadataError as error:
        return (NotAList(value, str(error)),)
    if not _is_json_array(rows):
        return (NotAList(value, f"the row of a list of files must be a JSON array, not {_kind(rows)}"),)
    # an item is decoded already: a text among them is not a row, and must not be decoded again
    return [json.dumps(row) if isinstance(row, str) else row for row in rows]


def _split(text: str) -> list[str]:
    """Return the JSON of each object in an array of nothing else; empty where only a decoder can tell them apart.

    Decoding every list that is loaded would make loading rows several times slower.  With no second bracket
    there is no array inside, so an object that follows an object is the next file.  A quote that a letter
    follows opens a string, so what is before it is in none.  What else follows a brace and a comma is left
    to the decoder.
    """
    if text[:2] != "[{" or text[-2:] != "}]" or text.find("[", 1) > 0:
        return []
    for between, unclear in _STYLES:
        if not unclear.search(text):
            return [f"{{{content}}}" for content in text[2:-2].split(between)]
    return []


# In JSON without other escapes: https://www.postgresql.org/docs/current/datatype-json.html
_UNSTORABLE = re.compile(r"[\ud800-\udfff]|(?<!\\)(?:\\\\)*\\u0000")


def known_time(*candidates: float | None) -> float | None:
    """Return the first time that a row can hold; None if there is none, as when the clock is before 1970."""
    for moment in candidates:
        if moment is not None and _fits(moment):
            return moment
    return None


def checked_metadata(metadata: JsonObject) -> JsonObject:
    """Return a private copy of the user's metadata.

    Raises TypeError for what is not JSON-serialisable, and ContentRejectedError, a ValueError, above 64 KiB of JSON,
    8 levels, and for characters that PostgreSQL's JSONB refuses.
    """
    if not metadata:
        return {}
    _measure(metadata)
    try:
        text = json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must be JSON-serialisable: {error}") from error
    if len(text) > MAX_METADATA_BYTES:
        raise _too_large_metadata()
    copy: object = json.loads(text)
    if not _is_json_object(copy):
        raise ValueError("metadata must be a mapping")
    if "\\u" in text and _UNSTORABLE.search(json.dumps(copy, ensure_ascii=False)):
        raise _refused_metadata(
            "metadata must be text without U+0000 and unpaired surrogates, which databases refuse in JSON",
            "metadata_not_text",
        )
    return copy


def _measure(metadata: object) -> None:
    """Refuse metadata that is too large or too deep while it is looked at, since a client may have made it.

    What is counted is the least that each value takes as JSON, so what passes is a small multiple of the limit.
    """
    left = MAX_METADATA_BYTES
    waiting: list[tuple[object, tuple[object, ...]]] = [(metadata, ())]
    while waiting:
        value, around = waiting.pop()
        items, size = _parts(value)
        if items is not None:
            if any(value is outer for outer in around):
                raise TypeError("metadata must be JSON-serialisable: it contains itself")
            if len(around) == MAX_METADATA_DEPTH:
                raise _too_deep_metadata()
        left -= size
        if left < 0:
            raise _too_large_metadata()
        waiting.extend((item, (*around, value)) for item in items or ())


def _parts(value: object) -> tuple[Iterable[object] | None, int]:
    """Return what is in a value, and the least bytes that the value takes as JSON."""
    match value:
        # as `json.dumps` writes them: with brackets, commas, colons and blanks
        case dict():
            whole = cast("dict[object, object]", value)
            return chain(whole, whole.values()), max(2, 4 * len(whole))
        case list() | tuple():
            items = cast("Sequence[object]", value)
            return items, max(2, 2 * len(items))
        case str():
            return None, len(value) + 2
        case int():
            # a digit has less than four bits
            return None, max(1, value.bit_length() // 4)
        case _:
            return None, 1


def _too_deep_metadata() -> ContentRejectedError:
    return _refused_metadata(
        f"metadata must be a mapping of at most {MAX_METADATA_DEPTH} levels",
        "metadata_too_deep",
        max_levels=MAX_METADATA_DEPTH,
    )


def _too_large_metadata() -> ContentRejectedError:
    return _refused_metadata(
        f"metadata is too large as JSON; at most {MAX_METADATA_BYTES} bytes are allowed",
        "metadata_too_large",
        max_size=MAX_METADATA_BYTES,
    )


def _refused_metadata(message: str, code: str, **limits: int) -> ContentRejectedError:
    return ContentRejectedError(message, field="metadata", code=code, params=limits)


def _decoded(value: object) -> object:
    if not isinstance(value, str | bytes | bytearray):
        return value
    try:
        decoded: object = (
            _DECODER.decode(value)
            if isinstance(value, str)
            else json.loads(value, parse_constant=_refuse_constant)
        )
    except (ValueError, RecursionError) as error:
        raise CorruptFileMetadataError("a file's row is not valid JSON") from error
    return decoded


def _is_json_object(value: object) -> TypeGuard[JsonObject]:
    return isinstance(value, dict)


def _is_json_array(value: object) -> TypeGuard[Sequence[Json]]:
    return isinstance(value, list)


def _string(row: JsonObject, name: str) -> str | None:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value
    raise CorruptFileMetadataError(f"{name!r} of a file's row must be a string, not {_kind(value)}")


def _number(row: JsonObject, name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and _fits(value):
        return value
    raise CorruptFileMetadataError(
        f"{name!r} of a file's row must be a number of 0 or more, not {_kind(value)}"
    )


def _fits(value: float) -> bool:
    # NaN compares false
    return 0 <= value <= MAX_INTEGER


def _size(row: JsonObject) -> int | None:
    size = _number(row, "size")
    if size is None or isinstance(size, int):
        return size
    raise CorruptFileMetadataError("'size' of a file's row must be a whole number of bytes")


def _time(row: JsonObject, name: str) -> float | None:
    """Read epoch seconds or an ISO 8601 date.

    Other programs write milliseconds, or times before 1970: a number is kept as it is, since what it
    counts is a guess, and it is for those who show it to see whether it is a date.
    """
    value = row.get(name)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError as error:
            raise CorruptFileMetadataError(
                f"{name!r} of a file's row must be a number or an ISO 8601 date"
            ) from error
    # bool is an int; NaN and infinities compare false
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_FLOAT:
        # not every JSON encoder takes an integer of more than 64 bits
        return value if abs(value) <= MAX_INTEGER else float(value)
    if value is None:
        return None
    raise CorruptFileMetadataError(f"{name!r} of a file's row must be a finite number, not {_kind(value)}")


def _metadata(row: JsonObject) -> JsonObject:
    metadata = row.get("metadata")
    if metadata is None:
        return {}
    if _is_json_object(metadata):
        return _bounded(metadata)
    raise CorruptFileMetadataError(f"'metadata' of a file's row must be an object, not {_kind(metadata)}")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


# made once: `json.loads` makes a decoder for each call that has an option
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


# What is between two objects, and what shows that there may be others: a comma after an object that is followed
# neither by an object nor by the next name in the object around it.  As `json.dumps` writes, and as orjson does
_STYLES = (
    ("}, {", re.compile(r"""\}(?:\s+,|,(?! \{"[a-z]| "[a-z_]+":))""")),
    ("},{", re.compile(r"""\}(?:\s+,|,(?!\{"[a-z]|"[a-z_]+":))""")),
)


def _media_type(content_type: str) -> str:
    """Return the media type of a row, cleaned; what is checked once is remembered, unless it is longer than any."""
    return (
        _checked_type(content_type)
        if len(content_type) <= MAX_FILENAME_BYTES
        else check_content_type(content_type)
    )


_checked_type = lru_cache(256)(check_content_type)


def _shown(filename: str) -> str:
    try:
        return clean_filename(filename)
    except InvalidKeyError as error:
        raise CorruptFileMetadataError("'filename' of a file's row is not valid Unicode") from error


def _bounded(value: JsonObject) -> JsonObject:
    """Return a part of a row; CorruptFileMetadataError if it has too many levels."""
    if _is_deeper(value, _MAX_ROW_DEPTH):
        raise CorruptFileMetadataError("a file's row has too many levels")
    return value


def _is_deeper(value: object, levels: int) -> bool:
    items = value.values() if _is_json_object(value) else value if _is_json_array(value) else ()
    return bool(items) and (levels == 0 or any(_is_deeper(item, levels - 1) for item in items))


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _refuse(self: object, *args: object, **options: object) -> NoReturn:
    raise TypeError(
        "metadata is read-only: assign a new mapping to the file's metadata, or call update_metadata"
    )


class _ReadOnlyDict(dict[str, Json]):
    """A dict whose changes raise TypeError; copies of it are plain."""

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (dict(self),)


class _ReadOnlyList(list[Json]):
    """A list whose changes raise TypeError; copies of it are plain."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = extend = _refuse
    insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[object, ...]:
        return list, (list(self),)


def read_only(data: JsonObject) -> JsonObject:
    """Return a read-only copy of *data*."""
    return _ReadOnlyDict((name, _read_only(value)) for name, value in data.items())


def _read_only(value: Json) -> Json:
    if isinstance(value, Mapping):
        return read_only(value)
    if isinstance(value, list | tuple):
        return _ReadOnlyList(map(_read_only, value))
    return value
