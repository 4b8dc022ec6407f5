"""Generated columns for facts of files, indexes that need them, and CHECK constraints on facts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    create_mock_engine,
    delete,
    func,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from filecolumn import FileObject, NotSupportedError, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.orm.fact_columns import FactColumn
from filecolumn.orm.facts_sql import fact
from tests.scenarios.files import keys
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import own_database

DATABASES = ["sqlite", *on_servers(["postgresql", "mariadb"])]
DIALECTS: list[Dialect] = [
    sqlite.dialect(),
    postgresql.dialect(),
    mysql.dialect(is_mariadb=True),
    mysql.dialect(),
]
TEXTS = ("filename", "path", "backend", "content_type", "checksum", "etag", "version_id")


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    __table_args__ = (CheckConstraint(fact(file, "content_type") != "text/html", name="no_pages"),)


TABLE: Table = Document.__table__  # type: ignore[assignment]
for name in (*TEXTS, "size", "last_modified"):
    FactColumn(f"{name}_fact", fact(Document.file, name))
VALUE = Document.file.metadata["value"]
FactColumn("text_value", VALUE)
FactColumn("whole", VALUE.as_integer(), index="ix_whole")
FactColumn("number", VALUE.as_float(), index=False)
FactColumn("truth", VALUE.as_boolean())
FactColumn("is_there", VALUE.exists())
FactColumn("deep", Document.file.metadata["list"][1]["value"].as_integer())


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with the table."""
    with own_database(request.param, tmp_path, Base.metadata) as made:
        yield made


@pytest.fixture
def storage() -> StorageBackend:
    """The storage of the model."""
    return storages.register_backend("memory://", key="docs")


def plain_table() -> Table:
    """Return the same table as one that has no column for facts."""
    return Table(
        "documents",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("file", StoredObject(backend="docs", ledger=False)),
    )


LONG = "".join(map(chr, Random(1).choices(range(0x4E00, 0x9FFF), k=33_000)))
"""100 kB that cannot be compressed."""
VALUES = [
    *("null", "true", "false", "[]", "[1]", "{}", '{"value": 1}'),
    *(
        '""',
        '"a"',
        '"A"',
        '"a "',
        '"ü"',
        '"\\ud83d\\ude00 x"',
        '"1"',
        '"true"',
        '"50%_a"',
        '"a\\\\b"',
        '"\\""',
    ),
    *(
        "0",
        "-0",
        "1",
        "-1",
        "1.5",
        "-1.25",
        "3.0",
        "1e3",
        "1E5",
        "0.1e1",
        "1764528000.123457",
        "253402300800",
    ),
    *("9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *(
        "-9223372036854775809",
        "1e18",
        "9.3e18",
        "1e300",
        "1.7976931348623157e308",
        "1.8e308",
        "5e-324",
        "1e-400",
    ),
    *("1e400", "-1e400", "1" + "0" * 400, "0." + "1" * 400, "9" * 308 + ".5"),
]
"""JSON of every type."""
LONG_VALUES = (json.dumps(LONG), json.dumps("x" * 100_000))


def documents() -> Iterator[str]:
    """Yield JSON of what a row may hold: a file with a value as each of its facts, and the value itself."""
    for value in VALUES:
        names = (*TEXTS, "to_filename", "size", "last_modified")
        facts = ", ".join(f'"{name}": {value}' for name in names)
        of_list = f'[0, {{"value": {value}}}]'
        yield f'{{{facts}, "metadata": {{"value": {value}, "list": {of_list}}}}}'
        yield from (f'{{"metadata": {value}}}', value, f"[{value}]")
    for value in LONG_VALUES:
        yield f'{{"filename": {value}, "metadata": {{"value": {value}}}}}'


def test_a_column_has_what_the_fact_is_whatever_a_row_holds(engine: Engine) -> None:
    as_json = "CAST(:file AS JSONB)" if engine.dialect.name == "postgresql" else ":file"
    rows = [{"id": number, "file": row} for number, row in enumerate(documents(), start=1)]
    plain = plain_table()
    values = plain.c.file.metadata["value"]
    others = {f"{name}_fact": fact(plain.c.file, name) for name in (*TEXTS, "size", "last_modified")} | {
        "text_value": values,
        "whole": values.as_integer(),
        "number": values.as_float(),
        "truth": values.as_boolean(),
        "is_there": values.exists(),
        "deep": plain.c.file.metadata["list"][1]["value"].as_integer(),
    }
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO documents (id, file) VALUES (:id, {as_json})"), rows)
        for name, of_plain in others.items():
            held = connection.execute(select(TABLE.c[name]).order_by(TABLE.c.id)).scalars().all()
            assert held == connection.execute(select(of_plain).order_by(plain.c.id)).scalars().all(), name
            by_column = connection.execute(select(TABLE.c.id).order_by(TABLE.c[name], TABLE.c.id)).all()
            assert by_column == connection.execute(select(plain.c.id).order_by(of_plain, plain.c.id)).all()
        found = select(TABLE.c.id).where(TABLE.c.file.filename == LONG)
        assert connection.execute(found).all() != []


def test_sessions_write_files_and_never_select_the_columns(engine: Engine, storage: StorageBackend) -> None:
    with Session(engine) as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"abc", metadata={"value": 5})))
        session.commit()
        document = session.scalars(select(Document).where(Document.file.size == 3)).one()
        assert "_fact" not in str(select(Document).compile(engine))
        document.file = FileObject("b.txt", content=b"abcd")
        session.commit()
        row = session.execute(select(TABLE.c.filename_fact, TABLE.c.size_fact, TABLE.c.whole)).one()
        assert tuple(row) == ("b.txt", 4, None)
        session.execute(delete(Document).where(Document.file.size == 4))
        session.commit()
    assert keys(storage) == []


@pytest.mark.parametrize(
    "dialect", DIALECTS, ids=lambda each: f"{each.name} {getattr(each, 'is_mariadb', '')}"
)
def test_statements_use_the_column_of_the_row_that_the_fact_is_of(dialect: Dialect) -> None:
    other = aliased(Document)
    core = TABLE.alias("core")
    whole_rows = select(TABLE).subquery("whole_rows")
    for statement, expected in (
        (select(Document.id).where(Document.file.size > 1), "documents.size_fact >"),
        (select(other.id).order_by(other.file.filename), "documents_1.filename_fact"),
        (select(core.c.id).where(fact(core.c.file, "size") == 1), "core.size_fact ="),
        (select(func.sum(Document.file.size)).group_by(Document.file.backend), "documents.backend_fact"),
        (select(other.id).join(Document, Document.file.path == other.file.path), "documents_1.path_fact"),
        (update(Document).where(Document.file.size > 1).values(id=2), "size_fact >"),
        (delete(Document).where(VALUE.as_integer() > 1), "documents.whole >"),
        (
            select(Document.id).where(Document.file.metadata["value"].as_string() == "a"),
            "documents.text_value",
        ),
        (select(whole_rows.c.file.size), "$.size" if dialect.name != "postgresql" else "'size'"),
    ):
        assert expected in str(statement.compile(dialect=dialect))


def test_a_query_of_two_tables_does_not_take_the_column_of_the_other_one() -> None:
    plain = plain_table()
    rows = (
        select(plain.c.file, TABLE.c.size_fact).join_from(plain, TABLE, plain.c.id == TABLE.c.id).subquery()
    )
    assert (
        "size_fact"
        not in str(select(rows.c.file.size).compile(dialect=sqlite.dialect())).partition("FROM")[0]
    )


def test_a_table_in_another_metadata_and_schema_has_the_columns_and_their_indexes() -> None:
    copy = TABLE.to_metadata(MetaData(), schema="elsewhere", name="copies")
    assert {str(index.name) for index in copy.indexes} == {str(index.name) for index in TABLE.indexes}
    statement = select(copy.c.id).where(copy.c.file.size == 1)
    for dialect in DIALECTS:
        assert "elsewhere.copies.size_fact =" in str(statement.compile(dialect=dialect))
        assert "size_fact BIGINT GENERATED ALWAYS AS (" in ddl(copy.metadata, dialect)


def ddl(metadata: MetaData, dialect: Dialect) -> str:
    """Return the statements that make tables."""
    statements: list[str] = []
    name = "mysql" if dialect.name == "mariadb" else dialect.name
    driver = {"mysql": "+pymysql", "postgresql": "+psycopg"}.get(name, "")
    engine = create_mock_engine(
        f"{name}{driver}://", lambda sql, *_, **__: statements.append(str(sql.compile(dialect=dialect)))
    )
    metadata.create_all(engine, checkfirst=False)
    return "\n".join(statements)


def new_table() -> Table:
    return Table(
        "reports",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("file", StoredObject(backend="docs", ledger=False)),
    )


def test_what_no_index_is_for_is_no_column() -> None:
    table = new_table()
    file: Any = table.c.file
    for wrong in (file, table.c.id, file.metadata, file.last_modified.as_datetime(), file.size + 1):
        with pytest.raises(TypeError, match="name is to hold a fact"):
            FactColumn("name", wrong)
    with pytest.raises(TypeError, match="declare it after the class or table"):
        FactColumn("name", fact(mapped_column(StoredObject(backend="docs")), "size"))
    with pytest.raises(ValueError, match="no identifier"):
        FactColumn("name", file.metadata["a b"])
    assert set(table.c.keys()) == {"id", "file"}


def test_an_index_that_a_column_has_already_is_left_out() -> None:
    table = new_table()
    Index("ix_both", table.c.file.size)
    FactColumn("size_fact", table.c.file.size)
    for dialect in DIALECTS:
        statements = ddl(table.metadata, dialect)
        assert "ix_both" not in statements
        assert "CREATE INDEX ix_reports_size_fact ON reports (size_fact)" in statements


@pytest.mark.parametrize("index", ["size", "unique", "two", "column without one"])
@pytest.mark.parametrize("engine", on_servers(["mariadb"]), indirect=True)
def test_mariadb_refuses_an_index_on_a_fact_before_it_makes_the_table(engine: Engine, index: str) -> None:
    table = new_table()
    if index != "size":
        FactColumn("size_fact", table.c.file.size, index=index != "column without one")
    columns = [table.c.file.size, table.c.id] if index == "two" else [table.c.file.size]
    made = Index("ix_sizes", *columns, unique=index == "unique")

    with pytest.raises(NotSupportedError, match=r"ix_sizes .* FactColumn"):
        table.metadata.create_all(engine)
    assert not inspect(engine).has_table("reports")
    with pytest.raises(NotSupportedError, match="ix_sizes"):
        made.create(engine)


@pytest.mark.parametrize("engine", on_servers(["mariadb"]), indirect=True)
def test_an_index_with_conditions_of_its_own_is_made_where_these_hold(engine: Engine) -> None:
    table = new_table()
    file = table.c.file
    Index("ix_sizes", file.size, _table=table).ddl_if(dialect=("sqlite", "postgresql"))
    table.metadata.create_all(engine)
    assert inspect(engine).get_indexes("reports") == []


def test_indexes_are_unique_partial_and_on_several_columns() -> None:
    for dialect in DIALECTS[:2]:
        table = new_table()
        file = table.c.file
        Index("ux", file.checksum, unique=True)
        Index("ix_two", table.c.id, file.size.desc())
        Index("ix_part", file.backend, sqlite_where=file.size > 10, postgresql_where=file.size > 10)
        made = {line.partition(" ON ")[0]: line for line in ddl(table.metadata, dialect).splitlines()}
        assert made["CREATE UNIQUE INDEX ux"]
        assert "(id, " in made["CREATE INDEX ix_two"]
        assert made["CREATE INDEX ix_two"].endswith(" DESC)")
        assert made["CREATE INDEX ix_part"].endswith(" > 10")


def test_a_constraint_on_a_fact_holds_for_sessions_and_leaves_no_content(
    engine: Engine, storage: StorageBackend
) -> None:
    # PyMySQL does not know the error as one of integrity
    refused = DBAPIError if engine.dialect.name == "mariadb" else IntegrityError
    with Session(engine) as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"a", content_type="text/plain")))
        session.add(Document(id=2))
        session.commit()
        kept = keys(storage)
        session.add(Document(id=3, file=FileObject("a.html", content=b"<p>", content_type="text/html")))
        with pytest.raises(refused, match="no_pages"):
            session.commit()
        session.rollback()
        document = session.get_one(Document, 1)
        document.file = FileObject("b.html", content=b"<p>", content_type="text/html")
        with pytest.raises(refused, match="no_pages"):
            session.commit()
    assert keys(storage) == kept
