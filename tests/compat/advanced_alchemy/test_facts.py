"""Rows that advanced-alchemy wrote give the same facts in SQL as filecolumn's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from advanced_alchemy.types import FileObject as TheirFile
from advanced_alchemy.types import StoredObject as TheirColumn
from advanced_alchemy.types import storages as their_storages
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend as TheirBackend
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, storages
from filecolumn.backends.obstore import ObstoreBackend


class TheirBase(DeclarativeBase):
    """Base of the models of advanced-alchemy."""


class TheirDocument(TheirBase):
    __tablename__ = "their_documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[TheirFile | None] = mapped_column(TheirColumn(backend="theirs"))


class Base(DeclarativeBase):
    """Base of the models that read the same table."""


class Document(Base):
    __tablename__ = "their_documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="theirs"))


FILE: Any = Document.file
FACTS = (
    "filename",
    "path",
    "content_type",
    "checksum",
    "etag",
    "version_id",
    "size",
    "last_modified",
    "metadata",
)


@pytest.mark.parametrize("name", ["a.txt", "folder/sub/a.txt"])
def test_rows_of_advanced_alchemy_give_the_facts_of_their_files(tmp_path: Path, name: str) -> None:
    their_storages.register_backend(TheirBackend(fs=f"file://{tmp_path}/", key="theirs"))
    storages.register_backend(ObstoreBackend("theirs", fs=f"file://{tmp_path}/"))
    engine = create_engine("sqlite://")
    TheirBase.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            theirs = TheirFile(backend="theirs", filename=name, content=b"four", metadata={"owner": "ann"})
            theirs.save()
            session.add(TheirDocument(id=1, file=theirs))
            session.commit()
        with Session(engine) as session:
            file = session.get_one(Document, 1).file
            assert file is not None
            selected = session.execute(select(*(getattr(FILE, fact) for fact in FACTS), FILE.backend)).one()
            assert list(selected) == [*(getattr(file, fact) for fact in FACTS), "theirs"]
            assert selected[0] == "a.txt"
            assert session.scalars(select(Document.id).where(file == FILE)).all() == [1]
    finally:
        their_storages.unregister_backend("theirs")
        engine.dispose()
