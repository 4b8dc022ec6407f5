"""Tables without transactions hold no files, and maintenance works in transactions only."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, event, make_url

from filecolumn import MaintenanceRefusedError, NotSupportedError
from filecolumn.maintenance.required import refuse_autocommit
from filecolumn.orm.catalogue import refuse_without_transactions
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import own_database

WITHOUT = ("MyISAM", "Aria", "MEMORY", "CSV", "MRG_MyISAM")


def table(name: str = "docs", schema: str | None = None) -> Table:
    return Table(name, MetaData(), Column("id", Integer), schema=schema)


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[Engine]:
    """A database of its own, without tables."""
    with own_database("mariadb", tmp_path, MetaData()) as engine:
        yield engine


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@contextmanager
def counted(engine: Engine) -> Generator[list[str]]:
    """Note the questions about tables."""
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "information_schema" in statement:
            asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


@pytest.mark.server
@pytest.mark.parametrize("name", WITHOUT)
def test_a_table_without_transactions_is_refused(mariadb: Engine, name: str) -> None:
    run(mariadb, f"CREATE TABLE docs (id INT NOT NULL) ENGINE={name}")
    with mariadb.connect() as connection, pytest.raises(NotSupportedError, match=rf"'docs' .* {name}"):
        refuse_without_transactions(connection, table())


@pytest.mark.server
def test_a_table_with_transactions_is_asked_for_once(mariadb: Engine) -> None:
    run(mariadb, "CREATE TABLE docs (id INT) ENGINE=InnoDB")
    with counted(mariadb) as asked:
        for engine in (mariadb, mariadb, mariadb.execution_options(stream_results=False)):
            with engine.connect() as connection:
                refuse_without_transactions(connection, table())
    assert len(asked) == 1


@pytest.mark.server
def test_a_table_that_was_changed_is_not_refused_any_more(mariadb: Engine) -> None:
    run(mariadb, "CREATE TABLE docs (id INT) ENGINE=MyISAM")
    with mariadb.connect() as connection:
        for _ in range(2):
            with pytest.raises(NotSupportedError, match="ENGINE=InnoDB"):
                refuse_without_transactions(connection, table())
        connection.exec_driver_sql("ALTER TABLE docs ENGINE=InnoDB")
        refuse_without_transactions(connection, table())


@pytest.mark.server
def test_tables_that_the_server_does_not_list_are_accepted(mariadb: Engine) -> None:
    with mariadb.connect() as connection:
        refuse_without_transactions(connection, table("absent"))
        connection.exec_driver_sql("CREATE TEMPORARY TABLE short (id INT) ENGINE=MEMORY")
        refuse_without_transactions(connection, table("short"))


@pytest.mark.server
def test_the_schema_of_the_connection_counts(mariadb: Engine) -> None:
    other = f"{mariadb.url.database}_b"
    run(mariadb, f"CREATE DATABASE {other}", f"CREATE TABLE {other}.docs (id INT) ENGINE=MyISAM")
    run(mariadb, "CREATE TABLE docs (id INT) ENGINE=InnoDB")
    try:
        with mariadb.connect() as connection:
            refuse_without_transactions(connection, table())
            with pytest.raises(NotSupportedError, match="MyISAM"):
                refuse_without_transactions(connection, table(schema=other))
        translated = mariadb.execution_options(schema_translate_map={None: other})
        with translated.connect() as connection, pytest.raises(NotSupportedError, match="MyISAM"):
            refuse_without_transactions(connection, table())
    finally:
        run(mariadb, f"DROP DATABASE {other}")


@pytest.mark.parametrize("kind", ["sqlite", *on_servers(["postgresql"])])
def test_other_databases_are_not_asked(kind: str, tmp_path: Path) -> None:
    with own_database(kind, tmp_path, MetaData()) as engine, counted(engine) as asked:
        with engine.connect() as connection:
            refuse_without_transactions(connection, table())
        assert asked == []


# Maintenance


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "autocommit"])
def test_maintenance_refuses_an_engine_in_autocommit(level: str) -> None:
    made = create_engine("sqlite://", isolation_level=level)  # type: ignore[call-overload]
    optioned = create_engine("sqlite://").execution_options(isolation_level=level)
    for engine in (made, optioned, create_engine("sqlite://", execution_options={"isolation_level": level})):
        with pytest.raises(MaintenanceRefusedError, match="AUTOCOMMIT"):
            refuse_autocommit(engine)


def test_maintenance_takes_engines_with_transactions() -> None:
    engines = (
        create_engine("sqlite://"),
        create_engine("sqlite://", isolation_level="SERIALIZABLE"),
        create_engine("sqlite://", isolation_level="AUTOCOMMIT").execution_options(
            isolation_level="SERIALIZABLE"
        ),
        create_engine(make_url("sqlite://"), pool_pre_ping=True),
    )
    for engine in engines:
        refuse_autocommit(engine)
