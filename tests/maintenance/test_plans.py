"""Maintenance reads tables that nobody has analysed by their indexes, or whole once a run, whatever is in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, insert, select, update

from filecolumn import storages
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.errors import ObjectNotFoundError, StorageError
from filecolumn.ledger.table import keys_in
from filecolumn.maintenance import adopt, check, drain, status, sweep
from filecolumn.maintenance.survey import pages_of
from filecolumn.orm.rows import BATCH, rows_in
from tests.maintenance.models import Base
from tests.maintenance.plans import Access, Executed, Plan, executed, explain
from tests.maintenance.world import DATABASES, LEDGER, TABLE, World, make_world
from tests.servers.databases import own_database

ROWS = {"sqlite": 5_000, "postgresql": 45_000, "mariadb": 10_000}
"""PostgreSQL reads all of a smaller table rather than ten keys; SQLite knows no sizes."""
HELD = 500
"""The first documents: some have no object, all others of them one of another size, and some no entry."""


@dataclass(frozen=True)
class Numbers:
    """The numbers of the keys of one kind."""

    first: int
    last: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))


class Kinds:
    """The keys of each kind."""

    def __init__(self, rows: int, part: int) -> None:
        self.documents = Numbers(1, rows // 3)
        self.items = Numbers(rows // 3 + 1, rows // 3 + rows)
        """Beside them are items of documents."""
        self.unreferenced = Numbers(100_001, 100_000 + part)
        self.due = Numbers(200_001, 200_000 + 2 * part)
        self.deleted = Numbers(300_001, 300_000 + 2 * part)
        self.returned = Numbers(300_001, 300_000 + part)
        self.orphans = Numbers(400_001, 400_000 + part)


class Listing(StorageBackend):
    """A storage that makes up what it lists, and refuses to delete one object in fifty."""

    location = "listing://"

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.marks: dict[str, bytes] = {}
        self.kinds: Kinds | None = None
        """None while it is empty."""

    def put(self, key: str, chunks: Any, **options: Any) -> None:
        self.marks[key] = b"".join(chunks)

    def get(self, key: str, **options: Any) -> Any:
        raise NotImplementedError

    def get_bytes(self, key: str) -> bytes:
        if key not in self.marks:
            raise ObjectNotFoundError(key)
        return self.marks[key]

    def stat(self, key: str) -> Stat:
        if key not in self.marks and (key.startswith(".filecolumn/") or self._is_missing(number_of(key))):
            raise ObjectNotFoundError(key)
        return self._stat_of(key)

    def delete(self, keys: Any) -> None:
        if refused := [key for key in keys if number_of(key) % 50 == 0]:
            raise StorageError(f"{refused[0]!r} is kept")

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[Stat]:
        if self.kinds is None:
            return
        kinds = self.kinds
        listed = (kinds.documents, kinds.items, kinds.unreferenced, kinds.due, kinds.returned, kinds.orphans)
        for number in chain(*listed):
            if not self._is_missing(number) and key_of(number) > (after or ""):
                yield self._stat_of(key_of(number))

    def _is_missing(self, number: int) -> bool:
        return number % 10 == 1 and self._is_wrong(number)

    def _is_wrong(self, number: int) -> bool:
        return self.kinds is not None and number <= HELD

    def _stat_of(self, key: str) -> Stat:
        # the rows say 7
        size = 8 if key not in self.marks and self._is_wrong(number_of(key)) else 7
        return Stat(key=key, size=size, last_modified=1.0)


def key_of(number: int) -> str:
    return f"20260101/00/{number:032x}.txt"


def number_of(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".txt"), 16)


SERIES = {
    "sqlite": """WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
INSERT INTO {into} FROM n WHERE {where}""",
    "postgresql": "INSERT INTO {into} FROM generate_series({first}, {last}) AS n(i) WHERE {where}",
    "mariadb": "INSERT INTO {into} FROM (SELECT seq AS i FROM seq_{first}_to_{last}) AS n WHERE {where}",
}
KEY = {
    "sqlite": "'20260101/00/' || printf('%032x', {i}) || '.txt'",
    "postgresql": "'20260101/00/' || lpad(to_hex({i}), 32, '0') || '.txt'",
    "mariadb": "CONCAT('20260101/00/', LPAD(LOWER(HEX({i})), 32, '0'), '.txt')",
}
VALUE = {
    "sqlite": "json_object('filename', 'a.txt', 'to_filename', {key}, 'backend', 'docs', 'size', 7, 'v', 1)",
    "postgresql": "jsonb_build_object('filename', 'a.txt', 'to_filename', {key}, 'backend', 'docs', 'size', 7, 'v', 1)",
    "mariadb": "JSON_OBJECT('filename', 'a.txt', 'to_filename', {key}, 'backend', 'docs', 'size', 7, 'v', 1)",
}
NEVER_ANALYSED = {
    "sqlite": "",
    "postgresql": "ALTER TABLE {table} SET (autovacuum_enabled = false)",
    "mariadb": "ALTER TABLE {table} STATS_AUTO_RECALC = 0",
}


def fill(world: World, kinds: Kinds) -> None:
    """Fill the tables by SQL, and let the database learn nothing of what is in them."""
    for table in ("documents", "items", "filecolumn_ledger"):
        if never := NEVER_ANALYSED[world.kind].format(table=table):
            world.sql(never)
    key = KEY[world.kind].format(i="i")
    value = VALUE[world.kind].format(key=key)
    _insert(world, kinds.documents, f"documents (id, file, pages) SELECT i, {value}, '[]'")
    of_item = f"items (region, number, file) SELECT {{region}}, i, {value}"
    _insert(world, kinds.items, of_item.format(region="'east'"), where="i % 2 = 0")
    _insert(world, kinds.items, of_item.format(region="'west'"), where="i % 2 = 1")
    _insert(world, kinds.documents, of_item.format(region="'both'"), where=f"i % 2 = 0 AND i <= {HELD}")
    name = "`key`" if world.kind == "mariadb" else "key"
    entry = (
        f"filecolumn_ledger (backend, {name}, state, checked, created_at, due_at, attempts, fresh) "
        f"SELECT 'docs', {key}, {{state}}, {{checked}}, 2000, {{due}}, 0, false"
    )
    live = entry.format(state=1, checked="true", due="NULL")
    held = Numbers(kinds.documents.first, kinds.items.last)
    # of the keys that rows hold, some are not recorded, and some are due
    _insert(world, held, live, where=f"i % 10 NOT IN (7, 3) OR i > {HELD}")
    _insert(world, held, entry.format(state=2, checked="false", due="1"), where=f"i % 10 = 3 AND i <= {HELD}")
    _insert(world, kinds.unreferenced, live)
    _insert(world, kinds.due, entry.format(state=2, checked="i % 2 = 0", due="i"))
    _insert(world, kinds.deleted, entry.format(state=3, checked="true", due="1"))


def _insert(world: World, numbers: Numbers, into: str, where: str = "1 = 1") -> None:
    statement = SERIES[world.kind].format(first=numbers.first, last=numbers.last, into=into, where=where)
    with world.engine.begin() as connection:
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@pytest.fixture(params=DATABASES)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A database of each kind, to which a storage has belonged from the beginning."""
    storages.register_backend(Listing("docs"))
    with make_world(request.param, "sync", tmp_path) as world:
        adopt(world.engine, Base)
        yield world


Run = Callable[[Engine], object]

RUNS: dict[str, Run] = {
    "drain": lambda engine: drain(engine, Base),
    "sweep": lambda engine: sweep(engine, Base, grace=0, force=True),
    "sweep of unreferenced keys": lambda engine: sweep(
        engine, Base, grace=0, quarantine=0, unreferenced=True, force=True
    ),
    "dry sweep": lambda engine: sweep(engine, Base, grace=0, dry_run=True),
    "check": lambda engine: check(engine, Base, grace=0),
    "repairing check": lambda engine: check(engine, Base, grace=0, repair=True),
    "status": lambda engine: status(engine, Base),
}
PARTS = {"repairing check": 60}
"""Keys of each kind that a run has to do something about: more than one statement takes, or has a commit for each."""


KEY_COLUMNS = {
    "documents": ("id",),
    "items": ("region", "number"),
    "filecolumn_ledger": ("backend", "key"),
}
"""The tables that grow, and their primary keys."""
PRIMARY = {
    "sqlite": r"INTEGER PRIMARY KEY|sqlite_autoindex_\w+_1",
    "postgresql": r"\w+_pkey",
    "mariadb": "PRIMARY",
}
DUE_INDEX = "ix_filecolumn_ledger_due"

WHOLE = {
    "when the newest entry was made": r"SELECT max\(filecolumn_ledger\.created_at\)",
    "the keys that a column holds": r"SELECT (?:NULL|CASE WHEN .*) AS key, .* AS text FROM",
    "the live keys by column": r"SELECT filecolumn_ledger\.held_in, count\(\*\)",
    "all keys by what is said of them": r"SELECT filecolumn_ledger\.backend, .*, count\(\*\)",
}
"""What may read a table from its beginning to its end, once a run, and for each column that it reads."""


def kind_of(name: str) -> str:
    """Return how a statement is to find what it wants, by what it asks for."""
    if re.match("UPDATE|DELETE", name) or " KEYS" in name:
        return "key"
    for table, columns in KEY_COLUMNS.items():
        if all(re.search(rf"\b{table}\.{column} (?:= \?|IN \(\?\)|= wanted\.)", name) for column in columns):
            return "key"
    if re.search(r"min\(filecolumn_ledger\.backend\)", name):
        return "first"
    if " <= (?)" in name or (
        re.search(r"ORDER BY [\w., ]+ LIMIT", name) and "due_at" not in name.partition("WHERE")[2]
    ):
        return "page"
    return "due" if re.search(r"due_at (?:<=?|BETWEEN) ", name) else "whole"


class Judge:
    """Says what is wrong with plans of one database."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._primary = re.compile(PRIMARY[kind])

    def problem(self, name: str, plan: Plan, count: int) -> str:
        """Return what is wrong with the plan of a statement that was executed so many times; empty if nothing is."""
        accesses = [access for access in plan.accesses if access.table in KEY_COLUMNS]
        kind = kind_of(name)
        if kind == "page":
            return self._problem_of_page(name, plan, accesses)
        if kind == "key":
            by_key = all(self._is_by_key(access) for access in accesses)
            return "" if by_key else "it has keys, and does not find the rows by them"
        if kind == "first":
            by_key = all(self._primary.match(access.index) for access in accesses)
            return "" if by_key else "it does not look into the index of the primary key"
        if kind == "whole" and not any(re.match(pattern, name) for pattern in WHOLE.values()):
            return "it reads a whole table, and is none of those that may"
        is_by_due = kind == "due" and all(_is_by_due(access) for access in accesses)
        return "" if count == 1 or is_by_due else f"it reads a whole table, {count} times in one run"

    def _is_by_key(self, access: Access) -> bool:
        return self._primary.match(access.index) is not None and self._is_bound(access)

    def _is_bound(self, access: Access) -> bool:
        return access.bound == ("rowid",) or set(KEY_COLUMNS[access.table]) <= set(access.bound)

    def _problem_of_page(self, name: str, plan: Plan, accesses: Sequence[Access]) -> str:
        if plan.is_sorted and "GROUP BY" not in name:
            return "it sorts what it reads for one page"
        is_behind = re.search(r"> (?:\?|\(\?\))", name) is not None
        for access in accesses:
            # without an index SQLite's tables are in the order of their row ids
            if not self._primary.match(access.index) and (is_behind or self._kind != "sqlite"):
                return "it does not read its page by the primary key"
            if is_behind and not self._is_bound(access):
                return "it reads all that is before its page"
        return ""


def _is_by_due(access: Access) -> bool:
    return access.index == DUE_INDEX and "due_at" in access.bound


def problems_of(world: World, statements: Executed) -> list[str]:
    """Return what is wrong with the plans of statements that read the tables which grow, each with its plan."""
    judge, found = Judge(world.kind), []
    with world.engine.connect() as connection:
        for name, statement in statements.statements.items():
            if not reads_tables(name):
                continue
            plan = explain(connection, statement)
            if problem := judge.problem(name, plan, statements.counts[name]):
                found.append(f"{problem}:\n{name[:2000]}\n{plan.text[:4000]}")
    return found


def reads_tables(name: str) -> bool:
    return (
        re.match("SELECT|UPDATE|DELETE|WITH", name) is not None
        and not name.endswith("LIMIT 0")
        and any(re.search(rf"\b{table}\b", name) for table in KEY_COLUMNS)
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("run", RUNS)
def test_a_run_reads_by_indexes_or_each_table_once(empty: World, run: str) -> None:
    """A run reads tables that nobody has analysed by their indexes, or each of them once."""
    storage = storages.get("docs")
    assert isinstance(storage, Listing)
    storage.kinds = Kinds(ROWS[empty.kind], PARTS.get(run, 1_200))
    fill(empty, storage.kinds)
    with executed(empty.engine) as statements:
        RUNS[run](empty.engine)
    problems = problems_of(empty, statements)
    assert not problems, f"{len(problems)} statements:\n\n" + "\n\n".join(problems)


MORE = MetaData()
PAIRS = Table(
    "pairs",
    MORE,
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("name", String(40), primary_key=True),
    Column("held", String(300)),
)
TRIPLES = Table(
    "triples",
    MORE,
    Column("region", String(40), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("name", String(40), primary_key=True),
    Column("held", String(300)),
)
Shape = Callable[[int], tuple[object, ...]]
"""The key of a row, by its number."""
SHAPES: dict[str, tuple[Table, Shape]] = {
    "few and many": (PAIRS, lambda number: (number % 4, f"name {number:020d}")),
    "many and few": (PAIRS, lambda number: (number, f"name {number % 4}")),
    "many and many": (PAIRS, lambda number: (number, f"name {number:020d}")),
    "few, few and many": (
        TRIPLES,
        lambda number: (f"region {number % 2}", number % 4, f"name {number:020d}"),
    ),
    "many, few and one": (TRIPLES, lambda number: (f"region {number:020d}", number % 4, "name")),
}


@pytest.fixture(params=DATABASES)
def composite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Empty tables with keys of several columns."""
    with own_database(request.param, tmp_path, MORE) as engine:
        yield World(request.param, "sync", engine)


def fill_with_keys(world: World, table: Table, shape: Shape) -> None:
    names = [column.name for column in table.primary_key]
    if never := NEVER_ANALYSED[world.kind].format(table=table.name):
        world.sql(never)
    with world.engine.begin() as connection:
        for first in range(0, ROWS[world.kind], 5_000):
            rows = [
                dict(zip(names, shape(number), strict=True)) | {"held": "x" * 100}
                for number in range(first, first + 5_000)
            ]
            connection.execute(insert(table), rows)


def plans_of(engine: Engine, statements: Executed) -> list[Plan]:
    with engine.connect() as connection:
        return [explain(connection, statement) for statement in statements.statements.values()]


@pytest.mark.parametrize("of", SHAPES)
def test_rows_are_found_by_keys_of_several_columns(composite: World, of: str) -> None:
    table, shape = SHAPES[of]
    fill_with_keys(composite, table, shape)
    key = tuple(table.primary_key)
    for number in (1, 2, BATCH):
        wanted = {shape(each) for each in range(0, 3 * number, 3)}
        with executed(composite.engine) as statements, composite.engine.connect() as connection:
            found = connection.execute(select(*key).where(rows_in(key, list(wanted)))).all()
        assert {tuple(row) for row in found} == wanted
        [plan] = plans_of(composite.engine, statements)
        assert plan.accesses
        for access in plan.accesses:
            assert re.match(PRIMARY[composite.kind], access.index), plan.text
            assert set(access.bound) == {column.name for column in key}, plan.text


@pytest.mark.parametrize("of", SHAPES)
def test_pages_are_read_behind_keys_of_several_columns(composite: World, of: str) -> None:
    table, shape = SHAPES[of]
    fill_with_keys(composite, table, shape)
    key = tuple(table.primary_key)
    with executed(composite.engine) as statements:
        found = [tuple(row) for page in pages_of(composite.engine, select(*key), key) for row in page]
    assert found == sorted(shape(number) for number in range(ROWS[composite.kind]))
    for plan in plans_of(composite.engine, statements):
        [access] = plan.accesses
        assert not plan.is_sorted, plan.text
        assert re.match(PRIMARY[composite.kind], access.index), plan.text
    assert set(access.bound) == {column.name for column in key}, plan.text


def test_entries_are_found_by_many_keys_under_several_names(empty: World) -> None:
    """Entries are found by many keys, also where their storage had another name before."""
    fill(empty, Kinds(ROWS[empty.kind], 1))
    storages.note_place("docs", "former")
    wanted = [("docs", key_of(number)) for number in range(1, 1_000)]
    for size in (1, 2, len(wanted)):
        columns = TABLE.c
        query = select(columns.backend, columns.key).where(keys_in(LEDGER, wanted[:size]))
        with executed(empty.engine) as statements, empty.engine.connect() as connection:
            assert len(connection.execute(query).all()) > size / 2
        assert not problems_of(empty, statements)


def test_a_key_with_null_is_found_beside_others(composite: World) -> None:
    with composite.engine.begin() as connection:
        connection.execute(insert(PAIRS), [{"part": number, "name": "a"} for number in range(4)])
        connection.execute(update(PAIRS).where(PAIRS.c.part == 2).values(held="held"))
        key = (PAIRS.c.part, PAIRS.c.held)
        wanted: list[tuple[object, ...]] = [(1, None), (2, "held"), (2, "other"), (3, "held"), (3, None)]
        found = connection.scalars(select(PAIRS.c.part).where(rows_in(key, wanted)))
        assert set(found) == {1, 2, 3}
        assert connection.scalars(select(PAIRS.c.part).where(rows_in(key, []))).all() == []
