"""The SQL of the triggers, for each kind of database, without a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import mysql, postgresql, sqlite

from filecolumn.ledger.triggers import (
    MAX_NAME,
    Target,
    create_statements,
    ddl,
    drop_statements,
    literal,
    support_statements,
    trigger_names,
)

Make = Callable[[], Dialect]
DIALECTS: list[Make] = [sqlite.dialect, postgresql.dialect, mysql.dialect]
EVENTS = {"sqlite": 4, "postgresql": 5, "mysql": 4}
"""Triggers of a column; PostgreSQL has one for TRUNCATE."""


def target(table: str = "documents", column: str = "file", schema: str | None = None) -> Target:
    return Target(
        table=table,
        schema=schema,
        ledger_schema=schema,
        column=column,
        backend="it's 100%",
        retention=1.5,
    )


def created(dialect: Dialect, wanted: Target) -> list[str]:
    return [text for text in create_statements(wanted, dialect) if "CREATE TRIGGER" in text]


def taking(dialect: Dialect, wanted: Target) -> list[str]:
    """Return those that doom keys."""
    names = [
        name for name in trigger_names(wanted, dialect) if name.endswith(("delete", "update", "truncate"))
    ]
    return [text for text in created(dialect, wanted) if any(name in text for name in names)]


@pytest.mark.parametrize("make", DIALECTS)
def test_each_trigger_is_dropped_before_it_is_created(make: Make) -> None:
    dialect = make()
    dropped = [*drop_statements(target(), dialect)]
    statements = [*create_statements(target(), dialect)]
    assert statements[: len(dropped)] == dropped
    assert len(dropped) == len(created(dialect, target())) == EVENTS[dialect.name]
    assert all(text.startswith("DROP TRIGGER IF EXISTS ") for text in dropped)


@pytest.mark.parametrize("make", DIALECTS)
def test_a_storage_and_its_retention_are_written_as_literals(make: Make) -> None:
    """A quote ends no literal, and a percent sign is one: only SQLAlchemy's DDL formats statements."""
    dialect = make()
    for text in created(dialect, target()):
        assert "'it''s 100%'" in text
        assert ddl(text).statement == text.replace("%", "%%")
    for text in taking(dialect, target()):
        assert "1500" in text


@pytest.mark.parametrize("make", DIALECTS)
def test_names_are_quoted_and_not_too_long(make: Make) -> None:
    dialect = make()
    quote = dialect.identifier_preparer
    for text in created(dialect, target("a table", "Order")):
        assert quote.quote("a table") in text
        # a TRUNCATE has no row; its function gets the column's name
        assert (quote.quote("Order") if "FOR EACH ROW" in text else "'Order'") in text
    long = [target("t" * 60, column) for column in ("first", "second")]
    names = [text.split()[2].strip('`"') for each in long for text in created(dialect, each)]
    assert len(set(names)) == len(names) == 2 * EVENTS[dialect.name]
    assert max(map(len, names)) <= MAX_NAME


@pytest.mark.parametrize("make", [postgresql.dialect, mysql.dialect])
def test_a_schema_is_named_with_what_the_triggers_write_to(make: Make) -> None:
    dialect = make()
    elsewhere = target(schema="other")
    functions = [text for text in support_statements("other", dialect) if "RETURNS trigger" in text]
    ledger = functions or created(dialect, elsewhere)
    assert ledger
    assert all("other.filecolumn_ledger" in text for text in ledger)
    assert all("other.documents" in text for text in created(dialect, elsewhere))


def test_only_postgresql_has_functions_that_triggers_call() -> None:
    functions = [*support_statements(None, postgresql.dialect())]
    assert [text.split("FUNCTION ")[1].split("(")[0] for text in functions] == [
        *("filecolumn_files", "filecolumn_doom", "filecolumn_arrive", "filecolumn_empty")
    ]
    called = " ".join(created(postgresql.dialect(), target()))
    assert all(f"FUNCTION filecolumn_{name}(" in called for name in ("doom", "arrive", "empty"))
    assert [*support_statements(None, sqlite.dialect())] == [*support_statements(None, mysql.dialect())] == []


@pytest.mark.parametrize("make", [postgresql.dialect, mysql.dialect])
def test_a_table_may_lie_elsewhere_than_the_ledger(make: Make) -> None:
    dialect = make()
    elsewhere = replace(target(schema="other"), ledger_schema="ours")
    texts = created(dialect, elsewhere)
    assert all("other.documents" in text for text in texts)
    assert all("ours.filecolumn_" in text and "other.filecolumn_ledger" not in text for text in texts)
    assert (str(elsewhere), str(target(schema="other"))) == ("other.documents.file", "documents.file")


def test_functions_hold_no_percent_sign_that_a_tool_could_format() -> None:
    assert not any("%" in text for text in support_statements("other", postgresql.dialect()))


def test_a_backslash_is_one_whatever_mysql_takes_it_for() -> None:
    assert literal("a\\'b", mysql.dialect()) == "CONVERT(X'615c2762' USING utf8mb4)"
    assert literal("a\\'b", sqlite.dialect()) == "'a\\''b'"
