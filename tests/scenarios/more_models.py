"""Models of rarer kinds: other storages, chosen keys, dataclasses, a user's own listeners."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, ForeignKey, String, UniqueConstraint, event, func
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Mapper, column_property, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject
from filecolumn.orm.facts_sql import fact
from tests.scenarios import models
from tests.scenarios.drivers import Driver


class Base(DeclarativeBase):
    """Base of the models."""

    type_annotation_map = models.Base.type_annotation_map


class DataBase(MappedAsDataclass, DeclarativeBase):
    """Base of the models that are dataclasses."""

    metadata = Base.metadata


async def create_tables(driver: Driver, base: type[DeclarativeBase] = Base) -> None:
    """Make the tables of this module, or those of another *base*; on a server they are there."""
    if driver.dialect != "sqlite":
        return
    async with driver.session() as session:
        await session.run(lambda s: base.metadata.create_all(s.connection()))
        await session.commit()


class Archived(Base):
    """A file in another storage than that of most models."""

    __tablename__ = "archived"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="archive"))


class Moved(Base):
    """A column whose rows may still point to the storage it used before."""

    __tablename__ = "moved"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", reads=("old",)))


def chosen_key(record: Keyed, file: FileObject) -> str:
    return record.key


class Keyed(Base):
    """A row that says itself what the key of its file is."""

    __tablename__ = "keyed"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", key_template=chosen_key))


class Templated(Base):
    """A row whose key has a part of the row."""

    __tablename__ = "templated"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str | None]
    file: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs", key_template="{tenant}/{id}/{uuid}{ext}")
    )


class Letter(DataBase):
    """A dataclass."""

    __tablename__ = "letters"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"), default=None)
    pages: Mapped[FileObjectList] = mapped_column(
        StoredObject(backend="docs", multiple=True), default_factory=FileObjectList
    )


class Printed(Base):
    """A model with listeners of its own, which make its file of its text."""

    __tablename__ = "printed"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


@event.listens_for(Printed, "before_insert")
@event.listens_for(Printed, "before_update")
def print_text(mapper: Mapper[Printed], connection: Connection, printed: Printed) -> None:
    printed.file = FileObject("text.txt", content=printed.text.encode())


FILM_LIMIT = 20 * 1024 * 1024


class Gated(Base):
    """Columns that do not take everything."""

    __tablename__ = "gated"

    id: Mapped[int] = mapped_column(primary_key=True)
    anything: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    picture: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", accept={"image/*"}))
    film: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", max_size=FILM_LIMIT))
    small: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", max_size=10_000))
    pictures: Mapped[FileObjectList] = mapped_column(
        StoredObject(backend="docs", multiple=True, max_size=10_000, accept={"image/*"}), default=list
    )


class Page(Base):
    """A row with two keys that are unique, and a file."""

    __tablename__ = "web_pages"
    __table_args__ = (UniqueConstraint("site", "slug", name="one_slug_a_site"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(String(50), default="main")
    slug: Mapped[str | None] = mapped_column(String(50))
    title: Mapped[str] = mapped_column(String(50), default="")
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    scan: Mapped[FileObject | None] = mapped_column("scan_json", StoredObject(backend="docs"))


class Animal(Base):
    """The base of a single-table inheritance."""

    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Dog(Animal):
    """A subclass whose file is in the table of its base."""

    photo: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"), nullable=True)

    __mapper_args__ = {"polymorphic_identity": "dog"}


class Puppy(Dog):
    """A subclass that inherits the file."""

    __mapper_args__ = {"polymorphic_identity": "puppy"}


revisions: list[int] = []


def next_revision() -> int:
    revisions.append(len(revisions) + 1)
    return revisions[-1]


class Revised(Base):
    """A row that counts its changes by a function of the user."""

    __tablename__ = "revised"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(default=0, onupdate=next_revision)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


class Shelf(Base):
    """A row whose primary key has two columns."""

    __tablename__ = "shelves"

    room: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))


class Made(Base):
    """A row whose columns make their files themselves."""

    __tablename__ = "made"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), default="made")
    title: Mapped[str] = mapped_column(String(20), default="")
    plain: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs"), default=lambda: FileObject("plain.txt", content=b"plain")
    )
    titled: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs"),
        insert_default=lambda context: FileObject(
            "titled.txt", content=str(context.get_current_parameters()["title"]).encode()
        ),
    )
    shared: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs"), default=FileObject("shared.txt", content=b"shared")
    )
    several: Mapped[FileObjectList] = mapped_column(
        StoredObject(backend="docs", multiple=True),
        default=lambda: [FileObject("one", content=b"one"), FileObject("two", content=b"two")],
    )
    empty: Mapped[FileObjectList] = mapped_column(StoredObject(backend="docs", multiple=True), default=list)

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "made"}


class Remade(Made):
    """One that is changed: its own table has a file of the last change."""

    __tablename__ = "remade"

    id: Mapped[int] = mapped_column(ForeignKey("made.id"), primary_key=True)
    note: Mapped[str] = mapped_column(String(20), default="")
    last: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs"),
        onupdate=lambda context: FileObject("last", content=context.current_parameters["note"].encode()),
    )

    __mapper_args__ = {"polymorphic_identity": "remade"}


class Sized(Base):
    """Facts as attributes of the model."""

    __tablename__ = "sized"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    size: Mapped[int | None] = column_property(fact(file, "size"))

    @hybrid_property
    def is_large(self) -> bool:
        """Whether it has more than three bytes."""
        return self.file is not None and (self.file.size or 0) > 3

    @is_large.inplace.expression
    @classmethod
    def _is_large_in_sql(cls) -> Any:
        return func.coalesce(fact(cls.file, "size"), 0) > 3
