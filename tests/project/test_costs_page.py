"""The tables of the page "What it costs" say what operations cost: counted here, or taken from the charts' figures."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import JSON, Connection, Engine, Text, event, func, select, text, type_coerce
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks import charts
from benchmarks.budgets import BUDGETS, FLOOR, TEXT
from filecolumn import FileObject, FileObjectList, StoredObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.ledger import deletion
from filecolumn.ledger.table import LEDGER
from filecolumn.testing import WrappedBackend
from tests.backends.places import S3Folder
from tests.backends.test_obstore_suite import obstore_on_s3
from tests.orm.test_requests import Requests
from tests.servers import moto
from tests.servers.databases import own_database

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/growth.md"
FIGURES = ROOT / "docs/_data/growth.json"
STORAGE = "s"
REQUESTS = "Requests at S3"
REQUEST_OF = {"put": "PUT", "get": "GET", "delete": "POST"}
MEASURED = {
    "Save a file of 4 KiB": "growth/commit-1",
    "Save each of 100 files in one commit": "growth/commit-100",
    "Save a file of 1 MiB": "growth/size-1024",
    "Save a file of 8 MiB": "growth/size-8192",
    "Delete each of 200 rows in one commit": "growth/delete-among-1000",
    "Load a row, append to its list of 10 files": "lists/append-10",
    "Save in one of 16 async sessions": "sessions/sessions-16",
}
CONTENT = bytes(4096)
LENGTH = 10
"""Files in the list of an operation on lists."""


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend=STORAGE))


class Album(Base):
    __tablename__ = "albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[FileObjectList] = mapped_column(StoredObject(backend=STORAGE, multiple=True))


class Plain(DeclarativeBase): ...


class PlainDocument(Plain):
    __tablename__ = "plain_documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[Any] = mapped_column(JSON(none_as_null=True))


class PlainAlbum(Plain):
    __tablename__ = "plain_albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[Any] = mapped_column(JSON)


@dataclass(frozen=True)
class Kind:
    """What an operation works on: files, or the same facts in plain JSON."""

    document: Any
    album: Any
    new: Callable[[], Any]


FILES = Kind(Document, Album, lambda: FileObject("a.txt", content=CONTENT))
PLAIN = Kind(PlainDocument, PlainAlbum, lambda: {"key": os.urandom(16).hex()})


Operation = Callable[[Session, Kind], Iterator[None]]


def save(session: Session, kind: Kind) -> Iterator[None]:
    yield
    session.add(kind.document(file=kind.new()))
    session.commit()


def save_ten(session: Session, kind: Kind) -> Iterator[None]:
    yield
    session.add_all([kind.document(file=kind.new()) for _ in range(10)])
    session.commit()


def replace(session: Session, kind: Kind) -> Iterator[None]:
    document = newest(session, kind.document)
    yield
    document.file = kind.new()
    session.commit()


def delete(session: Session, kind: Kind) -> Iterator[None]:
    document = newest(session, kind.document)
    yield
    session.delete(document)
    session.commit()


def change_metadata(session: Session, kind: Kind) -> Iterator[None]:
    document = newest(session, kind.document)
    yield
    if kind is FILES:
        document.file.metadata = {"title": os.urandom(4).hex()}
    else:
        document.file = kind.new()
    session.commit()


def append(session: Session, kind: Kind) -> Iterator[None]:
    album = newest(session, kind.album)
    yield
    album.files = [*album.files, kind.new()]
    session.commit()


def roll_back(session: Session, kind: Kind) -> Iterator[None]:
    yield
    session.add(kind.document(file=kind.new()))
    session.flush()
    session.rollback()


def load(session: Session, kind: Kind) -> Iterator[None]:
    yield
    document = session.scalars(select(kind.document)).first()
    assert document is not None
    assert kind is PLAIN or document.file.size == len(CONTENT)


def read(session: Session, kind: Kind) -> Iterator[None]:
    document = newest(session, kind.document)
    yield
    if kind is FILES:
        assert document.file.get_content() == CONTENT


OPERATIONS = {
    "Save a file": save,
    "Save 10 files in one commit": save_ten,
    "Replace a file": replace,
    "Delete a row": delete,
    "Change a file's metadata": change_metadata,
    "Append to a list of 10 files": append,
    "Roll back a flushed file": roll_back,
    "Load a row and its facts": load,
    "Read the content": read,
}


def newest(session: Session, model: Any) -> Any:
    """Load the latest row, which has not been touched since it was made."""
    found = session.scalars(select(model).order_by(model.id.desc()).limit(1)).one()
    assert found.files if hasattr(found, "files") else found.file
    return found


class Count(NamedTuple):
    """What was seen of one operation."""

    statements: int
    entries: str
    """Rows of the ledger that were written, as the page has them."""
    syncs: int
    """Calls of `os.fsync`."""


class Seen:
    """What happens in a database and in the process from now on."""

    def __init__(self, engine: Engine, patch: pytest.MonkeyPatch) -> None:
        self.statements = 0
        self.syncs = 0
        self.entries = {"new": 0, "changed": 0}
        self._fsync = os.fsync
        event.listen(engine, "after_cursor_execute", self._statement)
        patch.setattr(os, "fsync", self._sync)

    def _statement(self, _connection: Connection, cursor: DBAPICursor, statement: str, *_: object) -> None:
        self.statements += 1
        for word, beginning in (("new", f"INSERT INTO {LEDGER} "), ("changed", f"UPDATE {LEDGER} ")):
            if statement.startswith(beginning):
                self.entries[word] += cursor.rowcount

    def _sync(self, descriptor: int) -> None:
        self.syncs += 1
        self._fsync(descriptor)


def listed(amounts: Mapping[str, int]) -> str:
    """Return amounts as the page has them."""
    return ", ".join(f"{amount} {name}" for name, amount in amounts.items() if amount) or "none"


def count(engine: Engine, kind: Kind, operation: Operation, begin: Callable[[], object]) -> Count:
    """Run an operation twice, and count the second: the first finds out whose database and storage these are.

    *begin* is called when the operation begins.
    """
    for _ in range(2):
        with Session(engine) as session:
            session.add(kind.document(file=kind.new()))
            session.add(kind.album(files=[kind.new() for _ in range(LENGTH)]))
            session.commit()
        with Session(engine) as session, pytest.MonkeyPatch.context() as patch:
            steps = operation(session, kind)
            next(steps)
            # what a process has deleted is recorded with a later commit: not with this one
            patch.setattr(deletion, "RECORDED_WITHIN", 3600)
            begin()
            seen = Seen(engine, patch)
            next(steps, None)
    return Count(seen.statements, listed(seen.entries), seen.syncs)


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with the tables of both kinds of models."""
    with own_database(getattr(request, "param", "sqlite"), tmp_path, Base.metadata) as engine:
        Plain.metadata.create_all(engine)
        yield engine


def on_page(column: str) -> dict[str, list[str]]:
    """Return the one table whose head has a cell *column*: its rows by their first cells."""
    (table,) = (table for table in tables() if any(column in cell for cell in next(iter(table.values()))))
    return table


def tables() -> Iterator[dict[str, list[str]]]:
    """Yield the tables of the page, the head first."""
    table: dict[str, list[str]] = {}
    for line in [*PAGE.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            first, *others = (cell.strip() for cell in line.strip("|").split("|"))
            table[first] = others
        elif table:
            yield table
            table = {}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_costs_what_the_page_says(engine: Engine, tmp_path: Path, name: str) -> None:
    operation = OPERATIONS[name]
    wrapped = storages.register_backend(WrappedBackend(ObstoreBackend(STORAGE, "memory://")))
    plain, files = (count(engine, kind, operation, wrapped.calls.clear) for kind in (PLAIN, FILES))
    storages.clear_backends()
    storages.register_backend(f"file://{tmp_path}/files/", key=STORAGE)
    on_disk = count(engine, FILES, operation, lambda: None)
    assert on_page(REQUESTS)[name][1:] == [
        str(files.statements - plain.statements),
        listed({REQUEST_OF[call]: times for call, times in wrapped.calls.items()}),
        str(on_disk.syncs),
        files.entries,
    ]


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_sends_a_server_the_statements_on_the_page(engine: Engine, name: str) -> None:
    wrapped = storages.register_backend(WrappedBackend(ObstoreBackend(STORAGE, "memory://")))
    plain, files = (count(engine, kind, OPERATIONS[name], wrapped.calls.clear) for kind in (PLAIN, FILES))
    assert on_page(REQUESTS)[name][0] == str(files.statements - plain.statements)


@pytest.mark.server
def test_s3_gets_the_requests_on_the_page(engine: Engine, tmp_path: Path) -> None:
    with moto.serving(tmp_path) as server:
        backend = storages.register_backend(obstore_on_s3(S3Folder(server)))
        requests = Requests(tmp_path / "log")
        for name, operation in OPERATIONS.items():
            count(engine, FILES, operation, requests.made)
            assert listed(Counter(requests.made())) == on_page(REQUESTS)[name][2], name
        backend.close()


@pytest.mark.parametrize("name", MEASURED)
def test_the_times_on_the_page_are_those_of_the_charts(name: str) -> None:
    contenders = json.loads(FIGURES.read_text())["measures"][MEASURED[name]]["contenders"]
    on_chart = [f"{contenders[contender]['cpu']['median'] * 1e3:.2f}" for contender in charts.CONTENDERS]
    assert on_page("advanced-alchemy")[name] == on_chart


def test_a_row_and_an_entry_have_the_size_on_the_page(engine: Engine) -> None:
    storages.register_backend("memory://", key=STORAGE)
    with Session(engine) as session:
        session.add_all([Document(file=FileObject("report.pdf", content=b"%PDF-1.4")) for _ in range(2000)])
        session.commit()
        row = session.scalar(select(func.length(type_coerce(Document.file, Text))).limit(1))
    Base.metadata.tables["documents"].drop(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))
        pages, page = (
            connection.execute(text(f"PRAGMA page_{what}")).scalar_one() for what in ("count", "size")
        )
    entry = pages * page / 2000
    sizes = on_page("bytes")
    assert (row, entry) == pytest.approx((int(sizes["JSON of a file"][0]), int(sizes["Ledger"][0])), rel=0.1)


def test_the_budgets_on_the_page_are_those_that_are_held() -> None:
    most = {budget.measure: budget.most for budget in BUDGETS if budget.reference in {FLOOR, TEXT}}
    page = PAGE.read_text(encoding="utf-8")
    assert f"at most {most['sqlite/replace']} times the floor" in page
    assert f"at most {most['reads/select-orm']} times a `String` column" in page
