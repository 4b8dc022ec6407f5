"""Each guard is taken away once: what the other tests look for is then found, so they can find it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from filecolumn import ConcurrentFileChangeError, FileObject, PendingContentError, StaleUploadError, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from tests.faults.due import make_due, sweep_all_now
from tests.faults.mutants import MUTANTS
from tests.faults.oracle import look
from tests.scenarios.models import Base, Document
from tests.servers.databases import own_database

# the package has the function under the module's name
drain_module = import_module("filecolumn.maintenance.drain")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    storages.register_backend(ObstoreBackend("docs", f"file://{tmp_path}/docs/", fsync=False), replace=True)
    return tmp_path / "docs"


@pytest.fixture
def engine(tmp_path: Path, folder: Path) -> Iterator[Engine]:
    with own_database("sqlite", tmp_path, Base.metadata) as engine:
        with Session(engine) as session:
            session.add(Document(id=1, file=FileObject("a.txt", content=b"old")))
            session.commit()
        yield engine


def lose_an_answer(engine: Engine) -> None:
    """COMMIT is carried out, and its answer never comes."""
    commit = engine.dialect.do_commit

    def do_commit(connection: object) -> None:
        engine.dialect.do_commit = commit  # type: ignore[method-assign]
        commit(connection)
        raise sqlite3.OperationalError("lost")

    with Session(engine) as session:
        session.get_one(Document, 1).file = FileObject("a.txt", content=b"new")
        session.flush()
        engine.dialect.do_commit = do_commit  # type: ignore[method-assign]
        with suppress(DBAPIError):
            session.commit()


def append_twice(engine: Engine) -> None:
    """Two sessions append to one list that both have seen empty."""
    with Session(engine) as one, Session(engine) as two:
        first, second = one.get_one(Document, 1), two.get_one(Document, 1)
        assert [*first.pages, *second.pages] == []
        one.rollback()
        first.pages.append(FileObject("a.txt", content=b"one"))
        one.commit()
        second.pages.append(FileObject("a.txt", content=b"two"))
        with suppress(ConcurrentFileChangeError):
            two.commit()


def share(engine: Engine) -> None:
    """Two rows share an object, as rows of advanced-alchemy may, and one is deleted."""
    storages.get("docs").put("shared.txt", [b"text"])
    facts = {"filename": "shared.txt", "backend": "docs"}
    table = Document.__table__.c
    with engine.begin() as connection:
        for number in (2, 3):
            statement = insert(Document.__table__).values(
                {table.id: number, table.title: "", table.pages: []}
            )
            connection.execute(statement)
        connection.exec_driver_sql(
            "UPDATE documents SET file = ? WHERE id > 1", (str(facts).replace("'", '"'),)
        )
    with Session(engine) as session:
        session.delete(session.get_one(Document, 2))
        session.commit()
    make_due(engine)
    drain(engine, Base)


def attach_what_was_swept(engine: Engine) -> None:
    """A file is stored, swept away as an orphan, and then given to a row."""
    staged = FileObject("a.txt", backend="docs", content=b"staged").save()
    sweep_all_now(engine, Base, grace=-10)
    make_due(engine)
    drain(engine, Base)
    with Session(engine) as session, suppress(StaleUploadError):
        session.get_one(Document, 1).file = staged
        session.commit()


def insert_by_core(engine: Engine) -> None:
    """A statement that no session sees gets a file whose content is not stored."""
    row = {"id": 2, "title": "", "file": FileObject("a.txt", content=b"text"), "pages": []}
    with engine.begin() as connection, suppress(PendingContentError):
        connection.execute(insert(Document.__table__), row)


HISTORIES: dict[str, Callable[[Engine], None]] = {
    "an unanswered COMMIT is not asked about": lose_an_answer,
    "pending content is written as a row": insert_by_core,
    "a drain does not look for references": share,
    "keys that are gone are forgotten": attach_what_was_swept,
}


@pytest.mark.parametrize("mutant", HISTORIES)
def test_a_row_dangles_only_without_its_guard(
    engine: Engine, folder: Path, mutant: str, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    if not is_guarded:
        MUTANTS[mutant](monkeypatch)
    HISTORIES[mutant](engine)
    assert bool(look(engine, folder).missing) is not is_guarded


@pytest.fixture(params=[True, False], ids=["guarded", "not guarded"])
def is_guarded(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_an_update_is_lost_only_without_the_comparison(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    if not is_guarded:
        MUTANTS["a list is not compared with its row"](monkeypatch)
    append_twice(engine)
    with Session(engine) as session:
        pages = [page.get_content() for page in session.get_one(Document, 1).pages]
    assert pages == ([b"one"] if is_guarded else [b"two"])
