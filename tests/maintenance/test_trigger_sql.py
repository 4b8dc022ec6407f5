"""The SQL of the triggers, for each kind of database, without a server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import mysql, postgresql, sqlite

from filecolumn.maintenance.trigger_sql import (
    MAX_NAME,
    Target,
    create_statements,
    drop_statements,
    support_statements,
)

Make = Callable[[], Dialect]
DIALECTS: list[Make] = [sqlite.dialect, postgresql.dialect, mysql.dialect]
EVENTS = {"sqlite": 2, "postgresql": 3, "mysql": 2}
"""Triggers of a column; PostgreSQL has one for TRUNCATE."""


def target(table: str = "documents", column: str = "file", schema: str | None = None) -> Target:
    return Target(table=table, schema=schema, column=column, backend="it's 100%", retention=1.5)


def created(dialect: Dialect, wanted: Target) -> list[str]:
    return [text for text in create_statements(wanted, dialect) if "CREATE TRIGGER" in text]


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
    """A quote ends no literal, and a percent sign, which SQLAlchemy's DDL formats, is doubled."""
    dialect = make()
    for text in created(dialect, target()):
        assert "'it''s 100%%'" in text
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
    ledger = [text for text in support_statements("other", dialect) if "INSERT INTO" in text]
    ledger = ledger or created(dialect, elsewhere)
    assert ledger
    assert all("other.filecolumn_ledger" in text for text in ledger)
    assert all("other.documents" in text for text in created(dialect, elsewhere))


def test_only_postgresql_has_functions_that_triggers_call() -> None:
    functions = [*support_statements(None, postgresql.dialect())]
    assert [text.split("FUNCTION ")[1].split("(")[0] for text in functions] == [
        *("filecolumn_files", "filecolumn_doom", "filecolumn_empty")
    ]
    called = " ".join(created(postgresql.dialect(), target()))
    assert all(f"FUNCTION filecolumn_{name}(" in called for name in ("doom", "empty"))
    assert [*support_statements(None, sqlite.dialect())] == [*support_statements(None, mysql.dialect())] == []
