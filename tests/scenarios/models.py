"""The models of the scenarios."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, mapped_column, relationship

from filecolumn import FileObject, FileObjectList, StoredObject


class Base(DeclarativeBase):
    """Base of the models."""

    # MariaDB wants a length
    type_annotation_map = {str: String(200)}


class Document(Base):
    """One file, a list of files, and a file that is not loaded with the row."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(backend="docs", multiple=True), default=list)
    scan: Mapped[FileObject | None] = deferred(mapped_column(StoredObject(backend="docs")))


class Strict(Base):
    """A file that a row cannot be without."""

    __tablename__ = "strict"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject(backend="docs"), nullable=False)


class Folder(Base):
    """A parent whose children live and die with it."""

    __tablename__ = "folders"

    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship(cascade="all, delete-orphan", order_by="Item.id")


class Item(Base):
    """A child with a file."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folders.id"))
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


class Media(Base):
    """The base of a joined inheritance, with a file of its own."""

    __tablename__ = "media"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    original: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "media"}


class Video(Media):
    """A subclass that adds a file in its own table."""

    __tablename__ = "videos"

    id: Mapped[int] = mapped_column(ForeignKey("media.id"), primary_key=True)
    poster: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))

    __mapper_args__ = {"polymorphic_identity": "video"}
