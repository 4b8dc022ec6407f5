"""filecolumn at work on real files, with a look behind the session's back after every step.

`make demo` stores copies of this repository's sources, and of any files and folders that you
name: `make demo ARGS="one.pdf photos/"`.  The look itself is in witness.py.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID
from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from witness import Witness, console, say

from filecolumn import FileObject, FileObjectList, StorageError, StoredObject, storages
from filecolumn.backends import Stat
from filecolumn.backends.obstore import ObstoreBackend

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / name for name in ("README.md", "LICENSE", "examples", "src")]


class Base(DeclarativeBase):
    """Knows the tables."""


class Document(Base):
    """A record with a file, and with a list of files."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="documents"))
    attachments: Mapped[FileObjectList] = mapped_column(
        StoredObject(backend="documents", multiple=True), default=list
    )


async def run(paths: Sequence[Path], folder: Path) -> bool:
    """Take all steps in *folder*; return whether rows and objects agreed after each."""
    storage = MoodyStorage("documents", f"{folder.as_uri()}/uploads/")
    storages.register_backend(storage)
    engine = create_async_engine(URL.create("sqlite+aiosqlite", database=f"{folder}/demo.db"))
    use_real_savepoints(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    witness = Witness(folder / "demo.db", storage)
    async with async_sessionmaker(engine, expire_on_commit=False)() as session:
        await witness.step("1. Save files with their rows, in one commit", save(session, paths))
        await witness.step("2. Replace a file: the old object goes after the commit", replace(session))
        await witness.step("3. Store one, and roll back: nothing has changed", roll_back(session))
        await witness.step("4. Undo a savepoint, and commit what is around it", savepoint(session))
        await witness.step("5. Append to a list of files", append(session))
        await witness.step("6. Remove one from the list", remove(session))
        await witness.step("7. Delete a row: all its files go", delete(session))
        await witness.step("8. The storage refuses an upload: no row is written", refuse(session, storage))
        await witness.step("9. The same session works again", save_again(session))
    await engine.dispose()
    return witness.agrees


async def save(session: AsyncSession, paths: Sequence[Path]) -> None:
    with Progress(*Progress.get_default_columns()[:3], console=console) as progress:
        bar = progress.add_task(f"  {len(paths)} files", total=sum(path.stat().st_size for path in paths))
        for path in paths:
            name = os.fsencode(path.name).decode(errors="replace")
            # without the bar: FileObject(name, content=path)
            file = FileObject(name, content=watched(path, progress, bar))
            session.add(Document(title=Path(name).stem, file=file))
        await session.commit()


def watched(path: Path, progress: Progress, bar: TaskID) -> Iterator[bytes]:
    """Read a file and move a bar: any iterable of bytes can be stored, and is never held whole."""
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            progress.advance(bar, len(chunk))
            yield chunk


async def replace(session: AsyncSession) -> None:
    document = await session.get_one(Document, 1)
    document.file = FileObject("replaced.txt", content=b"a new version")
    await session.commit()


async def roll_back(session: AsyncSession) -> None:
    document = await session.get_one(Document, 2)
    document.file = unwanted = FileObject("unwanted.txt", content=b"stored until the rollback")
    await session.flush()
    say(f"after the flush:    {unwanted}")
    await session.rollback()
    say(f"after the rollback: {unwanted}")


async def savepoint(session: AsyncSession) -> None:
    outer, inner = await session.get_one(Document, 2), await session.get_one(Document, 3)
    outer.file = FileObject("outer.txt", content=b"kept")
    inside = await session.begin_nested()
    inner.file = FileObject("inner.txt", content=b"undone")
    await session.flush()
    await inside.rollback()
    await session.commit()


async def append(session: AsyncSession) -> None:
    document = await session.get_one(Document, 3)
    for name in ("first", "second", "third"):
        document.attachments.append(FileObject(f"{name}.txt", content=name.encode()))
    await session.commit()


async def remove(session: AsyncSession) -> None:
    document = await session.get_one(Document, 3)
    document.attachments.pop(0)
    await session.commit()


async def delete(session: AsyncSession) -> None:
    await session.delete(await session.get_one(Document, 3))
    await session.commit()


class MoodyStorage(ObstoreBackend):
    """A local folder that refuses the next upload when it is told to."""

    refuses_next = False

    def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:  # noqa: ANN401 - handed on
        if self.refuses_next:
            self.refuses_next = False
            raise StorageError("no space left (not really: the demo asked for this)")
        return super().put(key, chunks, **options)


async def refuse(session: AsyncSession, storage: MoodyStorage) -> None:
    storage.refuses_next = True
    session.add(Document(title="Refused", file=FileObject("refused.txt", content=b"never stored")))
    try:
        await session.commit()
    except StorageError as error:
        say(f"commit() raised {type(error).__name__}: {error}")
        await session.rollback()


async def save_again(session: AsyncSession) -> None:
    session.add(Document(title="Again", file=FileObject("again.txt", content=b"the session works")))
    await session.commit()


def use_real_savepoints(engine: AsyncEngine) -> None:
    """Apply the recipe of SQLAlchemy's documentation, without which SQLite's driver breaks savepoints."""

    @event.listens_for(engine.sync_engine, "connect")
    def leave_transactions_to_us(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def files_in(path: Path) -> Iterator[Path]:
    """Yield *path*, or the files in the folder that it is; hidden ones and links are left out."""
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for file in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if file.is_file() and not file.is_symlink() and os.access(file, os.R_OK):
                yield file


def existing(text: str) -> Path:
    path = Path(text).resolve()
    if (path.is_file() or path.is_dir()) and os.access(path, os.R_OK):
        return path
    raise argparse.ArgumentTypeError(f"{text!r} is no file or folder that can be read")


def main() -> int:
    parser = argparse.ArgumentParser(description="filecolumn at work on real files")
    parser.add_argument(
        "path", nargs="*", type=existing, help="your own files, or folders of files, to store"
    )
    parser.add_argument("--keep", metavar="DIR", type=Path, help="work in this new folder, and keep it")
    arguments = parser.parse_args()
    if arguments.keep and arguments.keep.exists():
        parser.error(f"{arguments.keep} is there already; --keep makes a new folder")
    paths = [file for source in (*arguments.path, *SOURCES) for file in files_in(source)]
    with tempfile.TemporaryDirectory(prefix="filecolumn-") as temporary:
        folder = Path(arguments.keep or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        console.print(f"Database and storage are in {folder}", soft_wrap=True)
        agrees = asyncio.run(run(paths, folder))
    console.print("\nThe folder stays." if arguments.keep else "\nThe folder is gone; --keep DIR keeps one.")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
