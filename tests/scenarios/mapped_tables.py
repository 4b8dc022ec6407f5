"""Models whose mapper, key or storage is not that of the only class of a table with a primary key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, Table, UniqueConstraint
from sqlalchemy.ext.declarative import ConcreteBase
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    mapped_column,
    relationship,
)

from filecolumn import FileObject, StoredObject
from tests.scenarios import models, more_models
from tests.scenarios.drivers import Driver


class Base(DeclarativeBase):
    """Base of the models."""

    type_annotation_map = models.Base.type_annotation_map


async def create_tables(driver: Driver) -> None:
    """Make the tables of this module; on a server they are there."""
    await more_models.create_tables(driver, Base)


# Several mappers on one table: who comes first is not who maps the files


class Binder(Base):
    """Owns reports that have no other reason to be."""

    __tablename__ = "binders"

    id: Mapped[int] = mapped_column(primary_key=True)
    reports: Mapped[list[SlimReport]] = relationship(cascade="all, delete-orphan")


reports = Table(
    "reports",
    Base.metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("binder_id", ForeignKey("binders.id")),
    Column("title", String(20)),
    Column("file", StoredObject(backend="docs")),
    Column("pages", StoredObject(backend="docs", multiple=True)),
)


class SlimReport(Base):
    """Maps no files, and has its own names for the rest."""

    __table__ = reports
    __mapper_args__ = {"exclude_properties": ["file", "pages"]}

    number = reports.c.id
    title = reports.c.title


class Report(Base):
    """Maps all columns."""

    __table__ = reports


class Scan(Base):
    """Maps all columns too, a file under another name; its list is passed over."""

    __table__ = reports
    __mapper_args__ = {"exclude_properties": ["pages"]}

    title = reports.c.title
    picture = reports.c.file


# A hierarchy in one table, and one whose files are in the table of a subclass


class Vehicle(Base):
    """A base without files."""

    __tablename__ = "vehicles"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(20))


class Car(Vehicle):
    """A subclass in the same table."""

    __mapper_args__ = {"polymorphic_identity": "car"}

    photo: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"), nullable=True)


class Paper(Base):
    """A base without files, whose key its subclass has under another name."""

    __tablename__ = "papers"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "paper"}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))


class Contract(Paper):
    """A subclass with a table and files of its own."""

    __tablename__ = "contracts"
    __mapper_args__ = {"polymorphic_identity": "contract"}

    contract_id: Mapped[int] = mapped_column(ForeignKey("papers.id"), primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


class SlimContract(Base):
    """The subclass's table alone, without its file."""

    __table__ = Contract.__table__
    __mapper_args__ = {"include_properties": ["contract_id"]}


class Twice(Base):
    """A column under two names, of which SQLAlchemy writes the last."""

    __table__ = Table(
        "twice",
        Base.metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("content", StoredObject(backend="docs")),
    )

    other = column_property(__table__.c.content)
    file = column_property(__table__.c.content)


# Keys


plain = Table(
    "without_key",
    Base.metadata,
    Column("room", String(20)),
    Column("shelf_no", Integer),
    Column("file", StoredObject(backend="docs")),
    Column("pages", StoredObject(backend="docs", multiple=True)),
)


class Loose(Base):
    """A table without any constraint; the mapper says what tells its rows apart, under names of its own."""

    __table__ = plain
    __mapper_args__ = {"primary_key": [plain.c.room, plain.c.shelf_no]}

    place = plain.c.room
    number = plain.c.shelf_no
    file = plain.c.file
    pages = plain.c.pages


class Coupon(Base):
    """A table without a primary key, whose rows a unique constraint tells apart."""

    __table__ = Table(
        "coupons",
        Base.metadata,
        Column("code", String(20)),
        Column("title", String(20)),
        Column("file", StoredObject(backend="docs")),
        UniqueConstraint("code", name="one_code"),
    )
    __mapper_args__ = {"primary_key": [__table__.c.code]}


class Article(Base):
    """A mapper whose key is not the table's."""

    __table__ = Table(
        "articles",
        Base.metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("slug", String(20), unique=True),
        Column("file", StoredObject(backend="docs")),
    )
    __mapper_args__ = {"primary_key": [__table__.c.slug]}


# A storage for each class


class Item(ConcreteBase, Base):
    """The base of a concrete hierarchy."""

    __tablename__ = "concrete_items"
    __mapper_args__ = {"polymorphic_identity": "concrete", "concrete": True}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    file: Mapped[Any] = mapped_column(StoredObject(backend="docs"), nullable=True)


class Cold(Item):
    """A file in another storage."""

    __tablename__ = "cold_items"
    __mapper_args__ = {"polymorphic_identity": "cold", "concrete": True}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    file: Mapped[Any] = mapped_column(StoredObject(backend="archive"), nullable=True)


class Bundle(Item):
    """A list of files in another storage."""

    __tablename__ = "bundle_items"
    __mapper_args__ = {"polymorphic_identity": "bundle", "concrete": True}

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    file: Mapped[Any] = mapped_column(StoredObject(backend="archive", multiple=True), nullable=True)


class Twofold(Base):
    """A row with a file in each storage."""

    __tablename__ = "twofold"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str | None] = mapped_column(String(20))
    near: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    far: Mapped[FileObject | None] = mapped_column(StoredObject(backend="archive"))


# What is no table


class Folder(Base):
    """One half of a join."""

    __tablename__ = "join_folders"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    cover: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


class Sheet(Base):
    """The other half."""

    __tablename__ = "join_sheets"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    folder_id: Mapped[int] = mapped_column(ForeignKey("join_folders.id"))
    text: Mapped[str | None] = mapped_column(String(20))
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


class Filed(Base):
    """A sheet and its folder as one."""

    __table__ = Folder.__table__.join(Sheet.__table__)

    id = column_property(Folder.__table__.c.id, Sheet.__table__.c.folder_id)
    sheet_id = Sheet.__table__.c.id


class SheetAlias(Base):
    """Reads sheets through an alias."""

    __table__ = Sheet.__table__.alias("sheet_alias")


class SheetQuery(Base):
    """Reads sheets through a query."""

    __table__ = Sheet.__table__.select().subquery("sheet_query")
    __mapper_args__ = {"primary_key": [__table__.c.id]}
