"""Whatever is done in whatever order: rows and objects agree with a dict at every end of a transaction.

Hypothesis makes up the histories; the database is read by connections of its own.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import JSON, Integer, create_engine, delete, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from filecolumn import FileObject, OwnedFileError, StorageError, storages
from tests.profiles import SECONDS, bounds
from tests.scenarios.drivers import DriverSession, contents, stored
from tests.scenarios.fixtures import make_driver
from tests.scenarios.models import Document
from tests.scenarios.refusing_storage import RefusingStorage
from tests.servers.databases import SCHEMES

T = TypeVar("T")

AnyJson = JSON().with_variant(JSONB(), "postgresql")
READER = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}
ROWS = text("SELECT id, file, pages FROM documents").columns(id=Integer, file=AnyJson, pages=AnyJson)
"""What is committed, past the library."""

Pick = st.integers(0, 99)
"""Chooses among what there is, by its remainder."""


@dataclass(frozen=True)
class Row:
    """What a row is to hold."""

    file: bytes | None = None
    pages: tuple[bytes, ...] = ()
    label: int = 0
    """In the metadata of the file."""

    def contents(self) -> list[bytes]:
        return [*self.pages, *([] if self.file is None else [self.file])]


Rows = dict[int, Row]


class Histories(RuleBasedStateMachine):
    """A session, and the dict that it must agree with."""

    kind: ClassVar[str]
    """One of `STORAGE_OF`."""

    session: DriverSession

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        storages.clear_backends()
        self.storage = storages.register_backend(RefusingStorage("docs", "memory://"))
        self.driver = make_driver(self.kind, Path(self.folder.name))
        self.opened = AsyncExitStack()
        self.committed: Rows = {}
        self.rows: Rows = {}
        self.savepoints: list[tuple[Rows, object]] = []
        self.bodies = 0
        self.staged: list[FileObject] = []
        if self.kind not in SCHEMES:
            self.wait(self.driver.create())
        # not the driver's own kind: a sync connection of the tests'
        url = self.driver.sync_engine.url.set(drivername=READER[self.driver.dialect])
        self.reader = create_engine(url)
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.wait(self.opened.aclose())
            self.wait(self.driver.dispose())
            self.reader.dispose()
            self.loop.close()
            self.folder.cleanup()

    def wait(self, work):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(work)

    def open(self) -> None:
        self.session = self.wait(self.opened.enter_async_context(self.driver.session()))

    def run(self, call: Callable[[Session], T]) -> T:
        return self.wait(self.session.run(call))

    def load(self, number: int) -> Document:
        """Return a record, which the caller must hold while it changes it."""
        return self.run(lambda s: s.get_one(Document, number))

    def new(self) -> FileObject:
        self.bodies += 1
        return FileObject("same.txt", content=b"%d" % self.bodies)

    @property
    def body(self) -> bytes:
        return b"%d" % self.bodies

    def pick(self, number: int) -> int:
        return sorted(self.rows)[number % len(self.rows)]

    # What a program does to records

    @rule(pages=st.integers(0, 2), has_file=st.booleans())
    def add(self, pages: int, has_file: bool) -> None:
        number = max([0, *self.rows, *self.committed]) + 1
        document, row = Document(id=number), Row()
        if has_file:
            document.file = self.new()
            row = replace(row, file=self.body)
        for _ in range(pages):
            document.pages.append(self.new())
            row = replace(row, pages=(*row.pages, self.body))
        self.session.add(document)
        self.rows[number] = row

    @precondition(lambda self: self.rows)
    @rule(one=Pick, kind=st.sampled_from(["new", "none", "staged"]))
    def replace(self, one: int, kind: str) -> None:
        number = self.pick(one)
        file = None if kind == "none" else self.new()
        if kind == "staged":
            self.staged.append(self.wait(self.driver.save(file)))
        self.run(lambda s: setattr(s.get_one(Document, number), "file", file))
        self.rows[number] = replace(self.rows[number], file=None if file is None else self.body, label=0)

    @precondition(lambda self: self.rows)
    @rule(one=Pick, two=Pick)
    def copy(self, one: int, two: int) -> None:
        source, target = self.pick(one), self.pick(two)

        def act(s: Session) -> None:
            s.get_one(Document, target).file = s.get_one(Document, source).file

        self.run(act)
        file, label = self.rows[source].file, self.rows[source].label
        self.rows[target] = replace(self.rows[target], file=file, label=label)

    @precondition(lambda self: self.rows)
    @rule(one=Pick, two=Pick)
    def swap(self, one: int, two: int) -> None:
        first, second = self.pick(one), self.pick(two)

        def act(s: Session) -> None:
            a, b = s.get_one(Document, first), s.get_one(Document, second)
            a.file, b.file = b.file, a.file

        self.run(act)
        a, b = self.rows[first], self.rows[second]
        self.rows[first] = replace(a, file=b.file, label=b.label)
        self.rows[second] = replace(self.rows[second], file=a.file, label=a.label)

    @precondition(lambda self: self.rows)
    @rule(one=Pick)
    def append(self, one: int) -> None:
        number, file = self.pick(one), self.new()
        document = self.load(number)
        self.run(lambda _: document.pages.append(file))
        self.rows[number] = replace(self.rows[number], pages=(*self.rows[number].pages, self.body))

    @precondition(lambda self: self.rows)
    @rule(one=Pick, change=st.sampled_from(["pop", "reverse", "clear", "double"]))
    def change_list(self, one: int, change: str) -> None:
        number = self.pick(one)
        pages = self.rows[number].pages

        document = self.load(number)

        def act(_: Session) -> None:
            files = document.pages
            match change:
                case "pop" if files:
                    files.pop(0)
                case "reverse":
                    files.reverse()
                case "clear":
                    files.clear()
                case "double":
                    files.extend(files.copy())

        self.run(act)
        changed = {"pop": pages[1:], "reverse": pages[::-1], "clear": (), "double": pages * 2}[change]
        self.rows[number] = replace(self.rows[number], pages=changed)

    @precondition(lambda self: any(row.pages for row in self.rows.values()))
    @rule(one=Pick, two=Pick)
    def move_page(self, one: int, two: int) -> None:
        sources = sorted(number for number, row in self.rows.items() if row.pages)
        source, target = sources[one % len(sources)], self.pick(two)
        giver, taker = self.load(source), self.load(target)
        self.run(lambda _: taker.pages.append(giver.pages.pop(0)))
        moved = self.rows[source].pages[0]
        self.rows[source] = replace(self.rows[source], pages=self.rows[source].pages[1:])
        self.rows[target] = replace(self.rows[target], pages=(*self.rows[target].pages, moved))

    @precondition(lambda self: any(row.file for row in self.rows.values()))
    @rule(one=Pick)
    def label(self, one: int) -> None:
        numbers = sorted(number for number, row in self.rows.items() if row.file)
        number = numbers[one % len(numbers)]
        label = self.rows[number].label + 1
        document = self.load(number)
        self.run(lambda _: document.file.update_metadata({"label": label}))
        # until a flush two rows may share one object: what is said of it is said of both
        for other in list(self.rows):
            if self.run(lambda s, other=other: s.get_one(Document, other).file) is document.file:
                self.rows[other] = replace(self.rows[other], label=label)

    @precondition(lambda self: self.rows)
    @rule(one=Pick)
    def delete(self, one: int) -> None:
        number = self.pick(one)
        self.run(lambda s: s.delete(s.get_one(Document, number)))
        # else a later rule could load the row again, which SQLAlchemy still finds
        self.flush()
        del self.rows[number]

    @precondition(lambda self: self.rows)
    @rule(one=Pick)
    def delete_by_statement(self, one: int) -> None:
        number = self.pick(one)
        self.flush()
        self.run(lambda s: s.execute(delete(Document).where(Document.id == number)))
        del self.rows[number]

    @precondition(lambda self: self.rows)
    @rule(one=Pick)
    def replace_by_statement(self, one: int) -> None:
        number, file = self.pick(one), self.new()
        self.flush()
        self.run(lambda s: s.execute(update(Document).where(Document.id == number).values(file=file)))
        self.rows[number] = replace(self.rows[number], file=self.body, label=0)

    # What it does to the session

    def flush(self) -> None:
        self.wait(self.session.flush())

    @rule(expires=st.booleans())
    def flush_and_forget(self, expires: bool) -> None:
        self.flush()
        if expires:
            self.session.sync.expire_all()

    @precondition(lambda self: len(self.savepoints) < 3)
    @rule()
    def savepoint(self) -> None:
        nested = self.run(lambda s: s.begin_nested())
        self.savepoints.append((dict(self.rows), nested))

    @precondition(lambda self: self.savepoints)
    @rule()
    def release(self) -> None:
        _, nested = self.savepoints.pop()
        self.run(lambda _: nested.commit())

    @precondition(lambda self: self.savepoints)
    @rule()
    def undo(self) -> None:
        self.rows, nested = self.savepoints.pop()
        self.run(lambda _: nested.rollback())

    # one rule, so that histories have longer transactions than five would give
    @rule(how=st.sampled_from(["commit", "rollback", "close", "full storage", "refused deletions"]))
    def end(self, how: str) -> None:
        match how:
            case "commit":
                self.commit()
            case "rollback":
                self.wait(self.session.rollback())
            case "close":
                self.wait(self.session.close())
            case "full storage":
                self.commit_on_a_full_storage()
            case "refused deletions":
                self.storage.refuses_deletions = True
                self.commit()
                self.storage.refuses_deletions = False
                self.sweep()
        self.rows = dict(self.committed)
        self.ended()

    def commit(self) -> None:
        self.wait(self.session.commit())
        self.committed = dict(self.rows)

    def commit_on_a_full_storage(self) -> None:
        self.storage.puts_left = 1
        try:
            self.commit()
        except StorageError:
            self.wait(self.session.rollback())
        finally:
            self.storage.puts_left = None

    def sweep(self) -> None:
        """Delete what no row has, as an operator would."""
        self.storage.delete(stored().keys() - self.committed_keys())

    # What must hold

    def ended(self) -> None:
        self.savepoints.clear()
        for file in self.staged:
            with suppress(OwnedFileError):
                self.wait(self.driver.delete(file))
        self.staged.clear()
        wanted = sorted(body for row in self.committed.values() for body in row.contents())
        assert contents() == wanted

    def committed_rows(self) -> list[tuple[int, Any, Any]]:
        with self.reader.connect() as connection:
            return [tuple(row) for row in connection.execute(ROWS)]

    def committed_keys(self) -> set[str]:
        return {
            fact["to_filename"]
            for _, *columns in self.committed_rows()
            for column in columns
            for fact in facts_in(column)
        }

    @invariant()
    def no_committed_row_dangles(self) -> None:
        if hasattr(self, "committed"):
            self.agree_with_the_database(stored())

    def agree_with_the_database(self, objects: dict[str, bytes]) -> None:
        keys: list[str] = []

        def read(column: object) -> Iterator[bytes]:
            for fact in facts_in(column):
                keys.append(fact["to_filename"])
                yield objects[fact["to_filename"]]

        rows = {
            number: Row(next(read(file), None), tuple(read(pages)), label_in(file))
            for number, file, pages in self.committed_rows()
        }
        assert rows == self.committed
        assert len(set(keys)) == len(keys), "two rows share an object"


def facts_in(column: Any) -> list[dict[str, Any]]:
    """Return what a row's column says of its files."""
    facts = column or []
    return facts if isinstance(facts, list) else [facts]


def label_in(column: object) -> int:
    return sum(fact["metadata"].get("label", 0) for fact in facts_in(column))


pytestmark = pytest.mark.timeout(SECONDS)


class SyncHistories(Histories):
    kind = "sync-file"


class AsyncHistories(Histories):
    kind = "async-file"


class PsycopgHistories(Histories):
    kind = "psycopg"


class AsyncpgHistories(Histories):
    kind = "asyncpg"


class PymysqlHistories(Histories):
    kind = "pymysql"


TestSync, TestAsync = SyncHistories.TestCase, AsyncHistories.TestCase
TestPsycopg = pytest.mark.server(PsycopgHistories.TestCase)
TestAsyncpg = pytest.mark.server(AsyncpgHistories.TestCase)
TestPymysql = pytest.mark.server(PymysqlHistories.TestCase)
TestSync.settings = TestAsync.settings = bounds()
TestPsycopg.settings = TestAsyncpg.settings = TestPymysql.settings = bounds(0.2)
