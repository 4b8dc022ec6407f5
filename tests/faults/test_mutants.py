"""Each guard is taken out of the real code: a history then breaks a promise, which it keeps with the guard.

More of them are in `test_guards`: the question after an unanswered COMMIT, the refusal of pending
content, the look for a reference before a deletion, the memory of keys that are gone, and the
comparison with the row.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from filecolumn import (
    ConcurrentFileChangeError,
    FileObject,
    MaintenanceRefusedError,
    ObjectExistsError,
    StorageError,
    storages,
)
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain, install_triggers
from filecolumn.orm import rows
from filecolumn.testing import Fault, FaultyBackend
from filecolumn.testing.failpoints import failing
from tests.faults.due import make_due
from tests.faults.mutants import MUTANTS
from tests.faults.oracle import look
from tests.faults.test_guards import attach_what_was_swept, share
from tests.scenarios.models import Base, Document
from tests.servers.databases import own_database


@dataclass
class World:
    """A database with one row, whose file is in a folder."""

    engine: Engine
    folder: Path

    @property
    def missing(self) -> list[str]:
        return look(self.engine, self.folder).missing


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "docs"
    storages.register_backend(ObstoreBackend("docs", f"file://{folder}/", fsync=False))
    with own_database("sqlite", tmp_path, Base.metadata) as engine:
        with Session(engine) as session:
            session.add(Document(id=1, file=FileObject("a.txt", content=b"old")))
            session.commit()
        yield World(engine, folder)


def touch_what_another_replaces(world: World) -> list[str]:
    """A session changes a file's metadata, and before it writes another one replaces the file.

    The count is the second net behind the locked row, which is not locked here.
    """

    def replace_it() -> None:
        with Session(world.engine) as rival:
            rival.get_one(Document, 1).file = FileObject("a.txt", content=b"new")
            rival.commit()

    with Session(world.engine) as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "lock", lambda *_: None)
        document = session.get_one(Document, 1)
        assert document.file is not None
        document.file.update_metadata({"n": 1})
        with suppress(ConcurrentFileChangeError), failing("flush.before_ledger", replace_it):
            session.commit()
    return world.missing


def delete_one_of_two_that_share(world: World) -> list[str]:
    share(world.engine)
    return world.missing


def delete_one_of_two_from_before_the_ledger(world: World) -> list[str]:
    """Somebody copied a row by SQL, and nobody recorded what the two share."""
    with world.engine.begin() as connection:
        connection.execute(text("INSERT INTO documents SELECT 2, title, file, pages, scan FROM documents"))
        connection.execute(text("DELETE FROM filecolumn_ledger"))
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    return world.missing


def attach_a_swept_file(world: World) -> list[str]:
    attach_what_was_swept(world.engine)
    return world.missing


def store_less_than_was_sent(world: World) -> list[str]:
    """The storage loses half of the content and says nothing."""
    storages.register_backend(FaultyBackend(storages.get("docs"), Fault("put", "short")), replace=True)
    with Session(world.engine) as session, suppress(StorageError):
        session.add(Document(id=2, file=FileObject("a.txt", content=b"all of it")))
        session.commit()
    return look(world.engine, world.folder).corrupt


def ask_for_a_key_of_another(world: World) -> list[str]:
    """A row is to have its file where that of another row is."""
    with Session(world.engine) as session:
        file = session.get_one(Document, 1).file
        assert file is not None
        wanted = FileObject("a.txt", to_filename=file.path, content=b"new")
        session.add(Document(id=2, file=wanted))
        with suppress(ObjectExistsError):
            session.commit()
    return world.missing


def drain_twice_at_once(world: World) -> list[str]:
    """A drain takes its time, and another one begins: return what both deleted."""
    deleted: Counter[str] = Counter()

    class Counting(ObstoreBackend):
        def delete(self, keys: Collection[str]) -> None:  # type: ignore[override]
            deleted.update(keys)
            super().delete(keys)

    class Refusing(ObstoreBackend):
        def delete(self, keys: object) -> None:
            raise StorageError("not now")

    url = f"file://{world.folder}/"
    storages.register_backend(Refusing("docs", url, fsync=False), replace=True)
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    storages.register_backend(Counting("docs", url, fsync=False), replace=True)
    make_due(world.engine)
    with failing("drain.after_claim", lambda: drain(world.engine, Base)):
        drain(world.engine, Base)
    assert deleted
    return [key for key, times in deleted.items() if times > 1]


def put_a_row_back_while_a_drain_is_about_to_claim(world: World) -> list[str]:
    """SQL, watched by triggers, writes a row again whose key a drain has found in no row; return what is missing."""
    with world.engine.connect() as connection:
        [row] = connection.execute(text("SELECT file FROM documents WHERE id = 1")).scalars()
    install_triggers(world.engine, Base)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE documents SET file = NULL WHERE id = 1"))

    def put_back() -> None:
        with world.engine.begin() as connection:
            connection.execute(text("UPDATE documents SET file = :row WHERE id = 1"), {"row": row})

    make_due(world.engine)
    with failing("drain.before_claim", put_back):
        drain(world.engine, Base)
    return world.missing


def change_a_clone(world: World) -> list[str]:
    """A copy of the database deletes a row and drains; return what its original misses."""
    with Session(world.engine) as session:
        session.get_one(Document, 1).file = FileObject("a.txt", content=b"new")
        session.commit()  # the first removal marks the storage
    path = world.folder.parent / "clone.db"
    shutil.copy(str(world.engine.url.database), path)
    clone = create_engine(f"sqlite:///{path}")
    with Session(clone) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    make_due(clone)
    with suppress(MaintenanceRefusedError):
        drain(clone, Base)
    clone.dispose()
    return world.missing


HISTORIES: dict[str, Callable[[World], list[str]]] = {
    "kept keys are not counted": touch_what_another_replaces,
    "removed keys are not counted": delete_one_of_two_from_before_the_ledger,
    "a drain does not look its keys up": delete_one_of_two_that_share,
    "a drain claims what has changed since it looked": put_a_row_back_while_a_drain_is_about_to_claim,
    "a sweep looks, then deletes": attach_a_swept_file,
    "a new key is not claimed": attach_a_swept_file,
    "any size is believed": store_less_than_was_sent,
    "whatever lies at the key is deleted": ask_for_a_key_of_another,
    "a lease ends at once": drain_twice_at_once,
    "a commit does not ask whose the storage is": change_a_clone,
    "a drain does not ask whose the storage is": change_a_clone,
}


@pytest.mark.parametrize("mutant", HISTORIES)
def test_a_promise_is_broken_without_its_guard_only(world: World, mutant: str, is_guarded: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not is_guarded:
            MUTANTS[mutant](patch)
        violations = HISTORIES[mutant](world)
    assert (violations == []) is is_guarded, violations


@pytest.fixture(params=[True, False], ids=["guarded", "not guarded"])
def is_guarded(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
