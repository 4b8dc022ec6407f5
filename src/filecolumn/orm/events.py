"""Every listener: nothing to install, and nothing runs for models without files.

Importing this module listens to mappers, `MetaData.create_all` and the compilation of unions.  The
first mapped table with a `StoredObject` column adds the listeners of sessions, and each mapper those
of its attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast
from weakref import WeakSet

from sqlalchemy import CompoundSelect, Connection, MetaData, Null, Table, event
from sqlalchemy.orm import (
    InstrumentedAttribute,
    Mapper,
    QueryContext,
    Session,
    SessionTransaction,
    UOWTransaction,
    class_mapper,
)
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.interfaces import EXT_CONTINUE
from sqlalchemy.orm.state import InstanceState
from sqlalchemy.sql.compiler import SQLCompiler

from filecolumn._failpoints import failpoint
from filecolumn.files.file import FileObject, freed
from filecolumn.files.file_list import FileObjectList
from filecolumn.orm.attributes import (
    FileAttribute,
    file_attribute,
    file_attributes,
    is_untouched,
    mappers_of,
    note_table,
    row_attributes,
    tables_of,
    track,
    track_values,
    tracked,
)
from filecolumn.orm.column import StoredObject, permit_write, wrong_type_error
from filecolumn.orm.creation import record_created
from filecolumn.orm.flush import NOTHING, Flush, SessionFiles, files_of, find_files
from filecolumn.orm.statements.clauses import Compilation, compile_union, compiles_around
from filecolumn.orm.statements.units import on_execute

__all__ = ()

State = InstanceState[object]

_heard: WeakSet[Mapper[object]] = WeakSet()
"""The mappers whose events are listened to, and those of their subclasses."""
_heard_deletes: WeakSet[Mapper[object]] = WeakSet()
"""The mappers without file attributes of which only deletions are listened to."""

_PICKLED = "filecolumn.values"


# At import


@event.listens_for(Mapper, "after_mapper_constructed")
def _on_mapper_constructed(mapper: Mapper[object], class_: type[object]) -> None:
    if note_table(mapper):
        _listen_to_statements()


@event.listens_for(Mapper, "mapper_configured")
def _on_mapper_configured(mapper: Mapper[object], class_: type[object]) -> None:
    attributes = file_attributes(mapper)
    if attributes:
        _listen_to_files(mapper, attributes)
    _listen_to_deletes(mapper)


@event.listens_for(object, "attribute_instrument", propagate=True)
def _on_attribute_instrument(class_: type[object], key: str, instrumented: object) -> None:
    """Listen to a column that joins a mapper which is configured: no event of mappers tells of it."""
    mapper = class_mapper(class_, configure=False)
    if not mapper.configured or (mapper.inherits is not None and mapper.inherits.has_property(key)):
        return
    attribute = file_attribute(mapper.get_property(key))
    if attribute is not None:
        _listen_to_attribute(class_, attribute)
        if not any(above in _heard for above in mapper.iterate_to_root()):
            _listen_to_class(mapper)
        _on_mapper_constructed(mapper, class_)
        _listen_to_deletes(mapper)


@event.listens_for(MetaData, "after_create")
def _after_create(
    metadata: MetaData, connection: object, *, tables: Sequence[Table] = (), **_: object
) -> None:
    # a mock connection only prints what would be created
    if isinstance(connection, Connection):
        record_created(connection, metadata, tables)


@compiles_around(CompoundSelect)
def _compile_union(
    union: CompoundSelect[Any], compiler: SQLCompiler, options: dict[str, object], compiled: Compilation
) -> str:
    return compile_union(union, compiler, options, compiled)


# For mappers with files


def _listen_to_files(mapper: Mapper[object], attributes: Sequence[FileAttribute]) -> None:
    inherited = file_attributes(mapper.inherits) if mapper.inherits is not None else ()
    known = {attribute.key: attribute.type.multiple for attribute in inherited}
    for attribute in attributes:
        if known.get(attribute.key) is not attribute.type.multiple:
            _listen_to_attribute(mapper.class_, attribute)
    if not inherited:
        _listen_to_class(mapper)


def _listen_to_deletes(mapper: Mapper[object]) -> None:
    """Listen to the mappers of a table that map none of its files: who deletes their rows deletes the files."""
    for each in (other for table in tables_of(mapper) for other in mappers_of(table)):
        is_heard = any(above in _heard for above in each.iterate_to_root())
        # one that is not configured yet comes here itself
        if (each is mapper or each.configured) and each not in _heard_deletes and not is_heard:
            _heard_deletes.add(each)
            _listen_to_sessions()
            event.listen(each, "before_delete", _before_delete, raw=True)


def _listen_to_statements() -> None:
    if not event.contains(Session, "do_orm_execute", on_execute):
        event.listen(Session, "do_orm_execute", on_execute)


def _listen_to_sessions() -> None:
    if event.contains(Session, "before_flush", _before_flush):
        return
    event.listen(Session, "before_flush", _before_flush)
    event.listen(Session, "after_flush", _after_flush)
    event.listen(Session, "after_commit", _after_commit)
    event.listen(Session, "after_transaction_end", _after_transaction_end)


def _listen_to_attribute(class_: type[object], attribute: FileAttribute) -> None:
    _listen_to_sessions()
    key, type_ = attribute.key, attribute.type

    def type_in(state: State) -> StoredObject:
        """Return the type in the class of an instance: concrete ones have columns of their own."""
        own = () if state.class_ is class_ else file_attributes(state.mapper)
        return next((each.type for each in own if each.key == key), type_)

    def on_set(state: State, value: object, old: object, initiator: object) -> object:
        type_ = type_in(state)
        if value is None or isinstance(value, Null):
            return tracked(None, state, key, state.dict.get(key)) if type_.multiple else None
        if not type_.multiple:
            if isinstance(value, FileObject):
                return freed(value)
        elif isinstance(value, list | tuple):
            return tracked(cast("Sequence[FileObject]", value), state, key, state.dict.get(key))
        raise wrong_type_error(value, multiple=type_.multiple)

    def on_first_get(state: State, value: object, held: dict[str, object]) -> object:
        if not type_in(state).multiple:
            return value
        files = held[key] = tracked((), state, key, None)
        return files

    instrumented: InstrumentedAttribute[object] = getattr(class_, key)
    event.listen(instrumented, "set", on_set, retval=True, raw=True, propagate=True)
    if type_.multiple:
        event.listen(instrumented, "init_scalar", on_first_get, retval=True, raw=True, propagate=True)


def _listen_to_class(mapper: Mapper[object]) -> None:
    _heard.add(mapper)
    event.listen(mapper, "load", _on_load, raw=True, propagate=True)
    event.listen(mapper, "refresh", _on_refresh, raw=True, propagate=True)
    event.listen(mapper, "refresh_flush", _on_refresh, raw=True, propagate=True)
    event.listen(mapper, "pickle", _on_pickle, raw=True, propagate=True)
    event.listen(mapper, "unpickle", _on_unpickle, raw=True, propagate=True)
    # with a value, which nobody looks at, SQLAlchemy calls them without a function in between
    event.listen(mapper, "before_insert", _before_write, raw=True, retval=True, propagate=True)
    event.listen(mapper, "before_update", _before_write, raw=True, retval=True, propagate=True)
    event.listen(mapper, "before_delete", _before_delete, raw=True, propagate=True)


def _on_load(state: State, context: QueryContext) -> None:
    # not `state.mapper`, which each state would remember
    track_values(state, file_attributes(state.manager.mapper))


def _on_refresh(state: State, context: object, attributes: Iterable[str] | None) -> None:
    """Track the values that were loaded: not those that wait to be written."""
    known = file_attributes(state.mapper)
    if attributes is not None:
        loaded = set(attributes)
        known = [attribute for attribute in known if attribute.key in loaded]
    track_values(state, known)


def _on_pickle(state: State, pickled: dict[str, object]) -> None:
    """Add the values to the pickle: the instance is still empty when `_on_unpickle` is called."""
    held = state.dict
    keys = (attribute.key for attribute in file_attributes(state.mapper))
    pickled[_PICKLED] = {key: held[key] for key in keys if held.get(key) is not None}


def _on_unpickle(state: State, pickled: dict[str, dict[str, FileObject | FileObjectList]]) -> None:
    for key, value in pickled.get(_PICKLED, {}).items():
        track(state, key, value)


def _before_flush(session: Session, context: UOWTransaction, instances: Sequence[object] | None) -> None:
    if (files := find_files(session)) is not None:
        if files.flush is not None:
            files.flush.abandon()
        files.flush = None
        files.revoke_permits()
    written = _with_files((*session.new, *session.dirty), file_attributes)
    gone = session.deleted
    deleted = _with_files(gone, row_attributes) if gone else []
    if instances is not None:
        chosen = {id(instance) for instance in instances}
        written, deleted = (
            [each for each in found if id(each[0].obj()) in chosen] for found in (written, deleted)
        )
    if written or deleted:
        files_of(session).begin_flush(session).settle(written, deleted)


def _with_files(
    instances: Iterable[object], attributes_of: Callable[[Mapper[object]], Sequence[FileAttribute]]
) -> list[tuple[State, Sequence[FileAttribute]]]:
    """Return the states of those whose class has attributes of files, with these; a class is looked up once."""
    found: list[tuple[State, Sequence[FileAttribute]]] = []
    known: dict[type[object], Sequence[FileAttribute]] = {}
    for instance in instances:
        class_ = type(instance)
        attributes = known.get(class_)
        if attributes is None:
            attributes = known[class_] = attributes_of(instance_state(instance).mapper)
        if attributes:
            found.append((instance_state(instance), attributes))
    return found


def _before_write(mapper: Mapper[object], connection: Connection, state: State) -> object:
    """Settle what a later before_flush listener did, or what the flush itself brought about."""
    attributes = file_attributes(mapper)
    if is_untouched(state, attributes):
        if state.key is None:
            _clear_replaced(state)
    elif (session := state.session) is not None:
        files = files_of(session)
        flush = files.flush or files.begin_flush(session)
        flush.clear_replaced(state)
        flush.settle(((state, attributes),), ())
        _permit_files(files, flush, state, attributes)
    return EXT_CONTINUE


def _clear_replaced(state: State) -> None:
    """Set the files that a new instance does not name to none, if it takes the place of a deleted one."""
    files = None if (session := state.session) is None else find_files(session)
    # a deletion has begun the flush
    if files is not None and files.flush is not None:
        files.flush.clear_replaced(state)


def _permit_files(
    files: SessionFiles, flush: Flush, state: State, attributes: Sequence[FileAttribute]
) -> None:
    """Permit the flush to write the files of the row, once; no other statement may."""
    held = state.dict
    for attribute in attributes:
        if (value := held.get(attribute.key)) is not None:
            texts = flush.kept_texts(state, attribute.key) if attribute.type.multiple else NOTHING
            files.permits.append(permit_write(value, state, attribute.key, texts))


def _before_delete(mapper: Mapper[object], connection: Connection, state: State) -> None:
    """Settle what is deleted by the flush itself: orphans, and what their deletion cascades to."""
    if (session := state.session) is not None:
        files = files_of(session)
        flush = files.flush or files.begin_flush(session)
        flush.delete(state)


def _after_flush(session: Session, context: UOWTransaction) -> None:
    files = find_files(session)
    if files is not None and (flush := files.flush) is not None:
        files.flush = None
        flush.finish()
        failpoint("flush.after_row")


def _after_commit(session: Session) -> None:
    """Note that the database committed, or released a savepoint."""
    if (files := find_files(session)) is None:
        return
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is not None and (frame := files.frames.find(transaction)) is not None:
        frame.committed = True
        if not transaction.nested:
            failpoint("commit.after")


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if (files := find_files(session)) is None:
        return
    # each flush is in a transaction of its own, which ends with it however it went
    if not transaction.nested:
        files.revoke_permits()
    if transaction.parent is None or transaction.nested:
        files.flush = None
        files.frames.end(transaction)
