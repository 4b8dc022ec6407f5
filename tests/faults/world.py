"""A database and a storage under a history, read past the library, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from sqlalchemy import JSON, Engine, Integer, create_engine, event, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn import storages
from filecolumn.ledger import locks
from filecolumn.ledger.table import State
from filecolumn.maintenance import install_triggers, sweep
from tests.faults.beliefs import Labelled, Row, Rows
from tests.faults.due import let_sweeps_judge, make_due
from tests.scenarios.drivers import Driver
from tests.scenarios.fixtures import driver_for, make_driver
from tests.scenarios.models import Base
from tests.scenarios.refusing_storage import RefusingStorage
from tests.servers.databases import SCHEMES, Database, empty_database

T = TypeVar("T")

AnyJson = JSON().with_variant(JSONB(), "postgresql")
ROWS = text("SELECT id, file, pages, scan FROM documents").columns(
    id=Integer, file=AnyJson, pages=AnyJson, scan=AnyJson
)
LEDGER = Base.metadata.tables["filecolumn_ledger"].c

# Nobody waits for long: whoever holds a lock is waited for by the only thread there is
IMPATIENT: dict[str, dict[str, object]] = {
    "sqlite": {"timeout": 0},
    "psycopg": {"options": "-c lock_timeout=20"},
    "asyncpg": {"server_settings": {"lock_timeout": "20"}},
    "pymysql": {"init_command": "SET SESSION innodb_lock_wait_timeout = 0"},
}
READER = {"postgresql": "psycopg", "mariadb": "pymysql"}
LOST = "the connection was lost"


@dataclass(frozen=True)
class Snapshot:
    """What is committed, and what is stored."""

    rows: Rows
    keys: frozenset[str]
    """Those that rows refer to."""
    live: frozenset[str]
    doomed: frozenset[str]
    """As the ledger has them."""
    objects: frozenset[str]


class World:
    """What outlives a process, and the engine of the process that there is."""

    driver: Driver
    storage: RefusingStorage

    def __init__(self, kind: str, *, has_triggers: bool) -> None:
        self._kind = kind
        self._folder = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        self._verified: dict[str, bytes] = {}
        self._database = _server_database(kind, has_triggers=has_triggers) if kind in SCHEMES else None
        if self._database is None:
            path = Path(self._folder.name, "test.db")
            path.write_bytes(_sqlite_file(has_triggers=has_triggers))
            self.reader = create_engine(f"sqlite:///{path}", connect_args=IMPATIENT["sqlite"])
            event.listen(self.reader, "connect", _hurry)
        else:
            driver = READER[self._database.engine.dialect.name]
            self.reader = create_engine(self._database.url(SCHEMES[driver]), connect_args=IMPATIENT[driver])
        self.start()

    def start(self) -> None:
        """Do what a new process does."""
        storages.clear_backends()
        self.storage = storages.register_backend(
            RefusingStorage("docs", f"file://{self._folder.name}/docs/", fsync=False)
        )
        if self._database is None:
            self.driver = make_driver(self._kind, Path(self._folder.name), connect_args=IMPATIENT["sqlite"])
            event.listen(self.engine, "connect", _hurry)
        else:
            self.driver = driver_for(self._database, self._kind, connect_args=IMPATIENT[self._kind])
        event.listen(self.engine, "handle_error", _tell_lost)

    def end(self) -> None:
        """Let the process go, with what it has."""
        self.wait(self.driver.dispose())

    def close(self) -> None:
        self.end()
        self.reader.dispose()
        self._loop.close()
        self._folder.cleanup()

    def wait(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(work)  # type: ignore[arg-type]

    @property
    def engine(self) -> Engine:
        return self.driver.sync_engine

    @property
    def is_sqlite(self) -> bool:
        return self._database is None

    def maintain(self, call: Callable[..., T], **options: object) -> T:
        """Call `drain` or `sweep` as a program does, but let it not wait for sessions that cannot go on meanwhile."""
        # MariaDB knows no parts of a second, and PostgreSQL waits for ever for none
        limit = 0 if self.driver.dialect in {"mysql", "mariadb"} else 0.02
        with patch.multiple(locks, ATTEMPTS=1, LOCK_LIMIT=limit):
            if not self.driver.is_async:
                return call(self.engine, Base, **options)
            return self.wait(greenlet_spawn(call, self.engine, Base, **options))

    def make_due(self) -> None:
        make_due(self.reader)

    def sweep_all_now(self, grace: float) -> None:
        """Sweep, and claim everything that no row refers to."""
        let_sweeps_judge(self.reader, Base.metadata)
        self.maintain(sweep, grace=grace, quarantine=0, unreferenced=True, force=True)

    # What there is

    def look(self) -> Snapshot:
        with self.reader.connect() as connection:
            found = [tuple(row) for row in connection.execute(ROWS)]
            states = [
                (key, State(state)) for key, state in connection.execute(select(LEDGER.key, LEDGER.state))
            ]
        files = [fact for _, *columns in found for column in columns for fact in facts_in(column)]
        keys = [fact["to_filename"] for fact in files]
        assert len(set(keys)) == len(keys), "two rows share an object"
        objects = frozenset(stat.key for stat in self.storage.list())
        assert objects.issuperset(keys), f"rows dangle: {set(keys) - objects}"
        for fact in files:
            self._verify(fact["to_filename"], fact["metadata"]["body"].encode())
        return Snapshot(
            {number: _row(*columns) for number, *columns in found},
            frozenset(keys),
            frozenset(key for key, state in states if state is State.LIVE),
            frozenset(key for key, state in states if state is State.DOOMED),
            objects,
        )

    def _verify(self, key: str, body: bytes) -> None:
        """Compare an object with what its row is to hold, once: nothing is ever stored under its key again."""
        if self._verified.get(key) != body:
            assert self.storage.get_bytes(key) == body
            self._verified[key] = body

    # What goes wrong

    def lose_answer(self, commit: Callable[[], None], *, arrives: bool) -> Exception:
        """Call *commit* and return what it raises: COMMIT arrives or not, and there is no answer."""
        dialect = self.engine.dialect
        before = vars(dialect).get("do_commit")
        end = dialect.do_commit if arrives else dialect.do_rollback

        def do_commit(connection: Any) -> None:
            if before is None:
                del dialect.do_commit
            else:
                dialect.do_commit = before  # type: ignore[method-assign]
            end(connection)
            raise dialect.loaded_dbapi.OperationalError(LOST)

        dialect.do_commit = do_commit  # type: ignore[method-assign]
        try:
            commit()
        except (DBAPIError, ConnectionError) as error:
            if LOST not in f"{error} {error.__cause__}":
                raise
            return error
        raise AssertionError("the answer was not lost")

    @contextmanager
    def unreachable(self) -> Generator[None]:
        """Let nobody connect to the database."""

        def refuse() -> None:
            raise ConnectionRefusedError("nobody is there")

        self.engine.connect = refuse  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            del self.engine.connect


def facts_in(column: Any) -> list[dict[str, Any]]:
    """Return what a row's column says of its files."""
    facts = column or []
    return facts if isinstance(facts, list) else [facts]


def _row(*columns: Any) -> Row:
    file, pages, scan = (tuple(_labelled(column)) for column in columns)
    return Row(next(iter(file), None), pages, next(iter(scan), None))


def _labelled(column: Any) -> Iterator[Labelled]:
    for fact in facts_in(column):
        yield fact["metadata"]["body"].encode(), fact["metadata"].get("label", 0)


@cache
def _sqlite_file(*, has_triggers: bool) -> bytes:
    """Return an empty database, which takes longer to make than to copy."""
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/new.db")
        Base.metadata.create_all(engine)
        if has_triggers:
            install_triggers(engine, Base)
        with engine.connect() as connection:
            # else a reader keeps everybody from committing
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        engine.dispose()
        return Path(folder, "new.db").read_bytes()


@cache
def _triggers_on(database: Database) -> None:
    install_triggers(database.engine, Base)


def _server_database(kind: str, *, has_triggers: bool) -> Database:
    server = SCHEMES[kind].partition("+")[0]
    suffix = "_triggers" if has_triggers else "_histories"
    database = empty_database(server, Base.metadata, suffix=suffix)
    if has_triggers:
        _triggers_on(database)
        # triggers told it of the rows that were deleted
        with database.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM filecolumn_ledger")
    return database


def _hurry(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=off")
    cursor.close()


def _tell_lost(context: ExceptionContext) -> None:
    if LOST in str(context.original_exception):
        context.is_disconnect = True
