"""Queries for facts of files, as mypy and pyright see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, assert_type

from sqlalchemy import ColumnElement, Index, func, or_, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from filecolumn import FactColumn, FileObject, FileObjectList, StoredObject, fact

Sort = Literal["size", "filename", "last_modified"]


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "typed_documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("files"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject("files", multiple=True), default=list)
    __table_args__ = (Index("ix_typed_documents_checksum", fact(file, "checksum")),)


size = fact(Document.file, "size")
metadata = fact(Document.file, "metadata")
Index("ix_typed_documents_size", size, Document.id)
TYPE_COLUMN = FactColumn("file_type", fact(Document.file, "content_type"))


def conditions(
    kind: str | None, least: int | None, owner: str | None, since: datetime | None
) -> Iterator[ColumnElement[bool]]:
    """Yield what a request asks for."""
    if kind is not None:
        yield fact(Document.file, "content_type").startswith(kind)
    if least is not None:
        yield assert_type(size >= least, ColumnElement[bool])
    if owner is not None:
        yield metadata["owner"] == owner
    if since is not None:
        yield fact(Document.file, "last_modified").as_datetime() >= since


def largest(session: Session, *, among: Sequence[ColumnElement[bool]] = ()) -> list[tuple[int, int]]:
    """Return the rows with a file by size, as their types are known."""
    statement = select(Document.id, size.label("size")).where(size.is_not(None), *among)
    return [(row.id, row.size) for row in session.execute(statement.order_by(size.desc(), Document.id))]


def used(session: Session) -> int:
    """Return the sum of all sizes."""
    return session.scalars(select(func.coalesce(func.sum(size), 0))).one()


def ids(session: Session, sort: Sort, condition: ColumnElement[bool]) -> Sequence[int]:
    """Return the keys of rows in an order that was chosen by name."""
    by = fact(Document.file, sort)
    return session.scalars(select(Document.id).where(condition).order_by(by.is_(None), by)).all()


def twins(session: Session) -> Sequence[int]:
    """Return the rows whose content another one has as well."""
    other = aliased(Document)
    same = fact(Document.file, "checksum") == fact(other.file, "checksum")
    return session.scalars(select(Document.id).join(other, same).where(Document.id != other.id)).all()


def with_pages(least: int) -> ColumnElement[bool]:
    """Return the condition of a page of some size: what a list has is not typed, what its files have is."""

    def is_large(page: ColumnElement[Any]) -> ColumnElement[bool]:
        return fact(page, "size") >= least

    return or_(Document.pages.some(is_large), Document.pages.count() == 0)


def check_types(saved: FileObject) -> None:
    """Say what the checkers know; `Document.file.size` itself is `Any`."""
    assert_type(size, ColumnElement[int])
    assert_type(fact(Document.file, "filename"), ColumnElement[str])
    assert_type(fact(Document.file, "last_modified") < 0, ColumnElement[bool])
    assert_type(metadata["width"]["unit"].as_string(), ColumnElement[str])
    assert_type(metadata["width"].as_integer(), ColumnElement[int])
    assert_type(metadata["width"].as_float(), ColumnElement[float])
    assert_type(metadata["tags"][0].as_boolean(), ColumnElement[bool])
    assert_type(metadata["tags"].exists(), ColumnElement[bool])
    assert_type(fact(Document.__table__.c.file, "size"), ColumnElement[int])
    assert_type(Document.file == saved, ColumnElement[bool])
    assert_type(Document.file.size, Any)
