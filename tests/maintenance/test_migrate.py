"""A ledger of the first release gets what this one writes, by a function and by Alembic."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import inspect
from sqlalchemy.orm import Session

import filecolumn.alembic.operations  # noqa: F401 - adds the operations
from filecolumn import MaintenanceRefusedError
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import LEDGER, META
from filecolumn.maintenance import install_triggers, remove_triggers
from filecolumn.maintenance.migrate import ADDED_COLUMNS, migrate
from tests.maintenance.models import Base, Document
from tests.maintenance.world import World, keys


def take_back(world: World) -> None:
    """Leave what the first release has."""
    for name in ADDED_COLUMNS:
        world.sql(f"ALTER TABLE {LEDGER} DROP COLUMN {name}")


def columns(world: World) -> set[str]:
    return {column["name"] for column in inspect(world.engine).get_columns(LEDGER)}


ADDED = [f"added the column {name} to the table {LEDGER}" for name in ADDED_COLUMNS]
RECORDED = [
    f"recorded the file column {name}" for name in ("documents.file", "documents.pages", "items.file")
]


def test_an_old_ledger_gets_its_columns_once(database: World, storage: StorageBackend) -> None:
    [key] = database.add(b"one")
    take_back(database)
    assert migrate(database.engine, Base) == ADDED
    assert migrate(database.engine, Base) == []
    assert set(ADDED_COLUMNS) <= columns(database)
    install_triggers(database.engine, Base)
    assert database.entry(key).checked
    with Session(database.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert keys() <= {key}


def test_what_an_older_release_did_not_record_is_recorded(database: World) -> None:
    database.sql(f"DELETE FROM {META} WHERE name LIKE 'column:%'")
    assert migrate(database.engine, Base) == RECORDED
    assert migrate(database.engine, Base) == []


def test_tables_that_are_not_there_are_created(database: World) -> None:
    for name in (LEDGER, META):
        database.sql(f"DROP TABLE {name}")
    created = [f"created the table {name}" for name in (LEDGER, META)]
    assert migrate(database.engine, Base) == [*created, *RECORDED]
    database.sql(f"DROP TABLE {META}")
    take_back(database)
    assert migrate(database.engine, Base) == [*ADDED, created[1], *RECORDED]


def test_a_ledger_in_a_schema_of_its_connection(database: World) -> None:
    if database.kind != "postgresql":
        pytest.skip("one kind of schema is enough here")
    database.sql("CREATE SCHEMA tenant")
    engine = database.engine.execution_options(schema_translate_map={None: "tenant"})
    Base.metadata.create_all(engine)
    for name in ADDED_COLUMNS:
        database.sql(f"ALTER TABLE tenant.{LEDGER} DROP COLUMN {name}")
    assert migrate(engine, Base) == ADDED
    assert migrate(engine, Base) == migrate(database.engine, Base) == []


def test_an_engine_without_transactions_is_refused(database: World) -> None:
    with pytest.raises(MaintenanceRefusedError, match="AUTOCOMMIT"):
        migrate(database.engine.execution_options(isolation_level="AUTOCOMMIT"), Base)


# Alembic


def run(world: World, what: str) -> None:
    with world.engine.begin() as connection:
        getattr(Operations(MigrationContext.configure(connection)), what)()


def test_after_the_operation_alembic_finds_no_difference(database: World) -> None:
    take_back(database)
    run(database, "upgrade_file_ledger")
    run(database, "upgrade_file_ledger")
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    run(database, "downgrade_file_ledger")
    assert not set(ADDED_COLUMNS) & columns(database)
    run(database, "upgrade_file_ledger")
    assert set(ADDED_COLUMNS) <= columns(database)


def test_columns_that_triggers_write_are_not_dropped(database: World) -> None:
    install_triggers(database.engine, Base)
    with pytest.raises(MaintenanceRefusedError, match=r"documents\.file.*drop_file_triggers"):
        run(database, "downgrade_file_ledger")
    remove_triggers(database.engine, Base)
    run(database, "downgrade_file_ledger")


def test_printed_sql_adds_and_drops_them(database: World) -> None:
    take_back(database)
    for what, present in (("upgrade_file_ledger", True), ("downgrade_file_ledger", False)):
        for statement in printed(database.engine, what).split(";"):
            if statement.strip():
                database.sql(statement)
        assert bool(set(ADDED_COLUMNS) & columns(database)) is present


def test_printed_sql_names_the_schema() -> None:
    text = printed(sa.create_engine("postgresql://"), "upgrade_file_ledger", schema="tenant")
    assert text.count(f"ALTER TABLE tenant.{LEDGER} ADD COLUMN") == 3


def printed(engine: sa.Engine, what: str, **options: Any) -> str:
    out = StringIO()
    context = MigrationContext.configure(
        dialect_name=engine.dialect.name, opts={"as_sql": True, "output_buffer": out}
    )
    getattr(Operations(context), what)(**options)
    return out.getvalue()
