"""Triggers: the database itself notes what statements take away that no session sees.

They are for raw SQL, for foreign keys with `ON DELETE CASCADE`, and on PostgreSQL for `TRUNCATE`.
What they note waits for the next drain, which looks for other rows with the same key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Column, Connection, Engine, MetaData, Table, event

from filecolumn.maintenance.models import Models, known_metadatas, only_ledger
from filecolumn.maintenance.trigger_sql import (
    Target,
    create_statements,
    ddl,
    drop_statements,
    support_statements,
)
from filecolumn.orm.references import file_columns
from filecolumn.orm.type import StoredObject
from filecolumn.registry import storages

__all__ = ("attach_triggers", "install_triggers", "remove_triggers", "target_of", "write_triggers")


def install_triggers(engine: Engine, *models: Models) -> list[str]:
    """Create the triggers of all file columns, anew where they are there, and return warnings.

    *models* are the declarative bases (or `MetaData`) of the models.  A warning names a foreign key
    of MariaDB or MySQL whose cascade fires no trigger.
    """
    metadatas = known_metadatas(models)
    if only_ledger(metadatas) is None:
        raise ValueError("triggers write into the ledger, and these models have none")
    with engine.begin() as connection:
        columns = file_columns(connection, metadatas)
        write_triggers(connection, map(target_of, columns))
        return list(_warnings(connection, columns))


def remove_triggers(engine: Engine, *models: Models) -> None:
    """Drop the triggers of all file columns, where they are."""
    with engine.begin() as connection:
        for column in file_columns(connection, known_metadatas(models)):
            _execute(connection, drop_statements(target_of(column), connection.dialect))


def attach_triggers(metadata: MetaData) -> None:
    """Let `create_all` of *metadata* create the triggers with the tables."""
    event.listen(metadata, "after_create", _after_create)


def write_triggers(connection: Connection, targets: Iterable[Target]) -> None:
    """Create the triggers of *targets*, anew where they are there."""
    schemas: set[str | None] = set()
    for target in targets:
        if target.schema not in schemas:
            schemas.add(target.schema)
            _execute(connection, support_statements(target.schema, connection.dialect))
        _execute(connection, create_statements(target, connection.dialect))


def target_of(column: Column[object]) -> Target:
    """Return what the triggers of *column* are to do, by the settings of `storages` now."""
    table = column.table
    assert isinstance(table, Table)  # noqa: S101 - a mapped column's table
    assert isinstance(column.type, StoredObject)  # noqa: S101 - see `file_columns`
    return Target(
        table=table.name,
        schema=table.schema,
        column=column.name,
        backend=column.type.backend or storages.default,
        retention=storages.retention,
    )


def _after_create(metadata: MetaData, connection: Connection, **_: object) -> None:
    write_triggers(connection, map(target_of, file_columns(connection, [metadata])))


def _execute(connection: Connection, statements: Iterable[str]) -> None:
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
