"""Reads what rows hold now, so that nothing is decided on what a session only remembers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from sqlalchemy import ColumnElement, Connection, FromClause, Table, and_, false, or_, select
from sqlalchemy import column as bare_column
from sqlalchemy import table as bare_table
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.state import InstanceState

from filecolumn.backends.parts import batches
from filecolumn.orm.attributes import FileAttribute, file_attributes

__all__ = ("BATCH", "HeldRow", "held_rows", "is_one_of", "lock", "session_connection")

HeldRow = Mapping[str, object]
"""Values of a row's file attributes, by name."""

BATCH = 500


def held_rows(
    session: Session, states: Iterable[InstanceState[object]]
) -> dict[InstanceState[object], HeldRow]:
    """Return what the rows of persistent *states* hold, locked against others until the transaction ends.

    A row that is gone is missing from the result.
    """
    by_mapper: defaultdict[Mapper[object], list[InstanceState[object]]] = defaultdict(list)
    for state in states:
        if state.key is not None:
            by_mapper[state.mapper].append(state)
    held: dict[InstanceState[object], HeldRow] = {}
    for mapper, group in by_mapper.items():
        connection = session_connection(session, mapper)
        lock(connection, mapper.local_table)
        for batch in batches(group, BATCH):
            held.update(_select(connection, mapper, batch))
    return held


def session_connection(session: Session, mapper: Mapper[object]) -> Connection:
    """Return the connection that the session's flush of *mapper* uses."""
    return session.connection(bind_arguments={"mapper": mapper})


def lock(connection: Connection, table: FromClause) -> None:
    """Take SQLite's write lock, which FOR UPDATE would take elsewhere: any UPDATE does, also of no row."""
    if connection.dialect.name == "sqlite" and isinstance(table, Table):
        name = next(iter(table.primary_key)).name
        # a table without the columns' `onupdate`, which may be functions of the user
        bare = bare_table(table.name, bare_column(name), schema=table.schema)
        connection.execute(bare.update().where(false()).values({name: bare.c[name]}))


def _select(
    connection: Connection, mapper: Mapper[object], states: Sequence[InstanceState[object]]
) -> Iterator[tuple[InstanceState[object], HeldRow]]:
    by_identity = {state.key[1]: state for state in states if state.key is not None}
    is_other = False
    for identity, row in _rows(connection, mapper, list(by_identity)):
        if (state := by_identity.pop(identity, None)) is not None:
            yield state, row
        else:
            is_other = True
    if is_other:
        # the database's 1 may be what the session calls "1": only the database can tell
        for identity, state in by_identity.items():
            for _, row in _rows(connection, mapper, [identity]):
                yield state, row


def _rows(
    connection: Connection, mapper: Mapper[object], identities: Sequence[tuple[object, ...]]
) -> Iterator[tuple[tuple[object, ...], HeldRow]]:
    attributes = file_attributes(mapper)
    primary_key = mapper.primary_key
    statement = (
        select(*primary_key, *(attribute.column for attribute in attributes))
        .select_from(mapper.persist_selectable)
        .where(is_one_of(primary_key, identities))
        .with_for_update()
    )
    for row in connection.execute(statement):
        values = iter(row)
        identity = tuple(islice(values, len(primary_key)))
        yield identity, dict(zip(_names(attributes), values, strict=True))


def is_one_of(
    primary_key: Sequence[ColumnElement[object]], identities: Sequence[tuple[object, ...]]
) -> ColumnElement[bool]:
    """Return the condition that a key, of one or several columns, is one of *identities*."""
    if len(primary_key) == 1:
        return primary_key[0].in_([identity[0] for identity in identities])
    # not `(a, b) IN (...)`, for which SQLite reads the whole table
    return or_(
        false(),
        *(
            and_(*(column == value for column, value in zip(primary_key, identity, strict=True)))
            for identity in identities
        ),
    )


def _names(attributes: Sequence[FileAttribute]) -> Iterator[str]:
    return (attribute.key for attribute in attributes)
