"""The models that maintenance is tried on."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject


class Base(DeclarativeBase):
    """Base of the models."""


class Folder(Base):
    """A parent whose children the database deletes."""

    __tablename__ = "folders"

    id: Mapped[int] = mapped_column(primary_key=True)


class Document(Base):
    """A file and a list of files."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(backend="docs", multiple=True), default=list)


class Item(Base):
    """A child with a file and a key of two parts."""

    __tablename__ = "items"

    region: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folders.id", ondelete="CASCADE"))
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
