"""What rows say of files, in SQL: `Document.file.size > 10_000`, in queries, indexes and constraints.

A fact is NULL where there is no file, where the file has no such fact, and where the row holds a value of
another JSON type.  See `FIELDS` for the facts there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, cast, overload

from sqlalchemy import (
    JSON,
    ColumnElement,
    TableValuedAlias,
    and_,
    exists,
    false,
    func,
    not_,
    or_,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, MappedColumn, QueryableAttribute
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator

from filecolumn.errors import NotSupportedError, PendingContentError
from filecolumn.files.facts import MAX_METADATA_DEPTH
from filecolumn.files.file import FileObject, file_state
from filecolumn.files.state import Granted
from filecolumn.orm.json_sql import (
    BooleanMember,
    Elements,
    ExistsMember,
    FirstTextMember,
    FloatMember,
    IntegerMember,
    LastSegmentMember,
    Length,
    Member,
    ObjectMember,
    PathStep,
    TextMember,
    TimeMember,
    step_of,
)
from filecolumn.orm.json_values import is_sql

__all__ = (
    "FIELDS",
    "FileComparator",
    "FileMetadata",
    "LastModified",
    "MetadataValue",
    "fact",
)

FIELDS: Mapping[str, type] = MappingProxyType(
    {
        "filename": str,
        "path": str,
        "backend": str,
        "content_type": str,
        "checksum": str,
        "etag": str,
        "version_id": str,
        "size": int,
        "last_modified": float,
        "metadata": dict,
    }
)
"""The facts by name, with the Python types of their values; `path` is the key in the storage."""

TextField = Literal["filename", "path", "backend", "content_type", "checksum", "etag", "version_id"]


class LastModified(FloatMember):
    """When a file was last modified, in seconds since the epoch, UTC."""

    inherit_cache: bool | None = True

    def as_datetime(self) -> ColumnElement[datetime]:
        """Return the time as a datetime in UTC; NULL before year 1 and after year 9999.

        Compare it with datetimes that have a time zone; others raise ValueError.
        """
        return TimeMember(self.document, *self.path)


class MetadataValue(TextMember):
    """A value in the metadata of a file.  Used directly it is a string, and NULL for other types."""

    inherit_cache: bool | None = True

    def __getitem__(self, step: PathStep) -> MetadataValue:
        """Return a member of an object by its name, or an element of an array by its index, from 0.

        ValueError for more than 8 levels: metadata has no more.
        """
        return _value_in(self, step)

    __iter__: None = None
    """Python would ask for indexes without end."""

    def as_string(self) -> ColumnElement[str]:
        """Return the value as a string; NULL for other types."""
        return TextMember(self.document, *self.path)

    def as_integer(self) -> ColumnElement[int]:
        """Return the value as an integer of 64 bits, `3.0` as 3; NULL for `2.5`, and for other types."""
        return IntegerMember(self.document, *self.path)

    def as_float(self) -> ColumnElement[float]:
        """Return the value as a float; NULL for other types."""
        return FloatMember(self.document, *self.path)

    def as_boolean(self) -> ColumnElement[bool]:
        """Return the value as a boolean; NULL for other types."""
        return BooleanMember(self.document, *self.path)

    def exists(self) -> ColumnElement[bool]:
        """Return whether there is a value other than JSON null; this is never NULL."""
        return ExistsMember(self.document, *self.path)


class _Path(FirstTextMember):
    """The key in the storage: `to_filename`, or `filename` where advanced-alchemy wrote the row."""

    inherit_cache: bool | None = True
    name: str = "path"


class FileMetadata(ObjectMember):
    """The metadata of a file; a query that selects it returns dictionaries."""

    inherit_cache: bool | None = True

    def __getitem__(self, step: PathStep) -> MetadataValue:
        """Return the value under a name, such as `Document.file.metadata["width"]`."""
        return _value_in(self, step)

    __iter__: None = None
    """Python would ask for indexes without end."""


def _value_in(outer: Member[Any], step: PathStep) -> MetadataValue:
    if len(outer.path) > MAX_METADATA_DEPTH:
        raise ValueError(
            f"metadata has {MAX_METADATA_DEPTH} levels at most, so there is nothing below {outer}"
        )
    return MetadataValue(outer.document, *outer.path, cast("ColumnElement[Any]", step_of(step)))


class _HoldsFiles(Protocol):
    """What is needed of `StoredObject`."""

    multiple: bool
    backend: str | None


class FileComparator(TypeDecorator.Comparator[Any], JSON.Comparator[Any]):
    """The facts of a file column in SQL, such as `Document.file.size`, and what can be asked of a list of files."""

    __slots__ = ()

    @property
    def filename(self) -> ColumnElement[str]:
        """The file name, without folders."""
        return LastSegmentMember(self._file("filename"), step_of("filename"))

    @property
    def path(self) -> ColumnElement[str]:
        """The key in the storage; in a row of advanced-alchemy that is the file name."""
        return _Path(self._file("path"), step_of("to_filename"), step_of("filename"))

    @property
    def backend(self) -> ColumnElement[str]:
        """The key of the storage in the registry."""
        return TextMember(self._file("backend"), step_of("backend"))

    @property
    def content_type(self) -> ColumnElement[str]:
        """The media type."""
        return TextMember(self._file("content_type"), step_of("content_type"))

    @property
    def checksum(self) -> ColumnElement[str]:
        """`sha256:<hex>` of the content."""
        return TextMember(self._file("checksum"), step_of("checksum"))

    @property
    def etag(self) -> ColumnElement[str]:
        """The storage's own tag."""
        return TextMember(self._file("etag"), step_of("etag"))

    @property
    def version_id(self) -> ColumnElement[str]:
        """The storage's own version."""
        return TextMember(self._file("version_id"), step_of("version_id"))

    @property
    def size(self) -> ColumnElement[int]:
        """Bytes."""
        return IntegerMember(self._file("size"), step_of("size"))

    @property
    def last_modified(self) -> LastModified:
        """Seconds since the epoch, UTC."""
        return LastModified(self._file("last_modified"), step_of("last_modified"))

    @property
    def metadata(self) -> FileMetadata:
        """The user's own data."""
        return FileMetadata(self._file("metadata"), step_of("metadata"))

    def some(self, condition: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
        """Return whether *condition* is true for some file of the list: `pages.some(lambda file: file.size > 10)`.

        False for NULL, for an empty list, and for a row that is not a list.
        """
        files = self._files("some")
        holds = _condition(condition, files.file)
        return and_(self.expr.is_not(None), exists().select_from(files.rows).where(holds))

    def every(self, condition: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
        """Return whether *condition* is true for every file of the list.

        True for NULL and for an empty list, False for a row that is not a list.
        """
        files = self._files("every")
        holds = func.coalesce(_condition(condition, files.file), false())
        other = exists().select_from(files.rows).where(holds.is_(false()))
        return and_(self.count().is_not(None), not_(other))

    def count(self) -> ColumnElement[int]:
        """Return how many files the list has; 0 for NULL, and NULL for a row that is not a list."""
        self._files("count")
        return Length(self.expr)

    def __getitem__(self, index: Any) -> ColumnElement[Any]:  # noqa: ANN401 - as JSON's
        """Return an element of the JSON, as SQLAlchemy's JSON type does: JSON, not a file."""
        return type_coerce(self.expr, _STORED_JSON)[index]

    def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
        """Compare places; the rest is for facts.

        NotSupportedError for what cannot be asked of a file, PendingContentError for a file that is not saved.
        """
        if op in _COMPARISONS:
            found = self._compared(op, other[0])
            return super().operate(op, *other, **options) if found is None else found
        if op in _REFUSED:
            raise _refused_error(self.expr, op, multiple=self._type.multiple)
        return super().operate(op, *other, **options)

    def reverse_operate(self, op: OperatorType, other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ANN401
        """Refuse what `operate` does."""
        if op in _REFUSED:
            raise _refused_error(self.expr, op, multiple=self._type.multiple)
        return super().reverse_operate(op, other, **options)

    @property
    def _type(self) -> _HoldsFiles:
        return cast("_HoldsFiles", self.type)

    def _file(self, name: str) -> ColumnElement[Any]:
        if self._type.multiple:
            raise AttributeError(
                f"{self.expr} holds a list of files: write .some(lambda file: file.{name} == ...) or .every(...)"
            )
        return self.expr

    def _files(self, name: str) -> _Files:
        if not self._type.multiple:
            raise AttributeError(f"{self.expr} holds one file, and .{name} is for lists: ask for its facts")
        rows = Elements(self.expr).table_valued("value", name=None)
        return _Files(rows, type_coerce(rows.c.value, _OneOfList(self._type.backend)))

    def _compared(self, op: OperatorType, other: object) -> ColumnElement[bool] | None:
        """Return the comparison of places; None if *other* is not of files: columns are compared as JSON."""
        if op in {operators.in_op, operators.not_in_op}:
            if not isinstance(other, list | tuple | set | frozenset):
                return None
            same = _any_of(self._same(each) for each in cast("Iterable[object]", other) if each is not None)
        else:
            same = self._same(other)
        if same is None:
            return None
        if op in {operators.is_distinct_from, operators.is_not_distinct_from}:
            same = func.coalesce(same, false()).is_(true())
        return not_(same) if op in {operators.ne, operators.not_in_op, operators.is_distinct_from} else same

    def _same(self, other: object) -> ColumnElement[bool] | None:
        """Return whether the row has *other*, a file or a list of them; None for NULL and for what is SQL."""
        if (
            other is not None
            and not is_sql(other)
            and not isinstance(other, list | tuple if self._type.multiple else FileObject)
        ):
            raise _not_a_file_error(self.expr, other, multiple=self._type.multiple)
        if self._type.multiple:
            return (
                self._same_list(cast("Sequence[object]", other)) if isinstance(other, list | tuple) else None
            )
        return self._same_file(other) if isinstance(other, FileObject) else None

    def _same_file(self, file: FileObject) -> ColumnElement[bool]:
        if not file.is_saved or isinstance(file_state(file).content, Granted):
            raise PendingContentError(
                f"the content of {file.filename!r} is not stored, so no row has it: compare with a file that is saved"
            )
        path, backend, of_column = self.path == file.path, file.backend_key, self._type.backend
        if of_column is None or backend in {None, of_column}:
            # a row that names no storage means that of the column
            return and_(path, or_(self.backend == (backend or of_column), self.backend.is_(None)))
        return and_(path, self.backend == backend)

    def _same_list(self, files: Sequence[object]) -> ColumnElement[bool] | None:
        if not all(isinstance(file, FileObject) for file in files):
            return None
        one = _OneOfList(self._type.backend)
        elements = [
            type_coerce(ObjectMember(self.expr, step_of(number)), one) for number in range(len(files))
        ]
        same = [element == file for element, file in zip(elements, files, strict=True)]
        return and_(Length(self.expr) == len(files), *same)


def _any_of(conditions: Iterable[ColumnElement[bool] | None]) -> ColumnElement[bool] | None:
    """Return whether one of *conditions* holds; None if one of them is None."""
    found = list(conditions)
    known = [each for each in found if each is not None]
    return or_(false(), *known) if len(known) == len(found) else None


def _condition(
    condition: Callable[[Any], ColumnElement[bool]], file: ColumnElement[Any]
) -> ColumnElement[bool]:
    if not callable(condition):
        raise TypeError("the condition is a function of one file of the list: lambda file: file.size > 10")
    return condition(file)


class _OneOfList(TypeDecorator[Any]):
    """One file of a list, whose facts are asked for."""

    impl = JSON
    cache_ok: bool | None = True
    comparator_factory = FileComparator  # pyright: ignore[reportAssignmentType] - as its documentation has it
    multiple = False

    def __init__(self, backend: str | None) -> None:
        super().__init__()
        self.backend = backend


class _Files(NamedTuple):
    """The files of a list, in a query for them."""

    rows: TableValuedAlias
    file: ColumnElement[Any]


_STORED_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""What the column is in the database, without its files."""

_COMPARISONS = frozenset(
    {
        operators.eq,
        operators.ne,
        operators.in_op,
        operators.not_in_op,
        operators.is_distinct_from,
        operators.is_not_distinct_from,
    }
)
_REFUSED: Mapping[object, str] = {
    **dict.fromkeys(
        (
            operators.like_op,
            operators.not_like_op,
            operators.ilike_op,
            operators.not_ilike_op,
            operators.startswith_op,
            operators.not_startswith_op,
            operators.istartswith_op,
            operators.not_istartswith_op,
            operators.endswith_op,
            operators.not_endswith_op,
            operators.iendswith_op,
            operators.not_iendswith_op,
            operators.contains_op,
            operators.not_contains_op,
            operators.icontains_op,
            operators.not_icontains_op,
            operators.regexp_match_op,
            operators.not_regexp_match_op,
            operators.match_op,
            operators.not_match_op,
            operators.concat_op,
        ),
        "filename",
    ),
    **dict.fromkeys(
        (
            operators.lt,
            operators.le,
            operators.gt,
            operators.ge,
            operators.between_op,
            operators.not_between_op,
            operators.add,
            operators.sub,
            operators.mul,
            operators.truediv,
            operators.mod,
        ),
        "size",
    ),
}
"""What is for text and numbers, and a fact to use it on."""


def _refused_error(column: ColumnElement[Any], op: OperatorType, *, multiple: bool) -> NotSupportedError:
    name, of_fact = op.__name__.removesuffix("_op"), _REFUSED[op]
    holds = f".some(lambda file: file.{of_fact} ...)" if multiple else f".{of_fact}, or another fact"
    return NotSupportedError(
        f"{column} holds files, which have no {name!r} in SQL: use it on {column}{holds}"
    )


def _not_a_file_error(column: ColumnElement[Any], other: object, *, multiple: bool) -> TypeError:
    held, of_fact = (
        ("a list of files", ".some(lambda file: file.filename == ...)")
        if multiple
        else ("a file", ".filename")
    )
    return TypeError(
        f"{column} holds {held}, and {other!r} is none: compare a fact of it, such as {column}{of_fact}"
    )


# By name


@overload
def fact(column: FileExpression, name: TextField) -> ColumnElement[str]: ...
@overload
def fact(column: FileExpression, name: Literal["size"]) -> ColumnElement[int]: ...
@overload
def fact(column: FileExpression, name: Literal["last_modified"]) -> LastModified: ...
@overload
def fact(column: FileExpression, name: Literal["metadata"]) -> FileMetadata: ...
@overload
def fact(column: FileExpression, name: str) -> ColumnElement[Any]: ...
def fact(column: FileExpression, name: str) -> ColumnElement[Any]:
    """Return a fact of a file column: `fact(Document.file, "size")` is `Document.file.size`, with its type.

    *column* is a mapped attribute, also of an alias, a column of a table or query, or a `mapped_column()` in the body
    of its class.  Raises LookupError for an unknown fact, and TypeError for another column.
    """
    if name not in FIELDS:
        raise LookupError(f"there is no fact {name!r} of a file: {', '.join(FIELDS)}")
    comparator = comparator_of(column)
    if comparator is None:
        raise TypeError(f"{column} is not a file column")
    found: ColumnElement[Any] = getattr(comparator, name)
    return found


FileExpression = ColumnElement[Any] | Mapped[Any]
"""What facts can be asked of."""


def comparator_of(column: FileExpression) -> FileComparator | None:
    """Return what can be asked of a file column; None for other columns."""
    element = column.column if isinstance(column, MappedColumn) else column
    if isinstance(element, QueryableAttribute):
        element = element.__clause_element__()
    found = getattr(element, "comparator", None)
    return found if isinstance(found, FileComparator) else None
