"""Files found by what their rows say of them: conditions, sums, and pages of a sorted list."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import Index, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, StoredObject, fact, storages


class Base(DeclarativeBase):
    """Knows the tables."""


class Document(Base):
    """A record with a file, or without."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="documents"))


NAME = fact(Document.file, "filename")
SIZE = fact(Document.file, "size")
TYPE = fact(Document.file, "content_type")
LINES = fact(Document.file, "metadata")["lines"].as_integer()
Index("ix_documents_size", SIZE, Document.id)


async def fill(session: AsyncSession) -> None:
    """Store the sources of the examples, and one record that has no file yet."""
    for path in sorted(path for path in Path(__file__).parent.rglob("*") if path.is_file()):
        if "__pycache__" not in path.parts:
            lines = path.read_bytes().count(b"\n")
            session.add(Document(file=FileObject(path.name, content=path, metadata={"lines": lines})))
    session.add(Document())
    await session.commit()


async def find(session: AsyncSession) -> None:
    """Print what is large, and who has many lines."""
    large = select(NAME, SIZE).where(TYPE.startswith("text/"), SIZE > 10_000).order_by(SIZE.desc())
    for name, size in await session.execute(large.limit(3)):
        print(f"large    {name:20} {size:7}")
    for name, lines in await session.execute(select(NAME, LINES).where(LINES > 200).order_by(NAME)):
        print(f"long     {name:20} {lines:7} lines")


async def add_up(session: AsyncSession) -> None:
    """Print how much there is of each type."""
    of_type = (
        select(TYPE, func.count(), func.sum(SIZE)).where(TYPE.is_not(None)).group_by(TYPE).order_by(TYPE)
    )
    for content_type, count, size in await session.execute(of_type):
        print(f"sum      {content_type:20} {size:7} in {count}")


async def pages(session: AsyncSession, length: int) -> AsyncIterator[list[str | None]]:
    """Yield all names by size, page by page: what has no size comes last."""
    by = SIZE
    statement = select(Document.id, NAME, by).order_by(by.is_(None), by, Document.id).limit(length)
    rows = (await session.execute(statement)).all()
    while rows:
        yield [name for _, name, _ in rows]
        number, _, size = rows[-1]
        behind = and_(by.is_(None), Document.id > number)
        if size is not None:
            behind = or_(and_(by >= size, or_(by > size, Document.id > number)), by.is_(None))
        rows = (await session.execute(statement.where(behind))).all()


async def main(folder: Path) -> None:
    storages.register_backend(f"{folder.as_uri()}/uploads/", key="documents")
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/app.db")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with async_sessionmaker(engine)() as session:
        await fill(session)
        await find(session)
        await add_up(session)
        listed = [name async for page in pages(session, length=5) for name in page]
        print("listed  ", len(listed), "of", await session.scalar(select(func.count(Document.id))))
    await engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder).resolve()))
