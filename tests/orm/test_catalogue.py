"""About how many rows a table has, without reading it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, text
from sqlalchemy.exc import DBAPIError

from filecolumn.orm.catalogue import ReadColumn, estimated_rows
from tests.maintenance.world import DATABASES
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import own_database

METADATA = MetaData()
ROWS = Table(
    "rows: 100%",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(100)),
)
NUMBER = 2000


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with a table whose rows nobody has counted."""
    with own_database(request.param, tmp_path, METADATA) as made:
        with made.begin() as connection:
            connection.execute(ROWS.insert(), [{"id": n, "name": "a" * 50} for n in range(1, NUMBER + 1)])
        yield made


def test_a_table_has_about_as_many_rows_as_the_database_estimates(engine: Engine) -> None:
    if engine.dialect.name == "mariadb":
        # it counts some seconds later by itself
        with engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE TABLE `rows: 100%%`").all()
    with engine.connect() as connection:
        estimates = (
            estimated_rows(connection, ROWS),
            estimated_rows(connection, ROWS.c.name),
            estimated_rows(connection, ReadColumn(None, ROWS.name, "name")),
        )
    assert len(set(estimates)) == 1
    assert estimates[0] is not None
    assert NUMBER / 5 <= estimates[0] <= NUMBER * 5


def test_a_table_that_is_not_there_has_no_estimate_and_leaves_the_transaction_as_it_is(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        connection.execute(ROWS.delete().where(ROWS.c.id == 1))
        assert estimated_rows(connection, ReadColumn(None, "nothing", "name")) is None
        assert estimated_rows(connection, ReadColumn("nowhere", "nothing", "name")) is None
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        assert connection.execute(ROWS.select().where(ROWS.c.id == 1)).first() is None


def test_a_view_has_no_estimate_or_that_of_its_table(engine: Engine) -> None:
    quote = engine.dialect.identifier_preparer.quote
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE VIEW shown AS SELECT * FROM {quote(ROWS.name)}")
        estimate = estimated_rows(connection, ReadColumn(None, "shown", "name"))
        connection.execute(text("DROP VIEW shown"))
    assert (estimate is None) == (engine.dialect.name != "postgresql")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("columns", "value", "expected"),
    [
        ("id INTEGER PRIMARY KEY", "1234567890123", None),
        ("id TEXT PRIMARY KEY) WITHOUT ROWID --", "'a'", None),
        ("rowid TEXT", "'a'", None),
        ("id INTEGER PRIMARY KEY", "-5", 0),
        ("id INTEGER PRIMARY KEY", "5", 5),
    ],
)
def test_ids_that_count_no_rows_are_no_estimate(
    engine: Engine, columns: str, value: str, expected: int | None
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE other ({columns}\n)".replace("--\n)", ""))
        assert estimated_rows(connection, ReadColumn(None, "other", "id")) is None
        connection.exec_driver_sql(f"INSERT INTO other VALUES ({value})")
        assert estimated_rows(connection, ReadColumn("main", "other", "id")) == expected


@pytest.mark.parametrize("engine", on_servers(["postgresql"]), indirect=True)
def test_a_role_without_the_right_to_read_a_table_has_no_estimate(engine: Engine) -> None:
    role = f"estimates_{engine.url.database}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
        connection.exec_driver_sql(f"SET ROLE {role}")
        with pytest.raises(DBAPIError), connection.begin_nested():
            connection.execute(ROWS.select())
        assert estimated_rows(connection, ROWS) is None
        connection.rollback()
