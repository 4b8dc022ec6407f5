"""An application over the years: what its releases, operators, migrations and copies do, and what must never be gone.

Three databases lie over three folders: the production, a staged copy of it over the same folder, and
a neighbour of its own, whose folder the production may mount by mistake.  After each act every object
that a row names is looked for by means apart from the library.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, text
from sqlalchemy.orm import Session, SessionTransaction

from filecolumn import maintenance, storages
from filecolumn.errors import (
    BackendMismatchError,
    BackendNotRegisteredError,
    ConcurrentFileChangeError,
    CorruptFileMetadataError,
    MaintenanceRefusedError,
    OwnedFileError,
)
from filecolumn.ledger import owner
from tests.deployments.hosts import Host, age, is_whole, named_in, objects_in
from tests.deployments.releases import RELEASES, Process, give

__all__ = (
    "BACKUP",
    "HOME",
    "NEIGHBOUR",
    "NEWER",
    "OTHER",
    "PRODUCTION",
    "STAGED",
    "Acts",
    "Lifecycle",
)

PRODUCTION, STAGED, NEIGHBOUR, BACKUP, NEWER = "production", "staged", "neighbour", "backup", "newer"
HOME, OTHER = "home", "other"
"""The production's folder, and the neighbour's."""

ALLOWED = (
    BackendMismatchError,
    # a release before the storage had its present name reads the rows that name it
    BackendNotRegisteredError,
    ConcurrentFileChangeError,
    # a migration made a list of what this release reads as one file
    CorruptFileMetadataError,
    MaintenanceRefusedError,
    OwnedFileError,
)

Models = Any
Columns = list[tuple[type[Any], str]]


class Lifecycle:
    """The databases, the folders, and what is known of them."""

    def __init__(self, kind: str, protection: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="lifecycle"))
        self.host = Host(kind, self.root)
        self.kind = kind
        self.protection = protection
        """How rows that SQL has copied keep their files: "triggers", "copy_files", or drains only."""
        self.home = HOME
        """The folder that is the production's."""
        self.mounted = HOME
        self.keeper: dict[str, str] = {}
        """The folder that has the object of a key."""
        self.given_up: set[str] = set()
        """Keys whose objects were removed while no row named them: a restore may put such rows back."""
        self.waits_for_adoption = False
        """Whether the production was restored, a mark of a later state is there, and nobody has said that it stays."""
        self._processes: dict[tuple[str, str, str], Process] = {}
        self._looks: dict[str, Engine] = {}
        self._count = 0
        self._begin()

    def close(self) -> None:
        """Drop and remove everything."""
        storages.clear_backends()
        storages.inline_removal = True
        self.host.close()
        shutil.rmtree(self.root)

    # ---- processes

    @contextmanager
    def process(self, database: str, release: str) -> Generator[tuple[Process, Engine]]:
        """Be the process of a release over a database; it lives until a restart."""
        folder = OTHER if database == NEIGHBOUR else self.mounted
        key = database, release, folder
        if key not in self._processes:
            self._processes[key] = Process(RELEASES[release], self.host.engine(database), self.folder(folder))
        process = self._processes[key]
        with process.running() as engine:
            storages.inline_removal = self.protection != "drains"
            yield process, engine

    def folder(self, name: str) -> Path:
        """Return a folder that may be mounted."""
        return self.root / "folders" / name

    def restart(self) -> None:
        """End all processes."""
        self._processes.clear()

    # ---- sessions

    def session(self, database: str, release: str, act: Callable[[Session, Columns], None]) -> None:
        """Let a release do something in a session, if its tables are there; then look."""
        with self.process(database, release) as (process, engine):
            columns = process.release.columns(self.there(database))
            if columns:
                self._attempt(lambda: _in_session(engine, act, columns))
        self.look(database)

    def content(self) -> bytes:
        """Return content that no other file has."""
        self._count += 1
        return b"content %d" % self._count

    def able(self, database: str) -> list[str]:
        """Return the releases whose tables are there."""
        there = self.there(database)
        return [name for name, release in RELEASES.items() if release.columns(there)]

    # ---- maintenance

    def let_be_due(self, database: str) -> None:
        """Let everything that waits have waited."""
        with self._looking(database).begin() as connection:
            connection.exec_driver_sql("UPDATE filecolumn_ledger SET due_at = 1 WHERE state = 2")

    def maintain(self, database: str, release: str, act: Callable[[Engine, Models], object]) -> bool:
        """Let a release maintain a database, and return whether it was not refused; then look."""
        with self.process(database, release) as (process, engine):
            done = self._attempt(lambda: act(engine, process.base))
        self.look(database)
        return done

    # ---- SQL

    def there(self, database: str) -> dict[str, set[str]]:
        """Return the columns of each table."""
        found: dict[str, set[str]] = {}
        with self._looking(database).connect() as connection:
            if self.kind == "sqlite":
                query = (
                    "SELECT m.name, i.name FROM sqlite_master m JOIN pragma_table_info(m.name) i "
                    "WHERE m.type = 'table'"
                )
            else:
                schema = "DATABASE()" if self.kind == "mariadb" else "current_schema()"
                query = f"SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = {schema}"
            for table, column in connection.exec_driver_sql(query):
                if not table.startswith("filecolumn_"):
                    found.setdefault(table, set()).add(column)
        return found

    def sql(self, *statements: str) -> None:
        """Run statements in the production, past every session, in one transaction."""
        with self._looking(PRODUCTION).begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def value(self, table: str, column: str, row: int) -> Any:
        """Return what a row of the production holds, as Python objects."""
        with self._looking(PRODUCTION).connect() as connection:
            found = connection.execute(
                text(f"SELECT {column} FROM {table} WHERE id = :id"), {"id": row}
            ).scalar()
        return json.loads(found) if isinstance(found, str) else found

    def write(self, table: str, column: str, row: int, value: object) -> None:
        """Write a row's JSON by SQL."""
        cast = "CAST(:value AS jsonb)" if self.kind == "postgresql" else ":value"
        with self._looking(PRODUCTION).begin() as connection:
            connection.execute(
                text(f"UPDATE {table} SET {column} = {cast} WHERE id = :id"),
                {"value": json.dumps(value), "id": row},
            )

    def rows(self, table: str) -> list[int]:
        """Return the ids of a table's rows in the production."""
        with self._looking(PRODUCTION).connect() as connection:
            return [
                int(row)
                for row in connection.exec_driver_sql(f"SELECT id FROM {table} ORDER BY id").scalars()
            ]

    def migrated(self, release: str) -> None:
        """Let the release that a migration is for start: it records its columns, and has its triggers."""
        with self.process(PRODUCTION, release) as (process, engine):
            process.base.metadata.create_all(engine)
            if self.protection == "triggers":
                maintenance.install_triggers(engine, process.base)
        self.look(PRODUCTION)

    def copy_by_sql(self, source: str, target: str, *statements: str) -> None:
        """Copy files by SQL, and tell the ledger where that is the protection; then look."""
        self.sql(*statements)
        if self.protection == "copy_files":
            with self.process(PRODUCTION, "first") as (process, engine):
                maintenance.copy_files(engine, process.base, source=source, target=target)
        self.look(PRODUCTION)

    # ---- operators

    def back_up(self) -> None:
        """Copy the production's database aside."""
        self._dispose()
        self.host.copy(PRODUCTION, BACKUP)

    def restore(self, name: str, *, in_place: bool) -> None:
        """Put a copy of the production's database in its place; what it was before is kept as the newer one."""
        self._let_an_hour_pass()
        self._dispose()
        if name == BACKUP:
            self.host.copy(PRODUCTION, NEWER)
        self.host.copy(name, PRODUCTION, in_place=in_place)
        self.waits_for_adoption = self._later_state_is_known()

    def adopt(self, release: str, how: str = "") -> None:
        """Say that the mounted folder is the production's."""
        chosen: Any = {how: True} if how else {}
        if self.maintain(PRODUCTION, release, lambda engine, base: maintenance.adopt(engine, base, **chosen)):
            self.waits_for_adoption = False
            self.home = self.mounted
            # the marks of the place are another's from then on: processes that have seen the old ones end
            self.restart()

    def stage(self) -> None:
        """Copy the production's database for tests; the copy has the same storage."""
        self._dispose()
        self.host.copy(PRODUCTION, STAGED)
        self.restart()

    def copy_content(self, name: str, *, with_marks: bool) -> None:
        """Copy all content to another folder and mount that."""
        target = self.folder(name)
        for source in (HOME, OTHER, *self._others()):
            if source != name:
                ignore = (
                    None if with_marks and source == self.mounted else shutil.ignore_patterns(".filecolumn")
                )
                shutil.copytree(self.folder(source), target, dirs_exist_ok=True, ignore=ignore)
        neighbours = {named.key for named in named_in(self._looking(NEIGHBOUR))}
        self.keeper.update({key: name for key in objects_in(target) if key not in neighbours})
        self.mounted = name

    # ---- the invariant

    def look(self, database: str) -> None:
        """Assert that each object which a row names is there; *database* is the one that something was done to."""
        named = {name: self._named(name) for name in (PRODUCTION, STAGED, NEIGHBOUR) if self._is_there(name)}
        if self.waits_for_adoption and self._is_there(NEWER):
            named[NEWER] = self._named(NEWER)
        for each in named[PRODUCTION] | named.get(NEIGHBOUR, set()):
            self.keeper.setdefault(each.key, self._keeper_now(each.key))
        gone = {key for key, folder in self.keeper.items() if not (self.folder(folder) / key).is_file()}
        # who acts may remove what it does not name itself, and what no other names but the copies made of it
        protecting = {PRODUCTION, NEIGHBOUR, NEWER} if database == PRODUCTION else set(named)
        kept = {each.key for name in protecting & named.keys() for each in named[name]}
        self.given_up |= gone - kept
        for name, found in named.items():
            for each in found:
                if each.key in self.given_up or each.key not in self.keeper:
                    continue
                folder = self.folder(self.keeper[each.key])
                assert is_whole(folder, each), f"{name} names {each.key}, which is gone"
        for each in (HOME, OTHER, *self._others()):
            age(self.folder(each))

    def _named(self, database: str) -> set[Any]:
        return named_in(self._looking(database))

    def _keeper_now(self, key: str) -> str:
        places = (self.mounted, HOME, OTHER, *self._others())
        return next((name for name in places if (self.folder(name) / key).is_file()), HOME)

    def _others(self) -> list[str]:
        return sorted(
            path.name for path in (self.root / "folders").iterdir() if path.name not in {HOME, OTHER}
        )

    def _is_there(self, database: str) -> bool:
        return database in self._looks if self.kind != "sqlite" else self.host.path(database).exists()

    def _looking(self, database: str) -> Engine:
        if database not in self._looks:
            self._looks[database] = self.host.engine(database)
        return self._looks[database]

    def _dispose(self) -> None:
        for engine in self._looks.values():
            engine.dispose()

    def _let_an_hour_pass(self) -> None:
        """Let processes ask again that go on, and have not seen what the last sweep of another one raised."""
        now = int(self._facts().get("generation", "0"))
        for (database, *_), process in self._processes.items():
            if database == PRODUCTION:
                for known in owner._ledgers.get(process.engine, {}).values():
                    if known.generation < now:
                        known.standings.clear()

    def _facts(self) -> dict[str, str]:
        """Return what the production's database says of itself."""
        with self._looking(PRODUCTION).connect() as connection:
            found = connection.exec_driver_sql("SELECT name, value FROM filecolumn_meta")
            return {str(name): str(value) for name, value in found}

    def _later_state_is_known(self) -> bool:
        """Return whether the folder has seen a later state than the production's database is in."""
        facts = self._facts()
        at = int(facts.get("generation", "0"))
        marks = self.folder(HOME) / ".filecolumn" / "writers" / facts.get("database", "-")
        return (marks / str(at + 1)).exists()

    def _attempt(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except ALLOWED:
            return False
        return True

    def _begin(self) -> None:
        for name in (HOME, OTHER):
            self.folder(name).mkdir(parents=True)
        for database in (PRODUCTION, NEIGHBOUR):
            with self.process(database, "first") as (process, engine):
                process.base.metadata.create_all(engine)
                if self.protection == "triggers":
                    maintenance.install_triggers(engine, process.base)
            self.session(database, "first", Acts(self, 0, "first").save)


class Acts:
    """What a session may do; *which* chooses model, attribute and row."""

    def __init__(self, life: Lifecycle, which: int, release: str) -> None:
        self.release = release
        self._life = life
        self._which = which

    def save(self, session: Session, columns: Columns) -> None:
        """Add a row with a file."""
        model, name = columns[self._which % len(columns)]
        row = model()
        give(row, name, self._life.content())
        session.add(row)

    def replace(self, session: Session, columns: Columns) -> None:
        """Give a row another file."""
        row, name = self._pick(session, columns)
        if row is not None:
            give(row, name, self._life.content())

    def clear(self, session: Session, columns: Columns) -> None:
        """Take a row's file away."""
        row, name = self._pick(session, columns)
        if row is not None:
            give(row, name, None)

    def delete(self, session: Session, columns: Columns) -> None:
        """Delete a row."""
        row, _ = self._pick(session, columns)
        if row is not None:
            session.delete(row)

    def delete_in_bulk(self, session: Session, columns: Columns) -> None:
        """Delete rows by a statement of the ORM."""
        model, _ = columns[self._which % len(columns)]
        session.execute(delete(model).where(model.id % 3 == self._which % 3))

    def savepoint(self, session: Session, columns: Columns) -> None:
        """Change a row in a savepoint that is rolled back, and add one outside of it."""
        self._change_and_roll_back(session, session.begin_nested(), columns)

    def rollback(self, session: Session, columns: Columns) -> None:
        """Change a row and roll the session back, then add one."""
        self._change_and_roll_back(session, session, columns)

    def reinsert(self, session: Session, columns: Columns) -> None:
        """Delete a row through the ORM and insert its JSON again as text, in one transaction."""
        row, name = self._pick(session, columns)
        if row is None:
            return
        table, row_id = type(row).__tablename__, row.id
        kind, cast = _TEXT[session.get_bind().dialect.name]
        held = text(f"SELECT CAST({name} AS {kind}) FROM {table} WHERE id = :id")
        values = {"id": row_id, "held": session.execute(held, {"id": row_id}).scalar()}
        session.delete(row)
        session.flush()
        session.execute(text(f"INSERT INTO {table} (id, {name}) VALUES (:id, {cast})"), values)

    def _change_and_roll_back(
        self, session: Session, point: Session | SessionTransaction, columns: Columns
    ) -> None:
        row, name = self._pick(session, columns)
        if row is not None:
            if self._which % 2:
                session.delete(row)
            else:
                give(row, name, self._life.content())
            session.flush()
        point.rollback()
        self.save(session, columns)

    def _pick(self, session: Session, columns: Columns) -> tuple[Any, str]:
        """Return a row, or None if there is none, and the name of an attribute."""
        model, name = columns[self._which % len(columns)]
        ids = session.scalars(
            model.__table__.select().with_only_columns(model.__table__.c.id).order_by("id")
        ).all()
        return (session.get(model, ids[self._which // 2 % len(ids)]) if ids else None), name


_TEXT = {
    "sqlite": ("text", ":held"),
    "postgresql": ("text", "CAST(:held AS jsonb)"),
    "mariadb": ("char", ":held"),
    "mysql": ("char", ":held"),
}


def _in_session(engine: Engine, act: Callable[[Session, Columns], None], columns: Columns) -> None:
    with Session(engine) as session:
        act(session, columns)
        session.commit()
