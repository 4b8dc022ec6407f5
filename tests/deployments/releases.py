"""Releases of one application over the same tables, and the processes that run them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject, storages

__all__ = ("RELEASES", "Process", "Release", "give", "registered")


class First(DeclarativeBase):
    """One table with one column."""


class FirstDoc(First):
    __tablename__ = "doc"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


class Wider(DeclarativeBase):
    """A column and a table were added."""


class WiderDoc(Wider):
    __tablename__ = "doc"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))
    attachment: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


class WiderPhoto(Wider):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("again", reads=["docs"]))


class Many(DeclarativeBase):
    """The column holds a list, and the storage has another name."""


class ManyDoc(Many):
    __tablename__ = "doc"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObjectList] = mapped_column(
        StoredObject("documents", reads=["docs"], multiple=True), nullable=True
    )


class Renamed(DeclarativeBase):
    """The table is called otherwise, and so is the column of another."""


class RenamedDoc(Renamed):
    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


class RenamedPhoto(Renamed):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[FileObject | None] = mapped_column(StoredObject("docs", reads=["again"]))


@dataclass(frozen=True)
class Release:
    """Models, and the names under which the one storage is registered."""

    base: type[DeclarativeBase]
    names: tuple[str, ...] = ("docs",)
    aliases: tuple[tuple[str, str], ...] = ()

    def columns(self, there: dict[str, set[str]]) -> list[tuple[type[Any], str]]:
        """Return models and attributes of the tables that are *there* with all columns that the model has."""
        return [
            (mapper.class_, column.name)
            for mapper in self.base.registry.mappers
            if {each.name for each in mapper.columns} <= there.get(str(mapper.local_table), set())
            for column in mapper.columns
            if isinstance(column.type, StoredObject)
        ]


RELEASES = {
    "first": Release(First),
    "wider": Release(Wider, ("docs", "again")),
    "many": Release(Many, ("documents",), (("docs", "documents"),)),
    "renamed": Release(Renamed, ("docs",), (("again", "docs"),)),
}


def give(row: Any, name: str, content: bytes | None) -> None:
    """Give an attribute new content, or none."""
    made = [] if content is None else [FileObject("a.txt", content=content)]
    is_list = type(row).__table__.c[name].type.multiple
    setattr(row, name, made if is_list else next(iter(made), None))


@dataclass
class Process:
    """A process of a release: it has an engine and registered storages of its own, and keeps what it learnt."""

    release: Release
    engine: Engine
    folder: Path
    _registry: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def base(self) -> type[DeclarativeBase]:
        """The models."""
        return self.release.base

    @contextmanager
    def running(self) -> Generator[Engine]:
        """Let the registry of storages be this process's."""
        storages.clear_backends()
        if self._registry:
            vars(storages).update(self._registry)
        else:
            self._register()
        try:
            yield self.engine
        finally:
            kept = {name: value.copy() for name, value in vars(storages).items() if isinstance(value, dict)}
            self._registry = kept
            storages.clear_backends()

    def _register(self) -> None:
        for name in self.release.names:
            storages.register_backend(f"file://{self.folder}/", key=name, fsync=False)
        for old, name in self.release.aliases:
            storages.alias(old, to=name)


@contextmanager
def registered(folder: Path, *names: str) -> Generator[None]:
    """Register a folder as a new process does."""
    storages.clear_backends()
    for name in names or ("docs",):
        storages.register_backend(f"file://{folder}/", key=name, fsync=False)
    try:
        yield
    finally:
        storages.clear_backends()
