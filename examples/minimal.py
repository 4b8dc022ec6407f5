"""filecolumn in one minute: save a file with its row, read it, replace it, delete it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject, storages


class Base(DeclarativeBase):
    """Knows the tables."""


class Document(Base):
    """A record with a file, and with a list of files."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="documents"))
    pages: Mapped[FileObjectList] = mapped_column(
        StoredObject(backend="documents", multiple=True), default=list
    )


async def main(folder: Path) -> None:
    storages.register_backend(f"{folder.as_uri()}/uploads/", key="documents")
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/app.db")
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)

    async with sessions() as session:
        report = FileObject("report.py", content=Path(__file__))
        document = Document(title="Report", file=report)
        session.add(document)
        await session.commit()  # content and row are durable when this returns
        print("saved   ", report.size, report.content_type, report.checksum)

        size = 0
        async for chunk in report.stream_async():
            size += len(chunk)
        print("read    ", size)

        document.file = FileObject("report.py", content=b"v2")
        document.pages.append(FileObject("page1.txt", content=b"page one"))
        await session.commit()  # a new object; the old one went after the commit
        print("replaced", document.file)

        await session.delete(document)
        await session.commit()
        print("deleted ", await document.file.exists_async())

    await engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder).resolve()))
