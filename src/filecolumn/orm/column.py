"""`StoredObject`: the column type. It writes and reads rows and never touches a storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, cast

from sqlalchemy import (
    JSON,
    Case,
    ClauseElement,
    Column,
    ColumnElement,
    FromClause,
    Over,
    ScalarSelect,
    Table,
    Text,
    event,
    type_coerce,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import LoaderCallableStatus
from sqlalchemy.orm.state import InstanceState
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.sql.elements import ClauseList
from sqlalchemy.sql.operators import OperatorType, is_comparison
from sqlalchemy.types import TypeDecorator, TypeEngine

from filecolumn.backends.base import StorageBackend
from filecolumn.content.policy import ContentPolicy
from filecolumn.errors import CorruptFileMetadataError, NotSupportedError, OwnedFileError, PendingContentError
from filecolumn.files.facts import Json, row_from_facts
from filecolumn.files.file import FileObject, file_reader, file_state, undecoded
from filecolumn.files.file_list import (
    FileObjectList,
    list_reader,
    list_state,
)
from filecolumn.files.state import AllowedBackends, BackendsOfSeveral, Granted, Stored
from filecolumn.ledger.table import add_ledger
from filecolumn.naming import KeyTemplate
from filecolumn.orm.facts_sql import FileComparator

__all__ = (
    "KeyFunction",
    "StoredObject",
    "WritePermit",
    "end_permits",
    "is_in_table",
    "permit_write",
    "type_of_several",
    "wrong_type_error",
)

Value = FileObject | FileObjectList | Sequence[FileObject] | None
"""What an attribute holds, or a statement is to write."""

KeyFunction = Callable[..., str]
"""A function of the record and the file that returns a key; the key is validated, and must be new for each file."""


class BindProcessor(Protocol):
    """Makes what a driver takes for a value, as SQLAlchemy types it."""

    def __call__(self, value: Any) -> Any: ...  # noqa: ANN401 - the driver's


class RowReader(Protocol):
    """Makes the value of a row's column."""

    def __call__(self, value: object) -> FileObject | FileObjectList | None: ...


class StoredObject(TypeDecorator["FileObject | FileObjectList"]):
    """A column that holds a `FileObject`, or with *multiple* a `FileObjectList`.

    In the database it is JSON (JSONB on PostgreSQL), and SQL NULL for None.

    *backend*
        The key of the storage for new content; by default `storages.default`.
    *multiple*
        Whether the column holds a list of files.
    *reads*
        Keys of further storages that existing rows may name.
    *key_template*
        How keys are made: a template such as `"{tenant}/{table}/{uuid}{ext}"` (see `KeyTemplate`), or a function
        `(record, file) -> key`.  By default filecolumn makes them.
    *max_size*
        Bytes that a file may have at most.
    *accept*
        The types that are accepted: media types, wildcards such as `image/*`, and extensions such as `.pdf`.
    *ledger*
        Whether the column adds the ledger's tables to its `MetaData`.  If no column does, there is no ledger, and
        less is guaranteed.

    Content that *max_size* or *accept* refuses raises ContentRejectedError in the flush, however it comes into the
    column.

    The declaration raises InvalidKeyError for a template that cannot make unique keys, ValueError for a negative
    size or an entry of *accept* that means nothing, and TypeError for *reads* as one string.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = JSON
    cache_ok: bool | None = True
    hashable: bool = False
    comparator_factory = FileComparator  # pyright: ignore[reportAssignmentType] - as its documentation has it

    def __init__(
        self,
        backend: str | StorageBackend | None = None,
        multiple: bool = False,
        *,
        reads: Sequence[str] = (),
        key_template: str | KeyFunction | None = None,
        max_size: int | None = None,
        accept: Iterable[str] | None = None,
        ledger: bool = True,
    ) -> None:
        super().__init__(none_as_null=True)
        if isinstance(reads, str):
            raise TypeError(f"reads is a sequence of storage keys: write reads=({reads!r},)")
        self.backend: str | None = backend.key if isinstance(backend, StorageBackend) else backend
        self.multiple: bool = multiple
        self.reads: tuple[str, ...] = tuple(reads)
        if isinstance(key_template, str):
            # InvalidKeyError here, not in the first flush
            KeyTemplate(key_template)
        self.key_template: str | KeyFunction | None = key_template
        self.policy: ContentPolicy = ContentPolicy.of(max_size, accept)
        self.max_size: int | None = max_size
        self.accept: frozenset[str] | None = self.policy.accept
        self.ledger: bool = ledger
        self.allowed_backends: AllowedBackends = (self.backend, *self.reads)
        """The storages that rows may name, that for new content first; None is the default storage."""

    @property
    def storage_key(self) -> str | None:
        """The key of the storage, under the name that advanced-alchemy gives it."""
        return self.backend

    @property
    def python_type(self) -> type[FileObject | FileObjectList]:
        return FileObjectList if self.multiple else FileObject

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[object]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))

    def _set_parent(self, parent: SchemaEventTarget, outer: bool = False, **options: object) -> None:
        super()._set_parent(parent, outer=outer, **options)
        type_: TypeEngine[Any] = getattr(parent, "type", self)
        if type_ is not self or self._variant_mapping:
            raise _hidden_error(type_)
        if self.ledger:
            event.listen(parent, "after_parent_attach", _on_attach)

    def bind_processor(self, dialect: Dialect) -> BindProcessor | None:
        """Write a list that keeps most of its files by their JSON, where the driver takes text."""
        bind: BindProcessor | None = super().bind_processor(dialect)
        encode = self.load_dialect_impl(dialect).dialect_impl(dialect).bind_processor(dialect)
        if not self.multiple or bind is None or encode is None or encode([]) != "[]":
            return bind

        def bind_list(value: FileObject | FileObjectList | None) -> object:
            permit = _permits.get(id(value))
            if permit is None or not permit.texts or not isinstance(value, FileObjectList):
                return bind(value)
            self._check_permit(value)
            return f"[{', '.join(_texts_of(value, permit.texts, encode))}]"

        return bind_list

    def process_bind_param(self, value: Value, dialect: Dialect) -> Json:
        row = _json_of(value, multiple=self.multiple)
        if value is not None:
            self._check_permit(value)
        return row

    def _check_permit(self, value: FileObject | FileObjectList | Sequence[FileObject]) -> None:
        """Raise OwnedFileError or PendingContentError if no permit lets the running statement write the files."""
        found = _permits.get(id(value))
        files = (value,) if isinstance(value, FileObject) else value
        if found is not None and self._is_open(found):
            found.is_used = True
            if files is not value or found.files.issuperset(map(id, files)):
                return
            # a listener has put others there since
            files = [file for file in files if id(file) not in found.files]
        for file in files:
            # what is not, `_row_of` refuses
            if file.is_saved:
                raise _unpermitted_error(file, is_written=found is not None)

    def _is_open(self, found: WritePermit) -> bool:
        """Return whether a permit is unused, and its attribute is to be written."""
        state, key = found.state, found.key
        if found.is_used or state is None or state.key is None:
            return not found.is_used
        before = state.committed_state
        return key in before and not self.compare_values(found.value, before[key])

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any] | None:
        """Select text on PostgreSQL: psycopg would decode JSON while it fetches, and one bad row fail them all.

        What comes from several columns, as that of a union does, is read as any of them has it.
        """
        type_ = type_of_several((column,)) or self
        if isinstance(self.impl_instance, JSONB):
            return type_coerce(sql_cast(column, Text), type_)
        return column if type_ is self else type_coerce(column, type_)

    def result_processor(self, dialect: Dialect, coltype: object) -> RowReader:
        """Keep what the driver gives, text or decoded: it is read on first use; a list's is split into its files."""
        return list_reader(self.allowed_backends) if self.multiple else file_reader(self.allowed_backends)

    def coerce_compared_value(
        self, op: OperatorType | None, value: object
    ) -> TypeEngine[FileObject | FileObjectList]:
        """Bind files as this type, those to compare with without a permit, and what indexes the JSON as JSON's own."""
        if isinstance(value, FileObject | list | tuple):
            return _Compared(self) if op is not None and is_comparison(op) else self
        return self.impl_instance.coerce_compared_value(op, value)

    def compare_values(self, x: object, y: object) -> bool:
        """Compare what rows would hold: the same object with new metadata is different."""
        if x is None or y is None:
            return x is y
        if isinstance(y, LoaderCallableStatus):
            return x is y
        if isinstance(x, FileObjectList) and isinstance(y, FileObjectList):
            return _are_same_rows(x, y)
        if isinstance(x, FileObject) and isinstance(y, FileObject) and _have_other_keys(x, y):
            return False
        return _comparable(x, before=False) == _comparable(y, before=True)

    def __repr__(self) -> str:
        backend = "" if self.backend is None else f"backend={self.backend!r}"
        return f"StoredObject({', '.join(filter(None, (backend, 'multiple=True' if self.multiple else '')))})"


class _Compared(TypeDecorator["FileObject | FileObjectList"]):
    """What a file column is compared with: bound as the column's values are, but never written."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = JSON
    cache_ok: bool | None = True

    def __init__(self, type_: StoredObject) -> None:
        super().__init__(none_as_null=True)
        self.type_ = type_

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[object]:
        return self.type_.load_dialect_impl(dialect)

    def process_bind_param(self, value: Value, dialect: Dialect) -> Json:
        return _json_of(value, multiple=self.type_.multiple)


# What is read from several columns


class _OfSeveral(StoredObject):
    """What one expression or union reads from several file columns: any of them may have written it."""

    cache_ok: bool | None = True

    def __init__(self, types: Sequence[StoredObject]) -> None:
        super().__init__(multiple=all(type_.multiple for type_ in types))
        self.types: tuple[StoredObject, ...] = tuple(types)
        names = tuple(dict.fromkeys(name for type_ in types for name in type_.allowed_backends))
        self.allowed_backends = (
            names if len({type_.backend for type_ in types}) == 1 else BackendsOfSeveral(names)
        )

    def result_processor(self, dialect: Dialect, coltype: object) -> RowReader:
        if len({type_.multiple for type_ in self.types}) == 1:
            return super().result_processor(dialect, coltype)
        one = StoredObject.result_processor(self, dialect, coltype)
        many = StoredObject(multiple=True)
        many.allowed_backends = self.allowed_backends
        read_files = many.result_processor(dialect, coltype)
        return lambda value: read_files(value) if _is_list(value) else one(value)


def _is_list(value: object) -> bool:
    """Return whether a row's JSON, text or decoded, is that of a list of files."""
    match value:
        case str():
            return value.lstrip().startswith("[")
        case bytes():
            return value.lstrip().startswith(b"[")
        case _:
            return isinstance(value, list)


def type_of_several(expressions: Iterable[ColumnElement[object]]) -> StoredObject | None:
    """Return the type of what any column behind *expressions* may have written; None if they have the same one."""
    types = {
        (type_.allowed_backends, type_.multiple): (column, type_)
        for expression in expressions
        for column in _columns_behind(expression)
        if isinstance(type_ := column.type, StoredObject)
    }
    if len(types) <= 1:
        return None
    # the columns behind an expression are a set
    return _OfSeveral([type_ for _, type_ in sorted(types.values(), key=lambda each: str(each[0]))])


def is_in_table(column: Column[Any]) -> bool:
    """Return whether a column is that of a table: an alias and a query have such objects too."""
    return isinstance(cast("FromClause", column.table), Table)


def _columns_behind(expression: ColumnElement[object]) -> Iterator[Column[object]]:
    """Yield the columns whose value *expression* may have: not those that only decide which one it has."""
    if isinstance(expression, Column) and is_in_table(expression):
        yield expression
        return
    # a column of a subquery or CTE has those of each select of a union
    origins = [origin for origin in expression.base_columns if origin is not expression]
    for part in origins or _parts(expression):
        yield from _columns_behind(part)


def _parts(expression: ColumnElement[object]) -> Iterator[ColumnElement[object]]:
    match expression:
        case Case():
            yield from (result for _, result in expression.whens)
            if expression.else_ is not None:
                yield expression.else_
        case ScalarSelect():
            yield from expression.element.selected_columns
        case Over():
            yield expression.element
        case _:
            yield from _columns_in(expression)


def _columns_in(expression: ClauseElement) -> Iterator[ColumnElement[object]]:
    """Yield the operands of an expression, also those of lists of them, as functions have."""
    for child in expression.get_children():
        if isinstance(child, ClauseList):
            yield from _columns_in(child)
        elif isinstance(child, ColumnElement):
            yield child


# Permits to write


@dataclass(slots=True, eq=False)
class WritePermit:
    """Lets one statement write a value into a row, once."""

    value: FileObject | FileObjectList
    state: InstanceState[object] | None
    key: str
    texts: Mapping[int, object]
    """The JSON of files that the row has and keeps, by `id`."""
    files: frozenset[int]
    """What a list has when it may be written, by `id`."""
    is_used: bool = False


_NO_FILES: frozenset[int] = frozenset()

_permits: dict[int, WritePermit] = {}
"""By the identity of the value, which lives as long as its permit."""


def permit_write(
    value: FileObject | FileObjectList,
    state: InstanceState[object] | None = None,
    key: str = "",
    texts: Mapping[int, object] = MappingProxyType({}),
) -> WritePermit:
    """Let one statement write *value*; with *state*, only while its attribute *key* is to be written.

    What *texts* has of the files, by `id`, is written as it is, unless they were decoded.
    """
    files = frozenset(map(id, value)) if isinstance(value, FileObjectList) else _NO_FILES
    made = _permits[id(value)] = WritePermit(value, state, key, texts, files)
    return made


def end_permits(permits: Iterable[WritePermit]) -> None:
    """End permits, whether they were used or not."""
    for each in permits:
        if _permits.get(id(each.value)) is each:
            del _permits[id(each.value)]


# Errors and JSON


def wrong_type_error(value: object, *, multiple: bool) -> TypeError:
    """Return the error for a value that no attribute can hold: of a list with *multiple*."""
    given = type(value).__name__
    if multiple:
        return TypeError(
            f"the attribute holds a list of FileObject, not {given}: write [FileObject(name, content=...)]"
        )
    return TypeError(
        f"the attribute holds a FileObject or None, not {given}: write FileObject(name, content=...)"
    )


def _hidden_error(type_: TypeEngine[Any]) -> NotSupportedError:
    """Return the error for a column's type with a StoredObject inside: no flush and no sweep would see its files."""
    name = type(type_).__name__
    if type_._variant_mapping:  # pyright: ignore[reportPrivateUsage]
        return NotSupportedError(
            f"{name}(...).with_variant(...) is a StoredObject for some databases only; use a StoredObject for all: "
            "it has the right type for each"
        )
    return NotSupportedError(
        f"{name} has a StoredObject inside, whose files neither a flush nor a sweep would see; subclass StoredObject "
        "instead of wrapping it, and use multiple=True instead of ARRAY"
    )


def _unpermitted_error(file: FileObject, *, is_written: bool) -> OwnedFileError | PendingContentError:
    """Return the error for a saved file that something else than the ORM is about to write into a row."""
    if isinstance(file_state(file).content, Stored) or is_written:
        return OwnedFileError(
            f"a row owns {file.filename!r}, and only the ORM writes it back to that row; for another row, add a "
            "record with file.copy() through an ORM session, or write file.to_dict() to a plain JSON column"
        )
    return PendingContentError(
        f"{file.filename!r} is saved, but no session has attached it to this row; add the record through an ORM "
        "session, or write file.to_dict() to a plain JSON column"
    )


def _on_attach(column: Column[object], table: object) -> None:
    if isinstance(table, Table):
        add_ledger(table.metadata)


def _json_of(value: Value, *, multiple: bool) -> Json:
    """Return what a row has for a value; TypeError or PendingContentError for what cannot be in a row."""
    match value:
        case None:
            return None
        case FileObject() if not multiple:
            return _row_of(value)
        case FileObjectList() if multiple and list_state(value).is_null:
            return None
        case list() | tuple() if multiple:
            return [_row_of(file) for file in value]
        case _:
            raise wrong_type_error(value, multiple=multiple)


def _texts_of(
    files: FileObjectList, texts: Mapping[int, object], encode: Callable[[object], str]
) -> Iterator[str]:
    """Yield the JSON of each file: what the row has, of those that nobody has decoded since."""
    for file in files:
        text = texts.get(id(file))
        if isinstance(text, str) and undecoded(file) is text:
            yield text
        else:
            # a list is what the driver's type encodes
            yield encode([_row_of(file)])[1:-1]


def _row_of(file: FileObject) -> Json:
    """Return the JSON of a saved file; PendingContentError for others: a guard that needs no listener."""
    if not isinstance(file, FileObject):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a file column holds FileObject, not {type(file).__name__}")
    state = file_state(file)
    if not state.content.is_saved or isinstance(state.content, Granted):
        raise PendingContentError(
            f"the content of {file.filename!r} is not stored, so no row can reference it; save it first, or add the "
            "record through an ORM session. Only a flush stores what default= and onupdate= make: give a statement "
            "the file as a value, and use no onupdate= in a class with a relationship of post_update=True"
        )
    return row_from_facts(state.facts)


def _are_same_rows(new: FileObjectList, old: FileObjectList) -> bool:
    """Return whether the row of a list is that of another one before its changes."""
    held = list_state(old).committed
    if held is None or list_state(new).is_null or len(new) != len(held):
        return False
    for file, before in zip(new, held, strict=True):
        state = file_state(file)
        is_same = file is before and state.known is not None and state.is_untouched
        if not is_same and _comparable(file, before=False) != _comparable(before, before=True):
            return False
    return True


def _have_other_keys(one: FileObject, other: FileObject) -> bool:
    """Return whether files are certainly different, without a look at all that is known of them."""
    known, of_other = file_state(one).known, file_state(other).known
    return known is not None and of_other is not None and known.key != of_other.key


def _comparable(value: object, *, before: bool) -> object:
    try:
        return _row_form(value, before=before)
    except CorruptFileMetadataError:
        # what nobody can read is like nothing else, so that it can be replaced
        return object()


def _row_form(value: object, *, before: bool) -> object:
    match value:
        case FileObject() if not value.is_saved or isinstance(file_state(value).content, Granted):
            return object()
        case FileObject():
            return file_state(value).row_facts if before else file_state(value).facts
        case FileObjectList() if before:
            held = list_state(value).committed
            return object() if held is None else [_comparable(file, before=True) for file in held]
        case FileObjectList():
            return None if list_state(value).is_null else [_comparable(file, before=False) for file in value]
        case _:
            return value
