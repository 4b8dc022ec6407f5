"""Key templates: `"{tenant}/{table}/{uuid}{ext}"` becomes a key once its record is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Formatter

from filecolumn.errors import InvalidKeyError
from filecolumn.naming import check_key, safe_extension, slug, uuid7_hex

__all__ = ("KeyContext", "KeyTemplate")

_DATE_FIELDS = {"date": "%Y%m%d", "year": "%Y", "month": "%m", "day": "%d", "hour": "%H"}
_FIELDS = frozenset({"table", "column", "uuid", "ext", "name", *_DATE_FIELDS})


@dataclass(frozen=True, slots=True)
class KeyContext:
    """What a template can ask about."""

    table: str
    """Name of the table."""
    column: str
    """Name of the mapped attribute."""
    filename: str
    """Display name of the file."""
    record: object
    """The mapped instance; every other field of a template is one of its attributes."""


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A checked template.

    Fields: `table`, `column`, `uuid` (required: it makes the key unique), `ext` (a safe
    extension with its dot, or nothing), `name` (the file's name as a slug), `date` (`YYYYMMDD`),
    `year`, `month`, `day`, `hour` (UTC), and any attribute of the record, as a slug.
    """

    text: str
    """As it was written."""

    def __post_init__(self) -> None:
        """Refuse at declaration what could never make good keys."""
        fields = list(self._fields())
        if "uuid" not in fields:
            raise InvalidKeyError(f"the key template {self.text!r} needs {{uuid}}: keys are never reused")
        check_key(self.text.format_map(dict.fromkeys(fields, "x")))

    def render(self, context: KeyContext) -> str:
        """Return the key; InvalidKeyError names a field that is still None or has nothing usable."""
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
                raise InvalidKeyError(f"the key template {self.text!r} may have plain {{names}} only")
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
        raise InvalidKeyError(f"{type(record).__name__}.{field} has nothing that a storage key could carry")
    return segment
