"""A run looks all its keys up in one pass over the rows, which holds up no writer, and uses only what still holds."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, create_engine, event, insert, select, text, update

from filecolumn import storages
from filecolumn._failpoints import set_hook
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State
from filecolumn.maintenance import drain
from filecolumn.maintenance.lookup import KeyLookup
from filecolumn.testing.failpoints import failing
from tests.maintenance.models import Base
from tests.maintenance.test_drain import doom
from tests.maintenance.world import TABLE, World, keys, lay
from tests.scenarios.fixtures import on_servers

# the package has the function under the module's name
drain_module = import_module("filecolumn.maintenance.drain")
MANY = 2_500
ROWS = 2_500
"""More than two pages."""


def row(key: str) -> str:
    return json.dumps({"filename": "a.txt", "to_filename": key, "backend": "docs", "size": 1, "v": 1})


def fill(world: World, number: int = ROWS) -> None:
    """Write rows whose files no ledger knows."""
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO documents (id, file, pages) VALUES (:id, :file, '[]')"),
            [{"id": each, "file": row(f"row/{each}")} for each in range(1, number + 1)],
        )


def write(world: World, **rows: str | None) -> None:
    """Set the keys of rows, by their ids, on a connection that waits for nobody."""
    path = world.engine.url.database
    assert path is not None
    connection = sqlite3.connect(path, timeout=0)
    for number, key in rows.items():
        value = None if key is None else row(key)
        connection.execute("UPDATE documents SET file = ? WHERE id = ?", (value, number.removeprefix("_")))
    connection.commit()
    connection.close()


@contextmanager
def before_page(engine: Engine, number: int, do: Callable[[], None]) -> Iterator[list[str]]:
    """Act before a page of rows of `documents.file` is read, counted from 1; give the statements that read rows."""
    statements: list[str] = []

    def count(_: object, __: object, statement: str, *___: Any) -> None:
        if "FROM documents" in statement and "documents.file" in statement.partition("FROM")[0]:
            statements.append(statement)
            if len(statements) == number:
                do()

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", count)


async def test_a_drain_reads_each_column_once_for_any_number_of_keys(
    world: World, storage: StorageBackend
) -> None:
    [kept] = world.add(b"one")
    world.set_entries(state=State.DOOMED.value, checked=False, due_at=1)
    doom(world, *(f"x/{number:05}" for number in range(MANY)), checked=False)
    with before_page(world.engine, 0, lambda: None) as statements:
        report = await world.maintain("drain")
    assert (report.deleted, report.restored, report.left) == (MANY, 1, 0)
    assert keys() == {kept}
    if world.way == "sync":
        assert len(statements) == 1


async def test_a_sweep_and_a_check_look_all_suspects_up_at_once(
    world: World, storage: StorageBackend
) -> None:
    world.add(b"one")
    orphans = [f"x/{number:05}" for number in range(1_200)]
    lay(*orphans)
    with before_page(world.engine, 0, lambda: None) as statements:
        found = await world.maintain("check", grace=0)
        of_check, _ = len(statements), statements.clear()
        swept = await world.maintain("sweep", grace=0, force=True)
    assert found.counts["orphan"] == swept.claimed == len(orphans)
    if world.way == "sync":
        # the survey, and the look at what it suspects; the check then reads nothing again
        assert of_check == len(statements) == 2


SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@SQLITE
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_writer_commits_while_a_drain_reads_the_rows(
    database: World, storage: StorageBackend, mode: str
) -> None:
    database.sql(f"PRAGMA journal_mode = {mode}")
    fill(database)
    doom(database, "x/1", checked=False)
    with before_page(database.engine, 2, lambda: write(database, _1="other/1")):
        assert drain(database.engine, Base).deleted == 1


@SQLITE
def test_what_moves_to_a_page_that_was_read_is_found_all_the_same(
    database: World, storage: StorageBackend
) -> None:
    fill(database)
    storage.put("x/1", [b"x"])
    write(database, _2400="x/1")
    doom(database, "x/1", checked=False)
    with before_page(database.engine, 2, lambda: write(database, _1="x/1", _2400=None)):
        report = drain(database.engine, Base)
    assert (report.deleted, report.restored) == (0, 1)
    assert keys() == {"x/1"}


@SQLITE
@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE documents (id INTEGER, rowid TEXT, file TEXT, pages TEXT)",
        "CREATE TABLE documents (a TEXT, id INTEGER, file TEXT, pages TEXT, PRIMARY KEY (a, id)) WITHOUT ROWID",
        "CREATE TABLE documents (rowid TEXT, _rowid_ TEXT, oid TEXT, id INTEGER, file TEXT, pages TEXT)",
    ],
    ids=["a column named rowid", "without row ids", "all names taken"],
)
def test_rows_of_any_table_are_read_in_pages(database: World, storage: StorageBackend, table: str) -> None:
    database.sql("DROP TABLE documents")
    database.sql(table)
    first = "a, " if "a TEXT" in table else ""
    with database.engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO documents ({first}id, file, pages) VALUES ({first and ':a, '}:id, :file, '[]')"
            ),
            [{"a": f"é{number % 7}", "id": number, "file": row(f"x/{number}")} for number in range(ROWS)],
        )
    doom(database, *(f"x/{number}" for number in range(ROWS + 3)), checked=False)
    report = drain(database.engine, Base)
    assert (report.restored, report.deleted) == (ROWS, 3)


def test_a_key_is_left_alone_that_changed_after_it_was_looked_up(
    database: World, storage: StorageBackend
) -> None:
    """As an undelete does, or a flush, or a trigger."""
    names = ["x/1", "x/2", "x/3"]
    for name in names:
        storage.put(name, [b"x"])
    doom(database, *names, checked=False)

    def change() -> None:
        with database.engine.begin() as connection:
            of = update(TABLE).where(TABLE.c.key == bindparam("of"))
            connection.execute(of.values(state=State.LIVE.value, due_at=None), {"of": "x/1"})
            connection.execute(of.values(due_at=TABLE.c.due_at + 1), {"of": "x/2"})

    with failing("drain.before_claim", change):
        report = drain(database.engine, Base)
    assert (report.deleted, report.left) == (1, 0)
    assert keys() == {"x/1", "x/2"}
    assert drain(database.engine, Base).deleted == 1


def test_rows_are_looked_at_again_when_a_run_takes_long(
    database: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyLookup, "is_old", True)
    doom(database, *(f"x/{number}" for number in range(350)), checked=False)
    for name in ("x/0", "x/349"):
        storage.put(name, [b"x"])

    def put_back() -> None:
        with database.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO documents (id, file, pages) VALUES (7, :file, '[]')"),
                {"file": row("x/349")},
            )

    with failing("drain.after_claim", put_back):
        report = drain(database.engine, Base, batch=50)
    assert (report.deleted, report.restored) == (349, 1)
    assert keys() == {"x/349"}


def test_a_slow_storage_is_given_keys_for_as_long_as_they_are_leased(
    database: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left when half of the lease is over is claimed anew."""
    # each claim is twice as large as the one before, however long that took
    monkeypatch.setattr(drain_module, "LEASE_SHARE", 0.01)
    remove = type(storage).delete
    asked: list[int] = []
    claims: list[str] = []

    def take_long(self: StorageBackend, batch: list[str]) -> None:
        asked.append(len(batch))
        time.sleep(0.06)
        remove(self, batch)

    monkeypatch.setattr(type(storage), "delete", take_long)
    doom(database, *(f"x/{number}" for number in range(150)), checked=False)
    set_hook(claims.append)
    try:
        report = drain(database.engine, Base, batch=10, lease=0.4)
    finally:
        set_hook(None)
    assert (report.deleted, report.left) == (150, 0)
    assert asked == [10] * 15
    assert claims.count("drain.after_claim") > 4


@pytest.mark.parametrize("database", on_servers(["postgresql", "mariadb"]), indirect=True)
def test_a_key_that_others_have_locked_is_left_to_the_next_run(
    database: World, storage: StorageBackend
) -> None:
    doom(database, "x/1", "x/2")
    with database.engine.begin() as connection:
        # by the whole primary key: else MariaDB locks all
        is_it = TABLE.c.backend == "docs", TABLE.c.key == "x/1"
        connection.execute(update(TABLE).where(*is_it).values(attempts=1))
        report = drain(database.engine, Base)
    assert (report.deleted, report.left) == (1, 1)
    assert drain(database.engine, Base).left == 0


def doom_under_two_names(database: World, storage: StorageBackend, **under_the_other: object) -> None:
    """Store an object whose key is due as "docs", and has the same entry as "papers" but for what is given."""
    storages.alias("papers", to="docs")
    storage.put("x/1", [b"x"])
    doom(database, "x/1", checked=False)
    with database.engine.begin() as connection:
        [entry] = connection.execute(select(TABLE)).mappings()
        connection.execute(insert(TABLE).values({**entry, "backend": "papers", **under_the_other}))


@pytest.mark.parametrize("name", ["docs", "papers"])
def test_a_key_under_two_names_of_its_storage_is_one_object(
    database: World, storage: StorageBackend, name: str
) -> None:
    """What happens to it under one name counts for the other."""
    doom_under_two_names(database, storage)

    def change() -> None:
        with database.engine.begin() as connection:
            of = update(TABLE).where(TABLE.c.backend == name)
            connection.execute(of.values(due_at=TABLE.c.due_at + 1))

    with failing("drain.before_claim", change):
        assert drain(database.engine, Base).deleted == 0
    assert keys() == {"x/1"}
    assert drain(database.engine, Base).deleted == 2
    assert keys() == set()


@SQLITE
def test_nobody_waits_for_a_drain_of_an_application_that_begins_with_the_write_lock(
    database: World, storage: StorageBackend
) -> None:
    database.sql("PRAGMA journal_mode = wal")
    fill(database)
    doom(database, "x/1", checked=False)
    engine = create_engine(database.url())
    event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    others: list[None] = []

    def commit_now(_: object, __: object, statement: str, *___: Any) -> None:
        # the drain has read one column, and is about to read the next
        if "SELECT NULL" in statement and "documents.pages" in statement:
            write(database, _1="other/1")
            others.append(None)

    event.listen(engine, "before_cursor_execute", commit_now)
    assert drain(engine, Base).deleted == 1
    engine.dispose()
    assert others == [None]


@pytest.mark.parametrize("is_held", [True, False])
def test_an_object_that_was_given_up_under_one_of_its_names_is_not_due_for_ever(
    database: World, storage: StorageBackend, is_held: bool
) -> None:
    """As by a trigger, which sees the name in the row."""
    doom_under_two_names(database, storage, state=State.LIVE.value, due_at=None)
    with database.engine.begin() as connection:
        if is_held:
            connection.execute(
                text("INSERT INTO documents (id, file, pages) VALUES (7, :file, '[]')"), {"file": row("x/1")}
            )
    first, second = drain(database.engine, Base), drain(database.engine, Base)
    assert (first.deleted, first.restored) == (0, int(is_held))
    assert (second.deleted, second.restored) == (0 if is_held else 2, 0)
    assert keys() == ({"x/1"} if is_held else set())


@SQLITE
def test_a_listener_that_begins_nothing_disturbs_nothing(database: World, storage: StorageBackend) -> None:
    database.sql("PRAGMA journal_mode = wal")
    doom(database, "x/1", checked=False)
    begun: list[object] = []
    event.listen(database.engine, "begin", begun.append)
    assert drain(database.engine, Base).deleted == 1
    assert begun
