"""Where databases of a test lie: files of SQLite, or databases of a server, which can be copied."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from tests.servers.databases import need_server

__all__ = ("Host", "Named", "age", "files_in", "is_whole", "named_in", "objects_in")

RESERVED = ".filecolumn"


@dataclass(frozen=True)
class Named:
    """An object that a row names, as the row's JSON says it."""

    key: str
    checksum: str | None


@dataclass
class Host:
    """Databases by short names, all dropped in the end."""

    kind: str
    folder: Path
    _names: dict[str, str] = field(default_factory=dict[str, str])
    _engines: list[Engine] = field(default_factory=list[Engine])
    _grave: int = 0

    def engine(self, name: str) -> Engine:
        """Return a new engine, as a new process has; the database is made where it is not there."""
        if self.kind == "sqlite":
            engine = create_engine(f"sqlite:///{self.path(name)}", poolclass=NullPool)
        else:
            server = need_server(self.kind)
            if name not in self._names:
                self._make(name, "")
            url = server.url.set(database=self._names[name])
            engine = create_engine(url, poolclass=NullPool, connect_args=server.connect)
        self._engines.append(engine)
        return engine

    def path(self, name: str) -> Path:
        """Return the file of a database of SQLite."""
        return self.folder / f"{name}.db"

    def copy(self, source: str, target: str, *, in_place: bool = False) -> None:
        """Let *target* be what *source* is; *in_place* keeps the file of SQLite, with its inode number."""
        if self.kind != "sqlite":
            self._make(target, f" TEMPLATE {self._names[source]}")
            return
        made = self.path(target)
        if not in_place and made.exists():
            # not unlinked: another file could get its inode number
            self._grave += 1
            made.rename(made.with_suffix(f".{self._grave}"))
        shutil.copyfile(self.path(source), made)

    def close(self) -> None:
        """Drop all databases."""
        for engine in self._engines:
            engine.dispose()
        for name in self._names.values():
            self._run(f"DROP DATABASE IF EXISTS {name}{self._force}")

    @property
    def _force(self) -> str:
        return " WITH (FORCE)" if self.kind == "postgresql" else ""

    def _make(self, name: str, options: str) -> None:
        made = self._names.setdefault(name, f"filecolumn_test_{os.getpid()}_{uuid4().hex[:12]}")
        self._run(f"DROP DATABASE IF EXISTS {made}{self._force}")
        self._run(f"CREATE DATABASE {made}{options}")

    def _run(self, statement: str) -> None:
        admin = create_engine(need_server(self.kind).url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with admin.connect() as connection:
            connection.exec_driver_sql(statement)


def files_in(value: object) -> Iterator[Named]:
    """Yield what a value of a file column names, in whatever shape it is; written apart from the library."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return
        if isinstance(value, str):
            yield from files_in(value)
            return
    if isinstance(value, list):
        for item in value:
            yield from files_in(item)
    elif isinstance(value, dict) and "filename" in value:
        key = value.get("to_filename") or value.get("key") or value["filename"]
        yield Named(str(key), value.get("checksum"))


def tables_in(engine: Engine) -> list[str]:
    """Return the names of the tables that are not the ledger's."""
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    }.get(
        engine.dialect.name,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
    )
    with engine.connect() as connection:
        names = connection.exec_driver_sql(query).scalars().all()
    return sorted(str(name) for name in names if not name.startswith(("filecolumn_", "sqlite_")))


def named_in(engine: Engine, *tables: str) -> set[Named]:
    """Return the objects that any column of *tables* names, or of all tables."""
    found: set[Named] = set()
    for table in tables or tables_in(engine):
        with engine.connect() as connection:
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}"):
                for value in row:
                    found.update(files_in(value))
    return found


def objects_in(folder: Path) -> set[str]:
    """Return the keys of the objects in a folder, without what is filecolumn's own."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and RESERVED not in path.parts
    }


def is_whole(folder: Path, named: Named) -> bool:
    """Return whether the object of a row is there with the row's content."""
    path = folder / named.key
    if not path.is_file():
        return False
    return named.checksum is None or named.checksum == f"sha256:{sha256(path.read_bytes()).hexdigest()}"


def age(folder: Path, days: float = 10) -> None:
    """Let the objects look older, so that nothing is kept for its age."""
    for key in objects_in(folder):
        path = folder / key
        at = path.stat().st_ctime - days * 86400
        os.utime(path, (at, at))
