"""Which file columns of a database have ever taken a key: what has to be read before anything is deleted.

Each is a row of the meta table, and an entry of the ledger names it by a short id.  A column that was
renamed keeps its id; one that no model names any more is still read, by its recorded name.  Names leave out
what `schema_translate_map` changes: the functions for that stand here too.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from weakref import WeakKeyDictionary

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Table,
    cast,
    exists,
    func,
    select,
)

from filecolumn.ledger.table import MAX_COLUMN_ID, Ledger, add_meta, read_meta, set_meta, time_of

__all__ = (
    "FLOOR",
    "PREFIX",
    "TRIGGERS",
    "ColumnName",
    "RecordedColumn",
    "column_ids",
    "forget_column",
    "has_triggers",
    "licence_floor",
    "lift_floor",
    "name_of",
    "new_id",
    "note_columns",
    "recorded_columns",
    "rename_column",
    "translated",
    "translating",
    "translation_of",
)

PREFIX = "column:"
FLOOR = "floor"
TRIGGERS = "triggers:"
"""How the facts about installed triggers begin."""


@dataclass(frozen=True, slots=True, order=True)
class ColumnName:
    """A column of a table in the database."""

    schema: str
    """Empty if it is the ledger's own, whichever that is for the connection."""
    table: str
    column: str

    def __str__(self) -> str:
        return ".".join(filter(None, (self.schema, self.table, self.column)))


@dataclass(frozen=True, slots=True)
class RecordedColumn:
    """A file column that has taken keys."""

    id: str
    """As entries of the ledger name it."""
    name: ColumnName
    since: int
    """When it was recorded, in milliseconds since the epoch, by the database's clock."""


_ids: WeakKeyDictionary[Engine, dict[tuple[Ledger, Column[object]], str]] = WeakKeyDictionary()


def column_ids(engine: Engine) -> dict[tuple[Ledger, Column[object]], str]:
    """Return the ids that this process knows to be recorded in the database of *engine*; add to them."""
    return _ids.setdefault(engine, {})


def name_of(connection: Connection, ledger: Ledger, table: Table, column: str) -> ColumnName:
    """Return the name of a column as this connection resolves its schema."""
    schema = translated(connection, table.schema)
    of_ledger = translated(connection, ledger.table.schema)
    return ColumnName("" if schema == of_ledger else schema or "", table.name, column)


def translated(connection: Connection, schema: str | None) -> str | None:
    """Return the schema that the connection's translation has for *schema*."""
    found: str | None = translation_of(connection).get(schema, schema)
    return found


def translation_of(bind: Connection | Engine) -> Mapping[str | None, str | None]:
    """Return the `schema_translate_map` of a connection or an engine."""
    options: Mapping[str, Mapping[str | None, str | None] | None] = bind.get_execution_options()
    return options.get("schema_translate_map") or {}


@contextmanager
def translating(connection: Connection, translation: Mapping[str | None, str | None]) -> Generator[None]:
    """Translate the schemas of a connection's statements by *translation* for a while."""
    before = translation_of(connection)
    if before == translation:
        yield
        return
    connection.execution_options(schema_translate_map=dict(translation) or None)
    try:
        yield
    finally:
        connection.execution_options(schema_translate_map=dict(before) or None)


def recorded_columns(connection: Connection, ledger: Ledger) -> list[RecordedColumn]:
    """Return the file columns that have ever taken a key in the database."""
    return [_recorded(name, value) for name, value in sorted(read_meta(connection, ledger, PREFIX).items())]


def note_columns(
    connection: Connection, ledger: Ledger, columns: Iterable[ColumnName]
) -> dict[ColumnName, str]:
    """Record the columns that are not, in the connection's transaction, and return the ids of all.

    A new column lifts the floor: what was there before it may have been copied into it.
    """
    known = {each.name: each.id for each in recorded_columns(connection, ledger)}
    wanted = list(dict.fromkeys(columns))
    new = [name for name in wanted if name not in known]
    if new:
        now = time_of(connection)
        taken = set(known.values())
        ids = {name: new_id(name, taken) for name in new}
        facts = {PREFIX + ids[name]: json.dumps({**asdict(name), "since": now}) for name in new}
        add_meta(connection, ledger, facts)
        set_meta(connection, ledger, FLOOR, str(now))
        known |= ids
    return {name: known[name] for name in wanted}


def rename_column(connection: Connection, ledger: Ledger, old: RecordedColumn, new: ColumnName) -> None:
    """Give a recorded column another name; its entries in the ledger stay its own."""
    value = json.dumps({**asdict(new), "since": old.since})
    set_meta(connection, ledger, PREFIX + old.id, value)


def forget_column(connection: Connection, ledger: Ledger, column: RecordedColumn) -> None:
    """Remove a column from the recorded ones."""
    connection.execute(ledger.meta.delete().where(ledger.meta.c.name == PREFIX + column.id))


def licence_floor(ledger: Ledger) -> ColumnElement[int]:
    """Return, as SQL, since when a key must be there to be known as referenced once.

    That is the time of the newest column, or 0 after a complete pass: it has marked what is referenced twice.
    """
    columns = ledger.meta.c
    floor = select(cast(columns.value, BigInteger)).where(columns.name == FLOOR).scalar_subquery()
    return func.coalesce(floor, 0)


def has_triggers(ledger: Ledger) -> ColumnElement[bool]:
    """Return, as SQL, whether triggers of filecolumn watch some file column of the database."""
    return exists().where(ledger.meta.c.name.startswith(TRIGGERS, autoescape=True))


def lift_floor(connection: Connection, ledger: Ledger, started: int) -> None:
    """Take note of a complete pass that began at *started*, in milliseconds by the database's clock."""
    newest = max((each.since for each in recorded_columns(connection, ledger)), default=0)
    if newest < started:
        set_meta(connection, ledger, FLOOR, "0")


def _recorded(name: str, value: str) -> RecordedColumn:
    facts = json.loads(value)
    column = ColumnName(str(facts["schema"]), str(facts["table"]), str(facts["column"]))
    return RecordedColumn(name.removeprefix(PREFIX), column, int(facts["since"]))


def new_id(name: ColumnName, taken: set[str]) -> str:
    """Return the same id in every process, unless a column that was renamed has it."""
    number = 0
    while True:
        text = "\n".join((name.schema, name.table, name.column, str(number)))
        found = sha256(text.encode()).hexdigest()[:MAX_COLUMN_ID]
        if found not in taken:
            return found
        number += 1
