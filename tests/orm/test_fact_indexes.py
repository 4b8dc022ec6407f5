"""Indexes on facts of files: each database names them in its plans, for 20,000 rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Delete, Index, Select, Update, delete, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

from filecolumn import FileObject, StoredObject
from filecolumn.orm.fact_columns import FactColumn
from filecolumn.orm.facts_sql import fact
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import own_database

ROWS = 20_000
START = 1_700_000_000
MOMENT = datetime.fromtimestamp(START + 77, UTC)
Statement = Select[Any] | Update | Delete


class Base(DeclarativeBase): ...


class OtherBase(DeclarativeBase):
    """Of what MariaDB cannot make."""


class Indexed(OtherBase):
    """With an index on each fact: SQLite and PostgreSQL."""

    __tablename__ = "indexed"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))
    __table_args__ = (Index("ix_indexed_etag", fact(file, "etag")),)


class Columned(Base):
    """With a column for each fact, on every database."""

    __tablename__ = "columned"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))


Model = type[Indexed] | type[Columned]
TEXTS = ("filename", "path", "backend", "content_type", "checksum", "version_id")
FACTS: dict[str, Callable[[Any], Any]] = {
    **{name: lambda file, name=name: getattr(file, name) for name in (*TEXTS, "size", "last_modified")},
    "owner": lambda file: file.metadata["owner"],
    "number": lambda file: file.metadata["number"].as_integer(),
    "ratio": lambda file: file.metadata["deep"]["ratio"].as_float(),
    "rare": lambda file: file.metadata["rare"].as_boolean(),
}
for name, of_file in FACTS.items():
    Index(f"ix_indexed_{name}", of_file(Indexed.file))
    FactColumn(f"{name}_fact", of_file(Columned.file), index=f"ix_columned_{name}")
FactColumn("etag_fact", Columned.file.etag, index="ix_columned_etag")
FACTS["etag"] = lambda file: file.etag
VALUES: dict[str, list[Any]] = {
    "filename": ["report 77.txt", "report 78.txt"],
    "path": ["2026/00077", "2026/00078"],
    "backend": ["archive", "archive 2"],
    "content_type": ["type/77", "type/78"],
    "checksum": [f"sha256:{77:064}", f"sha256:{78:064}"],
    "etag": ["e77", "e78"],
    "version_id": ["v77", "v78"],
    "owner": ["owner 77", "owner 78"],
    "size": [770, 780],
    "last_modified": [START + 77, START + 78],
    "number": [77, 78],
    "ratio": [77.5, 78.5],
}
NUMBERS = ("size", "last_modified", "number", "ratio")


def row_of(n: int) -> str:
    """Return the JSON of a made-up file."""
    return json.dumps(
        {
            "filename": f"report {n}.txt",
            "to_filename": f"2026/{n:05}",
            "backend": {1: "archive", 2: "archive 2"}.get(n, "docs"),
            "content_type": f"type/{n % 5000}",
            "checksum": f"sha256:{n:064}",
            "etag": f"e{n}",
            "version_id": f"v{n}",
            "size": n * 10,
            "last_modified": START + n,
            "metadata": {"owner": f"owner {n}", "number": n, "deep": {"ratio": n + 0.5}, "rare": n == 3},
            "v": 1,
        }
    )


@pytest.fixture(scope="module", params=["sqlite", *on_servers(["postgresql", "mariadb"])])
def connection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connection]:
    """A database with the rows."""
    with (
        own_database(request.param, tmp_path_factory.mktemp("indexes"), Base.metadata) as engine,
        engine.connect() as made,
    ):
        value = "CAST(:file AS JSONB)" if request.param == "postgresql" else ":file"
        rows = [{"id": n, "file": row_of(n)} for n in range(1, ROWS + 1)]
        made.execute(text(f"INSERT INTO columned (id, file) VALUES (:id, {value})"), rows)
        if request.param != "mariadb":
            OtherBase.metadata.create_all(made)
            made.execute(text("INSERT INTO indexed (id, file) SELECT id, file FROM columned"))
        if request.param == "postgresql":
            made.execute(text("ANALYZE"))
        made.commit()
        yield made
        made.rollback()


@pytest.fixture(params=[Indexed, Columned])
def model(request: pytest.FixtureRequest, connection: Connection) -> Model:
    """A model with indexes."""
    if request.param is Indexed and connection.dialect.name == "mariadb":
        pytest.skip("there are none on expressions")
    return request.param


def plan(connection: Connection, statement: Statement) -> str:
    """Return how the database would execute a statement with its values bound."""
    compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
    values: Any = compiled.params
    if compiled.positional:
        values = tuple(values[name] for name in compiled.positiontup or ())
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return "\n".join(map(str, connection.exec_driver_sql(f"{explain} {compiled}", values)))


def conditions(name: str, of_file: Any) -> Iterator[Any]:
    """Yield conditions on a fact that few rows meet."""
    if name == "rare":
        yield of_file
        return
    value, later = VALUES[name]
    yield of_file == value
    yield of_file.in_([value, later])
    yield of_file.between(value, later)
    if name in NUMBERS:
        yield of_file < later
    else:
        yield of_file.startswith(value)


@pytest.mark.parametrize("name", FACTS)
def test_the_plan_of_a_condition_on_a_fact_names_its_index(
    connection: Connection, model: Model, name: str
) -> None:
    for condition in conditions(name, FACTS[name](model.file)):
        statement = select(model.id).where(condition)
        assert f"ix_{model.__tablename__}_{name}" in plan(connection, statement), str(statement)
        assert connection.execute(statement).first() is not None


@pytest.mark.parametrize("name", FACTS)
def test_the_plan_of_the_first_rows_by_a_fact_names_its_index(
    connection: Connection, model: Model, name: str
) -> None:
    if model is Columned and name not in NUMBERS and connection.dialect.name != "sqlite":
        pytest.skip("what takes texts of any length does not sort them")
    statement = select(model.id).order_by(FACTS[name](model.file)).limit(5)
    assert f"ix_{model.__tablename__}_{name}" in plan(connection, statement)


def test_times_are_found_by_the_index_on_when_files_were_modified(
    connection: Connection, model: Model
) -> None:
    time = model.file.last_modified.as_datetime()
    for condition in (time == MOMENT, time < MOMENT, time.in_([MOMENT]), time.between(MOMENT, MOMENT)):
        statement = select(model.id).where(condition)
        assert f"ix_{model.__tablename__}_last_modified" in plan(connection, statement)
        assert connection.execute(statement).first() is not None


def test_each_way_to_ask_for_a_fact_uses_its_index(connection: Connection, model: Model) -> None:
    other = aliased(model)
    table: Any = model.__table__
    core = table.alias()
    statements: tuple[Statement, ...] = (
        select(other.id).where(other.file.size == 770),
        select(other.id).join(model, model.id == other.id).where(other.file.size == 770),
        select(model.id).where(model.id.in_(select(other.id).where(other.file.size == 770))),
        select(model.id).where(fact(model.file, "size") == 770),
        select(table.c.id).where(table.c.file.size == 770),
        select(core.c.id).where(fact(core.c.file, "size") == 770),
        update(model).where(model.file.size == 770).values(id=0),
        delete(model).where(model.file.size == 770),
    )
    for statement in statements:
        assert f"ix_{model.__tablename__}_size" in plan(connection, statement), str(statement)
