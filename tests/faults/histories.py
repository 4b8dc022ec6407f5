"""What a worker process does until it is killed: a made-up history on documents, lists and folders.

The same steps run in sync sessions and in async ones.  `FILECOLUMN_FAILPOINTS` says where the
worker dies.  Every content is new and says what it is, so that the parent can tell whose it was.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable
from contextlib import suppress

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from filecolumn import FileObject, StorageError, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from filecolumn.testing.failpoints import VARIABLE, install_from_environment
from tests.faults.due import make_due, sweep_all_now
from tests.scenarios.drivers import use_real_savepoints
from tests.scenarios.models import Base, Document, Folder, Item

Step = Callable[["History"], None]


class UndoneError(Exception):
    """Rolls back."""


class MoodyStorage(ObstoreBackend):
    """A local folder that refuses to delete now and then."""

    moody: random.Random

    def delete(self, keys: Iterable[str]) -> None:
        if self.moody.random() < 0.2:
            raise StorageError("not now")
        super().delete(keys)

    async def delete_async(self, keys: Iterable[str]) -> None:
        if self.moody.random() < 0.2:
            raise StorageError("not now")
        await super().delete_async(keys)


class History:
    """One session after another, on rows 1 to 5 of two tables."""

    def __init__(self, engine: Engine, folder: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.engine = engine
        if engine.dialect.name == "sqlite":
            use_real_savepoints(self.engine)
            event.listen(
                self.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=off")
            )
        storage = MoodyStorage("docs", f"file://{folder}/", fsync=False)
        storage.moody = random.Random(seed + 1)
        storages.register_backend(storage)
        self.seed = seed
        self.bodies = 0
        self.session = Session(self.engine)
        self.loaded: list[Document] = []

    def run(self, steps: int) -> None:
        for _ in range(steps):
            with suppress(UndoneError), self.session:
                self.go_on(self.session)
                self.session.commit()

    async def run_async(self, engine: AsyncEngine, steps: int) -> None:
        session = AsyncSession(engine)
        self.session = session.sync_session
        for _ in range(steps):
            with suppress(UndoneError):
                async with session:
                    await session.run_sync(self.go_on)
                    await session.commit()

    def go_on(self, session: Session) -> None:
        """Take a few steps in *session*, which is the history's."""
        self.loaded.clear()
        for step in self.random.choices(STEPS, k=self.random.randint(1, 3)):
            step(self)

    def file(self) -> FileObject:
        self.bodies += 1
        body = f"{self.seed}:{self.bodies}:".encode()
        return FileObject(
            "a.txt", backend="docs", content=body + self.random.randbytes(self.random.choice([10, 3_000_000]))
        )

    def document(self) -> Document:
        """Return a row, a new one if it is not there."""
        number = self.random.randint(1, 5)
        found = self.session.get(Document, number)
        if found is None:
            self.session.add(found := Document(id=number, title=""))
        # a session does not keep what it loads
        self.loaded.append(found)
        return found


def replace(history: History) -> None:
    history.document().file = history.file()


def clear(history: History) -> None:
    history.document().file = None


def remove(history: History) -> None:
    found = history.session.get(Document, history.random.randint(1, 5))
    if found is not None:
        history.session.delete(found)
        history.session.flush()


def append(history: History) -> None:
    document = history.document()
    document.pages.append(history.file())


def pop(history: History) -> None:
    document = history.document()
    if document.pages:
        document.pages.pop(history.random.randrange(len(document.pages)))


def reverse(history: History) -> None:
    document = history.document()
    document.pages.reverse()


def move(history: History) -> None:
    one, other = history.document(), history.document()
    one.file, other.file = other.file, one.file


def copy(history: History) -> None:
    origin, target = history.document(), history.document()
    target.file = origin.file


def note(history: History) -> None:
    document = history.document()
    if document.file is not None and not document.file.has_pending_data:
        document.file.update_metadata({"n": history.random.random()})


def savepoint(history: History) -> None:
    with suppress(UndoneError), history.session.begin_nested():
        replace(history)
        remove(history)
        history.session.flush()
        if history.random.random() < 0.5:
            raise UndoneError


def undo(history: History) -> None:
    replace(history)
    history.session.flush()
    raise UndoneError


def orphan(history: History) -> None:
    folder = history.session.get(Folder, 1)
    if folder is None:
        history.session.add(folder := Folder(id=1))
    if folder.items and history.random.random() < 0.5:
        folder.items.pop()
    else:
        folder.items.append(Item(file=history.file()))


def drain_due(history: History) -> None:
    history.session.commit()
    make_due(history.engine)
    drain(history.engine, Base)


def sweep_all(history: History) -> None:
    """Sweep what killed workers left, with an orphan of one's own."""
    history.session.commit()
    history.file().save()
    sweep_all_now(history.engine, Base, grace=-10)


STEPS: list[Step] = [
    *[replace, append] * 3,
    *[clear, remove, pop, reverse, move, copy, note, savepoint, undo, orphan, drain_due, sweep_all],
]


def work(url: str, schema: str | None, folder: str, seed: int, steps: int, failpoints: str) -> None:
    """Run a history on the tables in *schema* in this process, which is a worker's own."""
    os.environ[VARIABLE] = failpoints
    options = {} if schema is None else {"schema_translate_map": {None: schema}}
    if make_url(url).get_dialect().is_async:
        asyncio.run(_work_async(create_async_engine(url, execution_options=options), folder, seed, steps))
        return
    history = History(create_engine(url, execution_options=options), folder, seed)
    install_from_environment()
    history.run(steps)


async def _work_async(engine: AsyncEngine, folder: str, seed: int, steps: int) -> None:
    history = History(engine.sync_engine, folder, seed)
    install_from_environment()
    await history.run_async(engine, steps)
    await engine.dispose()
