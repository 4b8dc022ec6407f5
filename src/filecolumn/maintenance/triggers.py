"""Triggers: the database itself notes what statements take away, and copy, that no session sees.

They are for raw SQL, for foreign keys with `ON DELETE CASCADE`, and on PostgreSQL for `TRUNCATE`.
What they note waits for the next drain, which looks for other rows with the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Column, Connection, Engine, MetaData, Table, event, inspect, text
from sqlalchemy.exc import DBAPIError

from filecolumn.backends.registry import storages
from filecolumn.errors import MissingLedgerError
from filecolumn.ledger.columns import TRIGGERS, translated
from filecolumn.ledger.table import LEDGER, META, ledger_of
from filecolumn.ledger.triggers import (
    Target,
    create_statements,
    ddl,
    drop_statements,
    fact_of,
    forget_statements,
    is_older,
    mark_arrived_statement,
    qualified,
    remember_statements,
    support_statements,
    trigger_names,
)
from filecolumn.maintenance.required import Models, known_metadatas, only_ledger, require_ledger
from filecolumn.orm.catalogue import as_text, file_columns, read_columns
from filecolumn.orm.column import StoredObject

__all__ = (
    "OnTrigger",
    "TriggerChange",
    "attach_triggers",
    "execute_ddl",
    "install_triggers",
    "missing_triggers",
    "remove_triggers",
    "target_of",
    "write_triggers",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerChange:
    """What was done with one trigger."""

    column: str
    """The file column of the trigger, as `table.column`, with the schema if that is not the ledger's."""
    name: str
    """The trigger's name."""
    done: Literal["created", "replaced", "unchanged", "removed"]
    """What was done; `unchanged` if the new trigger equals the old one."""


OnTrigger = Callable[[TriggerChange], None]
"""Told of each trigger."""


def install_triggers(engine: Engine, *models: Models, on_trigger: OnTrigger | None = None) -> list[str]:
    """Create or replace the triggers of all file columns, and return warnings.

    *models* are the declarative bases (or `MetaData`) of the models.  *on_trigger* is called for each trigger, after
    the commit.  A warning names a foreign key of MariaDB or MySQL whose cascade fires no trigger.

    Raises MissingLedgerError without the ledger's tables, and ValueError for models without a ledger.
    """
    metadatas = known_metadatas(models)
    ledger = only_ledger(metadatas)
    if ledger is None:
        raise ValueError("triggers write into the ledger, and these models have none")
    # a trigger that cannot write there refuses what statements do
    require_ledger(engine, ledger)
    with engine.begin() as connection:
        columns = _watchable(connection, metadatas)
        targets = [target_of(connection, column) for column in columns]
        before = [_definitions(connection, target) for target in targets]
        write_triggers(connection, targets)
        after = [_definitions(connection, target) for target in targets]
        warnings = list(_warnings(connection, columns))
    _tell(on_trigger, targets, before, after)
    return warnings


def remove_triggers(engine: Engine, *models: Models, on_trigger: OnTrigger | None = None) -> None:
    """Drop the triggers of all file columns; *on_trigger* is called for each that existed."""
    with engine.begin() as connection:
        targets = [
            target_of(connection, column) for column in _watchable(connection, known_metadatas(models))
        ]
        before = [_definitions(connection, target) for target in targets]
        for target in targets:
            execute_ddl(connection, drop_statements(target, connection.dialect))
            if inspect(connection).has_table(META, schema=target.ledger_schema):
                execute_ddl(connection, forget_statements(target, connection.dialect))
    _tell(on_trigger, targets, before, [{} for _ in targets])


def _tell(
    on_trigger: OnTrigger | None,
    targets: Sequence[Target],
    before: Sequence[Mapping[str, str]],
    after: Sequence[Mapping[str, str]],
) -> None:
    if on_trigger is None:
        return
    for target, old, new in zip(targets, before, after, strict=True):
        for name in sorted({*old, *new}):
            on_trigger(TriggerChange(column=str(target), name=name, done=_done(old.get(name), new.get(name))))


def _done(old: str | None, new: str | None) -> Literal["created", "replaced", "unchanged", "removed"]:
    if old is None:
        return "created"
    if new is None:
        return "removed"
    return "unchanged" if old == new else "replaced"


def attach_triggers(metadata: MetaData) -> None:
    """Let `metadata.create_all()` create the triggers together with the tables."""
    event.listen(metadata, "after_create", _after_create)


def missing_triggers(connection: Connection, metadatas: Iterable[MetaData]) -> list[str]:
    """Return the file columns, as "table.column", whose triggers were installed and are to be installed again.

    They are not all there now: Alembic's batch mode on SQLite drops a table's triggers with the table, for
    instance.  Or they are of an older release.
    """
    if _hides_triggers(connection):
        return []
    known: dict[str | None, dict[str, str]] = {}
    found: list[str] = []
    for column in _watchable(connection, metadatas):
        target = target_of(connection, column)
        expected = set(trigger_names(target, connection.dialect))
        present = expected & _installed(connection, target).keys()
        if target.ledger_schema not in known:
            known[target.ledger_schema] = _facts(connection, target.ledger_schema)
        # a release before this one left no fact, and fewer triggers
        fact = known[target.ledger_schema].get(fact_of(target))
        was_installed = present or fact is not None
        if was_installed and (present != expected or (fact is not None and is_older(fact))):
            found.append(str(target))
    return found


def write_triggers(connection: Connection, targets: Iterable[Target]) -> None:
    """Create the triggers of *targets*, anew where they are there, and remember that they are."""
    wanted = list(targets)
    for schema in dict.fromkeys(target.ledger_schema for target in wanted):
        execute_ddl(connection, support_statements(schema, connection.dialect))
    for target in wanted:
        execute_ddl(connection, create_statements(target, connection.dialect))
    has_table = inspect(connection).has_table
    for schema in dict.fromkeys(target.ledger_schema for target in wanted):
        if has_table(LEDGER, schema=schema):
            _settle(connection, schema)
        if has_table(META, schema=schema):
            for target in wanted:
                if target.ledger_schema == schema:
                    execute_ddl(connection, remember_statements(target, connection.dialect))


def target_of(connection: Connection, column: Column[object]) -> Target:
    """Return what the triggers of *column* are to do, by the settings of `storages` now.

    Schemas are those that the connection's `schema_translate_map` makes of the models'.
    """
    table = column.table
    assert isinstance(table, Table)  # noqa: S101 - a mapped column's table
    assert isinstance(column.type, StoredObject)  # noqa: S101 - see `file_columns`
    ledger = ledger_of(table.metadata)
    return Target(
        table=table.name,
        schema=translated(connection, table.schema),
        ledger_schema=translated(connection, table.schema if ledger is None else ledger.table.schema),
        column=column.name,
        backend=column.type.backend or storages.default,
        retention=storages.retention,
    )


def _after_create(metadata: MetaData, connection: object, **_: object) -> None:
    # a mock connection only prints what would be created
    if isinstance(connection, Connection):
        columns = _watchable(connection, [metadata])
        write_triggers(connection, [target_of(connection, column) for column in columns])


def _watchable(connection: Connection, metadatas: Iterable[MetaData]) -> list[Column[object]]:
    """Return the file columns of tables: a view has no triggers of this kind."""
    listed = list(metadatas)
    columns = zip(file_columns(connection, listed), read_columns(connection, listed), strict=True)
    return [column for column, in_database in columns if not in_database.is_view]


def _settle(connection: Connection, ledger_schema: str | None) -> None:
    try:
        execute_ddl(connection, [mark_arrived_statement(ledger_schema, connection.dialect)])
    except DBAPIError as error:
        if "fresh" not in str(error.orig):
            raise
        raise MissingLedgerError(
            f"the table {LEDGER!r} is of an older release: run 'filecolumn migrate', or "
            "op.upgrade_file_ledger() in an Alembic migration, before triggers are created"
        ) from error


def _facts(connection: Connection, ledger_schema: str | None) -> dict[str, str]:
    if not inspect(connection).has_table(META, schema=ledger_schema):
        return {}
    meta = qualified(connection.dialect.identifier_preparer, ledger_schema, META)
    query = text(f"SELECT name, value FROM {meta} WHERE name LIKE '{TRIGGERS}%'")  # noqa: S608
    return {as_text(name): as_text(value) for name, value in connection.execute(query)}


_IN_POSTGRESQL = """
SELECT t.tgname, pg_get_triggerdef(t.oid) || chr(10) || p.prosrc FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.relname = :table AND
"""
_IN_MYSQL = """
SELECT trigger_name, CONCAT(action_timing, ' ', event_manipulation, ' ', action_statement)
FROM information_schema.triggers
WHERE event_object_schema = coalesce(:schema, database()) AND event_object_table = :table
"""


def _definitions(connection: Connection, target: Target) -> dict[str, str]:
    """Return the triggers of a column that are there, by their names: what the database says that they do."""
    names = trigger_names(target, connection.dialect)
    return {name: text for name, text in _installed(connection, target).items() if name in names}


def _installed(connection: Connection, target: Target) -> dict[str, str]:
    """Return the triggers of a column's table that fire, by their names, with what they do."""
    names = {"table": target.table, "schema": target.schema}
    match connection.dialect.name:
        case "sqlite":
            master = qualified(connection.dialect.identifier_preparer, target.schema, "sqlite_master")
            query = (
                f"SELECT name, sql FROM {master} WHERE type = 'trigger' AND lower(tbl_name) = lower(:table)"  # noqa: S608
            )
            del names["schema"]
        case "postgresql":
            query = _IN_POSTGRESQL + (
                "n.nspname = :schema" if target.schema else "pg_table_is_visible(c.oid)"
            )
            if not target.schema:
                del names["schema"]
        case _:
            query = _IN_MYSQL
    return {as_text(name): as_text(what) for name, what in connection.execute(text(query), names)}


def _hides_triggers(connection: Connection) -> bool:
    """Return whether triggers may be there that this user is not shown."""
    if connection.dialect.name not in {"mysql", "mariadb"}:
        return False
    grants = [str(grant) for grant in connection.scalars(text("SHOW GRANTS FOR CURRENT_USER()"))]
    return not any("ALL PRIVILEGES" in grant or "TRIGGER" in grant for grant in grants)


def execute_ddl(connection: Connection, statements: Iterable[str]) -> None:
    """Execute statements as they are written: percent signs in them are not parameters."""
    for statement in statements:
        connection.execute(ddl(statement))


def _warnings(connection: Connection, columns: Iterable[Column[object]]) -> Iterator[str]:
    if connection.dialect.name not in {"mysql", "mariadb"}:
        return
    for table in dict.fromkeys(column.table for column in columns):
        assert isinstance(table, Table)  # noqa: S101 - see `target_of`
        for constraint in table.foreign_key_constraints:
            if (constraint.ondelete or "").upper() == "CASCADE":
                yield (
                    f"{table.name}: the foreign key to {constraint.referred_table.name} deletes rows without firing "
                    "triggers, as MariaDB and MySQL do; their files wait for a sweep. Let the ORM delete them "
                    "(without passive_deletes) to remove them at once"
                )
