"""`StoredObject`: the column type. It writes and reads rows and never touches a storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from sqlalchemy.orm.state import InstanceState
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.sql.elements import ClauseList
from sqlalchemy.sql.operators import OperatorType, is_comparison
from sqlalchemy.types import TypeDecorator, TypeEngine

from filecolumn.backends.base import StorageBackend
from filecolumn.content.policy import ContentPolicy
from filecolumn.errors import CorruptFileMetadataError, NotSupportedError, OwnedFileError, PendingContentError
from filecolumn.files.facts import Json, row_from_facts
from filecolumn.files.file import FileObject, file_from_row, file_reader, file_state, undecoded
from filecolumn.files.file_list import (
    FileObjectList,
    allow_list,
    list_from_row,
    list_reader,
    list_state,
    undecoded_list,
)
from filecolumn.files.state import NOT_LOADED, AllowedBackends, BackendsOfSeveral, Granted, Stored
from filecolumn.ledger.table import add_ledger
from filecolumn.naming import KeyTemplate

__all__ = (
    "Claim",
    "KeyFunction",
    "StoredObject",
    "claim",
    "is_in_table",
    "kind_of_several",
    "release",
    "wrong_type_error",
)

Value = FileObject | FileObjectList | Sequence[FileObject] | None
"""What an attribute holds, or a statement is to write."""

KeyFunction = Callable[..., str]
"""Makes a key from `(record, file)`; it is validated, and used once."""


class RowReader(Protocol):
    """Makes the value of a row's column."""

    def __call__(self, value: object) -> FileObject | FileObjectList | None: ...


class StoredObject(TypeDecorator["FileObject | FileObjectList"]):
    """A column that holds a `FileObject`, or with *multiple* a `FileObjectList`.

    *backend* is the key of the storage for new content (default: `storages.default`), *reads*
    are keys that existing rows may still name.  *key_template* is a template such as
    `"{tenant}/{table}/{uuid}{ext}"` (see `KeyTemplate`) or a callable `(record, file) -> key`;
    InvalidKeyError if the template cannot make unique keys.  The column brings the ledger's table
    into its `MetaData`, unless *ledger* is false in all of them; then less is promised.

    *max_size* is in bytes, *accept* a set of media types, wildcards such as `image/*` and
    extensions such as `.pdf`; ValueError for an entry that is none of these.  What they refuse
    raises ContentRejectedError in the flush, by every way into the column.

    In the database it is JSON (JSONB on PostgreSQL), and SQL NULL for None.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = JSON
    cache_ok: bool | None = True
    hashable: bool = False

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
            raise TypeError(f"reads is a sequence of names: write reads=({reads!r},)")
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
        self._allowed: AllowedBackends = (self.backend, *self.reads)

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
        kind: TypeEngine[Any] = getattr(parent, "type", self)
        if kind is not self or self._variant_mapping:
            raise _hidden_error(kind)
        if self.ledger:
            event.listen(parent, "after_parent_attach", _on_attach)

    def process_bind_param(self, value: Value, dialect: Dialect) -> Json:
        row = self._row_from(value)
        if value is not None:
            self._check_claim(value)
        return row

    def _row_from(self, value: Value) -> Json:
        match value:
            case None:
                return None
            case FileObject() if not self.multiple:
                return _row_of(value)
            case FileObjectList() if self.multiple and list_state(value).is_null:
                return None
            case list() | tuple() if self.multiple:
                return [_row_of(file) for file in value]
            case _:
                raise wrong_type_error(value, multiple=self.multiple)

    def _check_claim(self, value: FileObject | FileObjectList | Sequence[FileObject]) -> None:
        """Raise if nobody has claimed the files for the statement that is about to write them."""
        found = _claims.get(id(value))
        if found is not None and self._is_open(found):
            found.is_used = True
            return
        files = (value,) if isinstance(value, FileObject) else value
        for file in files:
            # what is not, `_row_of` refuses
            if file.is_saved:
                raise _unclaimed_error(file, is_written=found is not None)

    def _is_open(self, found: Claim) -> bool:
        """Return whether a claim is for a statement that will write its value, and has not yet."""
        state, key = found.state, found.key
        if found.is_used or state is None or state.key is None:
            return not found.is_used
        before = state.committed_state
        return key in before and not self.compare_values(found.value, before[key])

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any] | None:
        """Select text on PostgreSQL: psycopg would decode JSON while it fetches, and one bad row fail them all.

        What comes from several columns, as that of a union does, is read as any of them has it.
        """
        kind = kind_of_several((column,)) or self
        if isinstance(self.impl_instance, JSONB):
            return type_coerce(sql_cast(column, Text), kind)
        return column if kind is self else type_coerce(column, kind)

    def adopted(self, value: FileObject | FileObjectList) -> FileObject | FileObjectList:
        """Return what was just loaded by another column as what a row of this one holds."""
        if isinstance(value, FileObjectList):
            if not self.multiple:
                return self._loaded(undecoded_list(value))
            allow_list(value, self._allowed)
            return value
        if self.multiple:
            return self._loaded(undecoded(value))
        file_state(value).allowed = self._allowed
        return value

    def _loaded(self, row: object) -> FileObject | FileObjectList:
        """Return the value of a row whose column is not NULL."""
        if self.multiple:
            return list_from_row(row, self._allowed, NOT_LOADED)
        return file_from_row(row, self._allowed, NOT_LOADED)

    def result_processor(self, dialect: Dialect, coltype: object) -> RowReader:
        """Keep what the driver gives, text or decoded: it is read on first use; a list's is split into its files."""
        return list_reader(self._allowed) if self.multiple else file_reader(self._allowed)

    def coerce_compared_value(
        self, op: OperatorType | None, value: object
    ) -> TypeEngine[FileObject | FileObjectList]:
        """Bind files as this type, those to compare with unclaimed, and what indexes the JSON as JSON's own."""
        if isinstance(value, FileObject | list | tuple):
            return _Compared(self) if op is not None and is_comparison(op) else self
        return self.impl_instance.coerce_compared_value(op, value)

    def compare_values(self, x: object, y: object) -> bool:
        """Compare what rows would hold: the same object with new metadata is different."""
        if x is None or y is None:
            return x is y
        return _comparable(x, before=False) == _comparable(y, before=True)

    def __repr__(self) -> str:
        backend = "" if self.backend is None else f"backend={self.backend!r}"
        return f"StoredObject({', '.join(filter(None, (backend, 'multiple=True' if self.multiple else '')))})"


class _Compared(TypeDecorator["FileObject | FileObjectList"]):
    """What a column of files is compared with: it is bound as the column's values are, and written nowhere."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = JSON
    cache_ok: bool | None = True

    def __init__(self, kind: StoredObject) -> None:
        super().__init__(none_as_null=True)
        self.kind = kind

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[object]:
        return self.kind.load_dialect_impl(dialect)

    def process_bind_param(self, value: Value, dialect: Dialect) -> Json:
        return self.kind._row_from(value)


# What is read from several columns


class _OfSeveral(StoredObject):
    """What is read from several columns of files, by one expression or union: any of them may have written it."""

    cache_ok: bool | None = True

    def __init__(self, kinds: Sequence[StoredObject]) -> None:
        super().__init__(multiple=all(kind.multiple for kind in kinds))
        self.kinds: tuple[StoredObject, ...] = tuple(kinds)
        names = tuple(dict.fromkeys(name for kind in kinds for name in kind._allowed))
        self._allowed = names if len({kind.backend for kind in kinds}) == 1 else BackendsOfSeveral(names)

    def result_processor(self, dialect: Dialect, coltype: object) -> RowReader:
        if len({kind.multiple for kind in self.kinds}) == 1:
            return super().result_processor(dialect, coltype)
        one = StoredObject.result_processor(self, dialect, coltype)
        many = StoredObject(multiple=True)
        many._allowed = self._allowed
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


def kind_of_several(expressions: Iterable[ColumnElement[object]]) -> StoredObject | None:
    """Return the type of what any column behind *expressions* may have written; None if they are all of one kind."""
    kinds = {
        (kind._allowed, kind.multiple): (column, kind)
        for expression in expressions
        for column in _columns_behind(expression)
        if isinstance(kind := column.type, StoredObject)
    }
    if len(kinds) <= 1:
        return None
    # the columns behind an expression are a set
    return _OfSeveral([kind for _, kind in sorted(kinds.values(), key=lambda each: str(each[0]))])


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


# The right to write


@dataclass(slots=True, eq=False)
class Claim:
    """The right to write a value into a row, once."""

    value: FileObject | FileObjectList
    state: InstanceState[object] | None
    key: str
    is_used: bool = False


_claims: dict[int, Claim] = {}
"""By the identity of the value, which lives as long as its claim."""


def claim(
    value: FileObject | FileObjectList, state: InstanceState[object] | None = None, key: str = ""
) -> Claim:
    """Let one statement write *value*; with *state*, only while its attribute *key* is to be written."""
    made = _claims[id(value)] = Claim(value, state, key)
    return made


def release(claims: Iterable[Claim]) -> None:
    """End claims, whether they were used or not."""
    for each in claims:
        if _claims.get(id(each.value)) is each:
            del _claims[id(each.value)]


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


def _hidden_error(kind: TypeEngine[Any]) -> NotSupportedError:
    """Return the error for a column's type with a StoredObject inside: no flush and no sweep would see its files."""
    name = type(kind).__name__
    if kind._variant_mapping:
        what = f"{name}(...).with_variant(...) is a StoredObject for some databases only"
        advice = "a StoredObject has the right type for each by itself"
    else:
        what = f"there is a StoredObject inside {name}"
        advice = "subclass StoredObject instead of wrapping it, and use multiple=True instead of ARRAY"
    return NotSupportedError(f"{what}, where its files would not be seen: {advice}")


def _unclaimed_error(file: FileObject, *, is_written: bool) -> OwnedFileError | PendingContentError:
    """Return the error for a saved file that something else than the ORM is about to write into a row."""
    if isinstance(file_state(file).content, Stored) or is_written:
        return OwnedFileError(
            f"a row owns {file.filename!r}, and its own file is written back through the ORM only: for another row "
            "copy it with file.copy() and add the record through an ORM session, or write file.to_dict() into a "
            "plain JSON column"
        )
    return PendingContentError(
        f"{file.filename!r} is saved, and no session has attached it to this row: add the record through an ORM "
        "session, or write file.to_dict() into a plain JSON column"
    )


def _on_attach(column: Column[object], table: object) -> None:
    if isinstance(table, Table):
        add_ledger(table.metadata)


def _row_of(file: FileObject) -> Json:
    """Return the JSON of a saved file: the guard on every path into a row, whatever listens or not."""
    if not isinstance(file, FileObject):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a column of files holds FileObject, not {type(file).__name__}")
    state = file_state(file)
    if not state.content.is_saved or isinstance(state.content, Granted):
        raise PendingContentError(
            f"the content of {file.filename!r} is not stored, so no row can point to it; "
            "save it first, or add the record through an ORM session. If default= and onupdate= made it: a statement "
            "needs the file in its values, as only a flush stores what they make, and a class with a relationship of "
            "post_update=True needs the column without onupdate="
        )
    return row_from_facts(state.facts)


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
