"""What the tests of deployments share: a model, rows with files, the nightly run, and a look of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, maintenance, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.errors import FileColumnError
from filecolumn.ledger.owner import forget_standings
from tests.deployments.hosts import Host, age, is_whole, named_in, objects_in
from tests.scenarios.fixtures import on_servers

__all__ = (
    "ANY_DATABASE",
    "Base",
    "Doc",
    "Site",
    "bound_json",
    "held_json",
    "host",
    "json_type",
    "put",
    "read",
    "remove",
    "replace",
    "site",
    "sql",
    "works",
)

SERVERS = on_servers(("postgresql", "mariadb"))
ANY_DATABASE = ("sqlite", *SERVERS)


class Base(DeclarativeBase):
    """The release that began."""


class Doc(Base):
    __tablename__ = "doc"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


@dataclass
class Site:
    """Databases and folders of one test."""

    host: Host
    root: Path

    def folder(self, name: str = "docs") -> Path:
        """Return a folder for a storage."""
        return self.root / name

    def register(self, key: str = "docs", folder: str | Path = "docs", **options: Any) -> StorageBackend:
        """Register a folder as a storage."""
        return storages.register_backend(f"file://{self.root / folder}/", key=key, fsync=False, **options)

    def new_process(self, key: str = "docs", folder: str | Path = "docs") -> StorageBackend:
        """Forget what this process knows, and register one storage."""
        storages.clear_backends()
        forget_standings()
        return self.register(key, folder)

    def database(self, name: str = "app", base: type[DeclarativeBase] = Base) -> Engine:
        """Make a database with the tables of a release."""
        engine = self.host.engine(name)
        base.metadata.create_all(engine)
        return engine

    def intact(self, engine: Engine, *tables: str, folder: str | Path = "docs") -> int:
        """Assert that everything which rows name is there, and return how much that is."""
        age(self.root / folder)
        named = named_in(engine, *tables)
        assert [each.key for each in named if not is_whole(self.root / folder, each)] == []
        return len(named)

    def objects(self, folder: str | Path = "docs") -> set[str]:
        """Return the keys of the objects in a folder."""
        return objects_in(self.root / folder)

    def nightly(
        self, engine: Engine, *bases: type[DeclarativeBase], folder: str | Path = "docs", **options: Any
    ) -> None:
        """Sweep and drain twice, with nothing kept for its age; maintenance may refuse."""
        age(self.root / folder)
        for _ in range(2):
            for run in (
                lambda: maintenance.sweep(engine, *bases, grace=0, quarantine=0, **options),
                lambda: maintenance.drain(engine, *bases),
            ):
                with suppress(FileColumnError):
                    run()
            with engine.begin() as connection:
                connection.exec_driver_sql("UPDATE filecolumn_ledger SET due_at = 1 WHERE state = 2")


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """Databases of the kind that the test is run for, SQLite if it says nothing."""
    made = Host(getattr(request, "param", "sqlite"), tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(host: Host, tmp_path: Path) -> Iterator[Site]:
    """One storage "docs" is registered."""
    made = Site(host, tmp_path)
    made.register()
    yield made
    storages.inline_removal = True
    storages.retention = 0.0


def put(engine: Engine, *ids: int, model: type[Any] = Doc, attribute: str = "file") -> None:
    """Store a row with a file for each id."""
    with Session(engine) as session:
        session.add_all(
            model(id=row, **{attribute: FileObject(f"{row}.txt", content=b"content %d" % row)}) for row in ids
        )
        session.commit()


def remove(engine: Engine, *ids: int, model: type[Any] = Doc) -> None:
    """Delete rows through the ORM."""
    with Session(engine) as session:
        for row in ids:
            session.delete(session.get_one(model, row))
        session.commit()


def replace(engine: Engine, row: int, content: bytes | None = b"new", model: type[Any] = Doc) -> None:
    """Give a row's file other content, or take it away."""
    with Session(engine) as session:
        session.get_one(model, row).file = None if content is None else FileObject("new.txt", content=content)
        session.commit()


def read(engine: Engine, row: int, model: type[Any] = Doc) -> bytes:
    """Return the content of a row's file."""
    with Session(engine) as session:
        file = session.get_one(model, row).file
        content: bytes = file.get_content()
        return content


def sql(engine: Engine, *statements: str) -> None:
    """Run statements past every session, in one transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def json_type(engine: Engine) -> str:
    """Return the type of a column for files."""
    return "jsonb" if engine.dialect.name == "postgresql" else "JSON"


def held_json(engine: Engine, row: int, table: str = "doc") -> str:
    """Return a row's JSON as text."""
    kind = "char" if engine.dialect.name in {"mysql", "mariadb"} else "text"
    with engine.connect() as connection:
        found: str = connection.scalar(
            text(f"SELECT CAST(file AS {kind}) FROM {table} WHERE id = :id"), {"id": row}
        )
        return found


def bound_json(engine: Engine) -> str:
    """Return a parameter `:value` that a column for files takes."""
    return "CAST(:value AS jsonb)" if engine.dialect.name == "postgresql" else ":value"


def works(engine: Engine, model: type[Any] = Doc) -> None:
    """Assert that rows are stored, read, replaced and deleted without an error."""
    with Session(engine) as session:
        row = model(file=FileObject("a.txt", content=b"first"))
        session.add(row)
        session.commit()
        key = row.id
    assert read(engine, key, model) == b"first"
    replace(engine, key, b"second", model)
    assert read(engine, key, model) == b"second"
    remove(engine, key, model=model)
