"""Conditions by name use the indexes on facts, as facts in SQL do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Index, String, event
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FactColumn, FileObject, StoredObject
from filecolumn.query import FileStore
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database


class Base(DeclarativeBase):
    """Base of what is indexed by expressions."""


class Indexed(Base):
    """An index on some facts and columns."""

    __tablename__ = "indexed_papers"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(100), index=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))


class OtherBase(DeclarativeBase):
    """Base of what is indexed by generated columns."""


class Columned(OtherBase):
    """A generated column for each of the facts, as MariaDB needs it."""

    __tablename__ = "columned_papers"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(100), index=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))


def facts(file: Any) -> dict[str, Any]:
    return {
        "size": file.size,
        "filename": file.filename,
        "at": file.last_modified,
        "owner": file.metadata["owner"],
        "whole": file.metadata["n"].as_integer(),
        "number": file.metadata["n"].as_float(),
    }


for name, each in facts(Indexed.file).items():
    Index(f"ix_paper_{name}", each)
for name, each in facts(Columned.file).items():
    FactColumn(f"{name}_fact", each, index=f"ix_paper_{name}")

ASKED: list[tuple[str, object, str]] = [
    ("size", 5, "size"),
    ("size__gt", 5, "size"),
    ("size__between", [1, 2.5], "size"),
    ("size__in", [1, 2], "size"),
    ("filename", "a", "filename"),
    ("filename__startswith", "50%", "filename"),
    ("filename__in", ["a", "b"], "filename"),
    ("last_modified__year", 2024, "at"),
    ("last_modified__lt", 1.5, "at"),
    ("metadata__owner", "ann", "owner"),
    ("metadata__owner__in", ["ann", "bob"], "owner"),
    ("metadata__n", 5, "whole"),
    ("metadata__n__gte", 5, "number"),
    ("title", "a", "indexed_papers_title|ix_columned_papers_title"),
]


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)], scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("indexes")
    metadata = OtherBase.metadata if request.param == "mariadb" else Base.metadata
    with own_database(request.param, folder, metadata) as made:
        yield made


@pytest.mark.parametrize(("name", "value", "index"), ASKED)
def test_a_condition_uses_the_index(engine: Engine, name: str, value: object, index: str) -> None:
    is_mariadb = engine.dialect.name in {"mysql", "mariadb"}
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "

    def explained(
        connection: object, cursor: DBAPICursor, statement: str, parameters: object, *others: object
    ) -> tuple[str, object]:
        return explain + statement, parameters

    with Session(engine) as session:
        if engine.dialect.name == "postgresql":
            session.connection().exec_driver_sql("SET enable_seqscan = off")
        store = FileStore(session, Columned.file if is_mariadb else Indexed.file)
        event.listen(engine, "before_cursor_execute", explained, retval=True)
        try:
            statement = (
                store.find(**{name: value}).statement().with_only_columns(store.model.id).order_by(None)
            )
            plan = str(session.connection().execute(statement).cursor.fetchall())
        finally:
            event.remove(engine, "before_cursor_execute", explained)
    assert any(f"{wanted}'" in plan or f"{wanted} " in plan for wanted in index.split("|")), plan
