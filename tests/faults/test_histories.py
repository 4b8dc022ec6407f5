"""Whatever two sessions, operators and failures do in whatever order: rows, ledger and storage agree.

Hypothesis makes up the histories; the model has no locks: whoever is refused because of the other
has lost a race, and its session rolls back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from filecolumn import CommitOutcomeUnknownError, FileObject, StaleUploadError, StorageError
from filecolumn.maintenance import drain
from filecolumn.testing import assert_consistent
from tests.faults.actor import Actor, is_blocked, is_conflict, labelled
from tests.faults.beliefs import Chronicle, Row
from tests.faults.world import World
from tests.profiles import SECONDS, bounds
from tests.scenarios.models import Base, Document

pytestmark = pytest.mark.timeout(SECONDS)

Who = st.sampled_from([0, 0, 0, 1])
"""One of the sessions gets further than the other, which disturbs it."""
Number = st.integers(1, 5)
"""Of a row: few, so that the sessions meet."""

SKEW = 10.0
"""Seconds that a file's time may be ahead of the database's."""

ENDS = ("rollback", "close", "full storage", "refused deletions", "refused undoing")
ASKED = ("at once", "later", "when it is back")
"""How a transaction ends that does not just commit, and when the database says so that gave no answer."""


class Histories(RuleBasedStateMachine):
    """Two sessions on one database, and what they must come to."""

    kind: ClassVar[str]
    """One of `STORAGE_OF`."""

    world: World

    @initialize(has_triggers=st.booleans())
    def begin(self, has_triggers: bool) -> None:
        self.has_triggers = has_triggers
        self.world = World(self.kind, has_triggers=has_triggers)
        self.chronicle = Chronicle()
        self.bodies = 0
        self.strays: frozenset[str] = frozenset()
        """Keys that the ledger has as live, until a sweep: nobody told it that their rows were deleted."""
        self.misjudged: frozenset[str] = frozenset()
        """Keys of rows that the ledger has as doomed, until a drain: it was told that other rows lost them."""
        self.orphans: set[str] = set()
        """What a failure may have left in the storage, until a sweep."""
        self.actors = [Actor(self.world, self.chronicle) for _ in range(2)]
        for number in (1, 2, 3, 4):
            self.insert(self.actors[0], number, None)
        self.end_by_commit(self.actors[0])

    def teardown(self) -> None:
        if not hasattr(self, "actors"):
            return
        if sys.exception() is None:
            self.put_right()
        for actor in self.actors:
            actor.close()
        self.world.close()

    def new(self, name: str = "same.txt") -> FileObject:
        self.bodies += 1
        return FileObject(
            name, backend="docs", content=b"%d" % self.bodies, metadata={"body": str(self.bodies)}
        )

    @property
    def body(self) -> tuple[bytes, int]:
        return b"%d" % self.bodies, 0

    def other(self, actor: Actor) -> Actor:
        return next(other for other in self.actors if other is not actor)

    @contextmanager
    def attempt(self, who: int) -> Generator[Actor]:
        """Let a session do something, which may fail because of the other one only."""
        actor = self.actors[who]
        try:
            yield actor
        except Exception as error:
            if not is_conflict(error):
                raise
            self.blame(actor, error)
            actor.rollback()
            self.ended()

    def blame(self, actor: Actor, error: Exception) -> None:
        """Find out what has made a session fail."""
        is_disturbed = actor.is_swept if isinstance(error, StaleUploadError) else actor.is_disturbed
        is_raw = actor.changes.is_raw or self.misjudged
        assert is_disturbed or is_raw or self.other(actor).is_active, f"for no reason: {error!r}"

    # What programs do to records

    @rule(who=Who)
    def read(self, who: int) -> None:
        """Load all rows, which others may then change."""
        with self.attempt(who) as actor:
            for number in (1, 2, 3, 4, 5):
                actor.see(number)

    @rule(who=Who, one=Number)
    def add(self, who: int, one: int) -> None:
        """Insert a row, or put a new one in the place of one that is deleted by the same flush."""
        with self.attempt(who) as actor:
            self.insert(actor, one, actor.see(one))

    def insert(self, actor: Actor, number: int, seen: Row | None) -> Row:
        document, row = self.new_document(number)

        def act(session: Session) -> None:
            if seen is not None:
                session.delete(session.get_one(Document, number))
            session.add(document)

        actor.run(act)
        actor.put(number, seen, row)
        if seen is not None:
            actor.flush()
        return row

    def new_document(self, number: int) -> tuple[Document, Row]:
        """Make a record; every other has a list."""
        document, row = Document(id=number, file=self.new()), Row(file=self.body)
        if number % 2:
            document.pages = [self.new()]
            row = replace(row, pages=(self.body,))
        return document, row

    def need(self, actor: Actor, number: int) -> Row:
        """Return what a session sees of a row, which it inserts if there is none."""
        return actor.see(number) or self.insert(actor, number, None)

    @rule(who=Who, one=Number, kind=st.sampled_from(["new", "none", "staged", "unseen"]))
    def replace(self, who: int, one: int, kind: str) -> None:
        with self.attempt(who) as actor:
            match kind:
                case "new":
                    self.replace_file(actor, one, self.new())
                case "none":
                    self.replace_file(actor, one, None)
                case "staged":
                    file = self.new()
                    actor.is_swept = False
                    self.world.wait(self.world.driver.save(file))
                    self.orphans.add(file.path or "")
                    self.replace_file(actor, one, file)
                case _:
                    row, file = self.need(actor, one), self.new()
                    actor.change(one, row, lambda document: setattr(document, "scan", file), scan=self.body)

    def replace_file(self, actor: Actor, number: int, file: FileObject | None) -> None:
        row = self.need(actor, number)
        if file is not None or row.file is not None:
            body = labelled(file)
            actor.change(number, row, lambda document: setattr(document, "file", file), file=body)

    @rule(who=Who, one=Number, two=Number, swaps=st.booleans())
    def copy_or_swap(self, who: int, one: int, two: int, swaps: bool) -> None:
        with self.attempt(who) as actor:
            first, second = self.need(actor, one), self.need(actor, two)
            if first.file == second.file:
                return

            def act(session: Session) -> None:
                a, b = session.get_one(Document, one), session.get_one(Document, two)
                a.file, b.file = b.file, b.file if not swaps else a.file

            actor.run(act)
            actor.wrote(one, first, file=second.file)
            if swaps:
                actor.wrote(two, second, file=first.file)

    @rule(
        who=Who, one=Number, change=st.sampled_from(["append", "append", "pop", "reverse", "clear", "double"])
    )
    def change_list(self, who: int, one: int, change: str) -> None:
        with self.attempt(who) as actor:
            row, file = self.need(actor, one), self.new()
            pages = row.pages
            act: dict[str, Callable[[Document], object]] = {
                "append": lambda document: document.pages.append(file),
                "pop": lambda document: document.pages.pop(0),
                "reverse": lambda document: document.pages.reverse(),
                "clear": lambda document: document.pages.clear(),
                "double": lambda document: document.pages.extend(document.pages.copy()),
            }
            changed = {
                "append": (*pages, self.body),
                "pop": pages[1:],
                "reverse": pages[::-1],
                "clear": (),
                "double": pages * 2,
            }[change]
            # what changes nothing is not written, and a list is not to grow with every turn
            if changed != pages and len(changed) <= 4:
                actor.change(one, row, act[change], pages=changed)

    @rule(who=Who, one=Number, two=Number)
    def move_page(self, who: int, one: int, two: int) -> None:
        with self.attempt(who) as actor:
            source, target = self.need(actor, one), self.need(actor, two)
            if one == two or not source.pages:
                return

            def act(session: Session) -> None:
                giver, taker = session.get_one(Document, one), session.get_one(Document, two)
                taker.pages.append(giver.pages.pop(0))

            actor.run(act)
            actor.wrote(one, source, pages=source.pages[1:])
            actor.wrote(two, target, pages=(*target.pages, source.pages[0]))

    @rule(who=Who, one=Number)
    def label(self, who: int, one: int) -> None:
        with self.attempt(who) as actor:
            # until a flush two rows may share one object: what is said of it is said of both
            actor.flush()
            row = self.need(actor, one)
            if row.file is not None:
                body, label = row.file

                def act(document: Document) -> None:
                    assert document.file is not None
                    document.file.update_metadata({"label": label + 1})

                actor.change(one, row, act, file=(body, label + 1))

    @rule(who=Who, one=Number)
    def delete(self, who: int, one: int) -> None:
        with self.attempt(who) as actor:
            row = self.need(actor, one)
            actor.run(lambda session: session.delete(session.get_one(Document, one)))
            actor.put(one, row, None)
            # else a later rule could load the row again, which SQLAlchemy still finds
            actor.flush()

    @rule(
        who=Who, one=Number, two=Number, kind=st.sampled_from(["update", "delete", "raw delete", "raw move"])
    )
    def execute(self, who: int, one: int, two: int, kind: str) -> None:
        """Change rows by a statement, whatever the session has seen of them."""
        file = self.new()
        with self.attempt(who) as actor:
            actor.flush()
            match kind:
                case "update":
                    actor.run(
                        lambda s: s.execute(update(Document).where(Document.id == one).values(file=file))
                    )
                case "delete":
                    actor.run(lambda s: s.execute(delete(Document).where(Document.id == one)))
                case "raw delete":
                    actor.run(lambda s: s.execute(text(f"DELETE FROM documents WHERE id = {one}")))
                case _:
                    self.move_raw(actor, one, two)
                    return
            if (row := actor.changes.found(one, self.chronicle.now)) is None:
                return
            if kind == "update":
                actor.changes.write(one, row, file=self.body)
            else:
                actor.changes.put(one, None)
                actor.changes.is_raw |= kind == "raw delete"
            actor.settle()
            actor.expire(one)

    def move_raw(self, actor: Actor, one: int, two: int) -> None:
        """Give a file of one row to another: the database is told only that one has lost it."""
        giver, taker = (actor.changes.found(number, self.chronicle.now) for number in (one, two))
        if giver is None or taker is None or giver.file is None or one == two:
            return
        give = "UPDATE documents SET file = CAST((SELECT file FROM (SELECT * FROM documents) d WHERE id = {}) AS {})"
        kind = {"sqlite": "TEXT", "postgresql": "JSONB"}.get(self.world.driver.dialect, "CHAR")
        actor.run(lambda s: s.execute(text(f"{give.format(one, kind)} WHERE id = {two}")))
        actor.run(lambda s: s.execute(text(f"UPDATE documents SET file = NULL WHERE id = {one}")))
        actor.changes.write(one, giver, file=None)
        actor.changes.write(two, taker, file=giver.file)
        actor.changes.is_raw = True
        actor.settle()
        for number in (one, two):
            actor.expire(number)

    # What they do to their sessions

    @rule(who=Who, one=Number, how=st.sampled_from(["flush", "expire all", "expire", "refresh"]))
    def forget(self, who: int, one: int, how: str) -> None:
        with self.attempt(who) as actor:
            match how:
                case "expire" | "refresh":
                    actor.expire(one, reads=how == "refresh")
                case _:
                    actor.flush()
                    if how == "expire all":
                        actor.session.sync.expire_all()

    @rule(who=Who)
    def begin_nested(self, who: int) -> None:
        with self.attempt(who) as actor:
            if len(actor.savepoints) < 3:
                actor.save()

    @rule(who=Who, one=Number, releases=st.booleans(), flushes=st.booleans(), level=st.integers(0, 2))
    def end_nested(self, who: int, one: int, releases: bool, flushes: bool, level: int) -> None:
        """Replace a file in a savepoint, and leave it."""
        with self.attempt(who) as actor:
            if not actor.savepoints:
                actor.save()
            self.replace_file(actor, one, self.new())
            if flushes:
                actor.flush()
            if releases:
                actor.release()
            else:
                actor.undo(level % len(actor.savepoints))

    @rule(who=Who)
    def commit(self, who: int) -> None:
        with self.attempt(who) as actor:
            self.end_by_commit(actor)
            self.ended()

    # one rule, so that histories have longer transactions than five would give
    @rule(who=Who, how=st.sampled_from((*ENDS, *ASKED)), arrives=st.booleans())
    def end(self, who: int, how: str, arrives: bool) -> None:
        if how in ASKED:
            self.lose_commit(who, how, arrives=arrives)
            return
        storage = self.world.storage
        with self.attempt(who) as actor:
            storage.refuses_deletions = how.startswith("refused")
            storage.puts_left = 1 if how == "full storage" else None
            try:
                match how:
                    case "rollback" | "refused undoing":
                        actor.rollback()
                    case "close":
                        actor.close()
                    case _:
                        self.end_by_commit(actor)
            except StorageError:
                assert how == "full storage"
                actor.rollback()
            finally:
                storage.refuses_deletions, storage.puts_left = False, None
            if how == "refused undoing":
                self.allow_orphans()
            self.ended()

    def lose_commit(self, who: int, asked: str, *, arrives: bool) -> None:
        """Commit without an answer; the database has to say what became of it."""
        with self.attempt(who) as actor:
            actor.flush()
            if not actor.is_active:
                return
            actor.run(lambda session: session.connection())
            error = self.world.lose_answer(actor.commit, arrives=arrives)
            changes = actor.changes
            if asked == "at once":
                self.ask(error, arrives)
            with self.world.unreachable() if asked == "when it is back" else nullcontext():
                actor.rollback()
            self.ask(error, arrives)
            if arrives:
                actor.changes = changes
                self.has_committed(actor)
            if not isinstance(error, CommitOutcomeUnknownError):
                self.allow_orphans()
            self.ended()

    def ask(self, error: Exception, arrives: bool) -> None:
        # a transaction without new content leaves nothing to ask for
        if isinstance(error, CommitOutcomeUnknownError):
            answer = self.world.wait(error.resolve_async()) if self.world.driver.is_async else error.resolve()
            assert answer is arrives

    def end_by_commit(self, actor: Actor) -> None:
        actor.commit()
        self.has_committed(actor)

    def has_committed(self, actor: Actor) -> None:
        if actor.changes.rows:
            self.chronicle.add(actor.changes.merged(self.chronicle.now))
        # SQLite lets nobody write who has read before a commit, of whatever
        self.other(actor).is_disturbed |= bool(actor.changes.rows) or self.world.is_sqlite
        if actor.changes.is_raw:
            found = self.world.look()
            if self.has_triggers:
                self.misjudged |= found.keys & found.doomed
            else:
                self.strays |= found.live - found.keys
        actor.begin()

    # What operators and failures do

    @rule(
        what=st.sampled_from(
            ["drain", "drain one", "refused drain", "sweep", "clean up", "clean up", "restart"]
        )
    )
    def trouble(self, what: str) -> None:
        match what:
            case "sweep":
                self.sweep()
            case "clean up":
                self.sweep()
                self.drain(None, refuses=False)
            case "restart":
                self.restart()
            case _:
                self.drain(1 if what == "drain one" else None, refuses=what == "refused drain")

    def drain(self, limit: int | None, *, refuses: bool) -> None:
        before = self.world.look()
        self.world.storage.refuses_deletions = refuses
        with self.maintenance():
            self.world.make_due()
            assert self.world.maintain(drain, limit=limit).restored <= len(before.keys & before.doomed)
        self.world.storage.refuses_deletions = False
        self.misjudged &= self.world.look().doomed

    def sweep(self) -> None:
        for actor in self.actors:
            actor.is_swept = True
        with self.maintenance():
            self.world.sweep_all_now(-SKEW)
        found = self.world.look()
        self.strays &= found.live

    @contextmanager
    def maintenance(self) -> Generator[None]:
        """Let an operator's command fail beside open transactions only."""
        is_beside = any(actor.is_active for actor in self.actors)
        try:
            yield
        except DBAPIError as error:
            if not is_beside or not is_blocked(error):
                raise
        # whoever has read already may not write any more
        for actor in self.actors:
            actor.is_disturbed |= self.world.is_sqlite and actor.is_active

    def restart(self) -> None:
        """End the process where it stands, and begin another."""
        for actor in self.actors:
            actor.die()
        self.world.end()
        self.world.start()
        self.actors = [Actor(self.world, self.chronicle) for _ in range(2)]
        self.allow_orphans()

    # What must hold

    @invariant()
    def what_is_committed_is_there(self) -> None:
        if hasattr(self, "actors"):
            found = self.world.look()
            assert found.rows == self.chronicle.now
            assert found.keys - found.live <= self.misjudged, "the ledger does not know of a row"
            assert found.live - found.keys <= self.strays, "the ledger has keys as live that no row has"

    def ended(self) -> None:
        """Nothing is left behind, but what is known to be."""
        if not any(actor.is_active for actor in self.actors):
            found = self.world.look()
            left = found.objects - found.keys - found.doomed - self.strays - self.orphans
            assert not left, f"nobody will delete {left}"

    def allow_orphans(self) -> None:
        found = self.world.look()
        self.orphans |= found.objects - found.keys

    def put_right(self) -> None:
        """Do what an operator does: then every object has its row."""
        for actor in self.actors:
            actor.close()
        before = self.world.look()
        self.world.make_due()
        assert self.world.maintain(drain).restored == len(before.keys & before.doomed)
        self.world.sweep_all_now(-SKEW)
        assert self.world.maintain(drain).restored == 0
        found = self.world.look()
        assert found.objects == found.keys == found.live
        assert not found.doomed
        assert_consistent(self.world.reader, Base, allow=())


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
TestSync.settings, TestAsync.settings = bounds(), bounds(0.2)
TestPsycopg.settings = bounds(0.1)
TestAsyncpg.settings = TestPymysql.settings = bounds(0.05)
