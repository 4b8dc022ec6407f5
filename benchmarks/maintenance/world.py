"""A database that is filled, the storage that belongs to it, and one operation on both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, delete, event, select, text
from sqlalchemy.orm import Session

from benchmarks.contenders.base import NotDoneError, Place
from benchmarks.maintenance.filling import STORAGE, Filling, fill
from benchmarks.maintenance.processor import Server
from benchmarks.maintenance.storage import MadeUp
from benchmarks.measuring import Sample, forget_peak, memory, sampled
from benchmarks.models import model, table_of
from filecolumn import FileObject, StoredObject, storages
from filecolumn.ledger.table import ledger_of
from filecolumn.maintenance import FindingKind, adopt, check, drain, install_triggers, status, sweep

RECORD = model("documents", StoredObject(backend=STORAGE))
METADATA = table_of(RECORD).metadata

Operation = Callable[[Engine], int]
"""Returns how many keys it was about."""


def _sweep(engine: Engine) -> int:
    return sweep(engine, METADATA).listed


def _sweep_orphans(engine: Engine) -> int:
    return sweep(engine, METADATA, force=True).claimed


def _sweep_rowless(engine: Engine) -> int:
    return sweep(engine, METADATA, force=True).unreferenced


def _check(engine: Engine) -> int:
    return check(engine, METADATA).files


def _check_rowless(engine: Engine) -> int:
    return check(engine, METADATA).counts[FindingKind.LEDGER]


def _status(engine: Engine) -> int:
    return status(engine, METADATA).due


def _drain(engine: Engine) -> int:
    return drain(engine, METADATA).deleted


OPERATIONS: dict[str, Operation] = {
    "sweep": _sweep,
    "sweep-orphans": _sweep_orphans,
    "sweep-rowless": _sweep_rowless,
    "check": _check,
    "check-rowless": _check_rowless,
    "status": _status,
    "drain": _drain,
}


READING = ("sweep", "check", "check-rowless", "status")
"""Operations that change nothing, where there is nothing to be claimed."""


@contextmanager
def opened(place: Place) -> Iterator[tuple[Engine, MadeUp]]:
    """Connect to the database, and register the storage."""
    storage = MadeUp(STORAGE, place.folder)
    storages.register_backend(storage, replace=True)
    engine = create_engine(place.url)
    try:
        yield engine, storage
    finally:
        engine.dispose()


def make(place: Place, filling: Filling) -> None:
    """Make the tables anew, adopt the storage, and fill them."""
    shutil.rmtree(place.folder, ignore_errors=True)
    with opened(place) as (engine, _):
        if engine.dialect.name == "sqlite":
            for path in Path(str(engine.url.database)).parent.glob("rows.db*"):
                path.unlink()
            with engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA journal_mode = {filling.journal}")
        METADATA.drop_all(engine)
        METADATA.create_all(engine)
        adopt(engine, METADATA, sole=True)
        column = _column(engine)
        with engine.begin() as connection:
            fill(connection, filling, column)
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
        if filling.has_triggers:
            install_triggers(engine, METADATA)


def _column(engine: Engine) -> str | None:
    """Return the ledger's name for the file column, after a file was saved in it, of which nothing stays."""
    ledger = ledger_of(METADATA)
    assert ledger is not None
    with Session(engine) as session:
        session.add(RECORD(title="a", file=FileObject("a.bin", content=b"a")))
        session.commit()
    with engine.begin() as connection:
        column = connection.scalar(select(ledger.table.c.held_in))
        connection.execute(text("DELETE FROM documents"))
        connection.execute(delete(ledger.table))
    return column


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One operation on a database that is filled."""

    operation: str
    filling: Filling
    keys: int
    """How many keys it is about; what it takes is divided by them."""
    has_orphans: bool = False
    """Whether there is an object behind that of each row which neither rows nor the ledger know."""

    @property
    def changes(self) -> bool:
        """Whether the tables are others after it."""
        return self.operation not in READING

    def measured(self, place: Place) -> Sample:
        """Do it, and return what it took."""
        with opened(place) as (engine, storage):
            storage.numbers = self._objects()
            statements = _counted(engine)
            server = Server(engine)
            with engine.connect() as connection:
                connection.execute(select(1))
            before, at_server = forget_peak(), server.seconds()
            statements.clear()
            with sampled(self.keys) as sample:
                done = OPERATIONS[self.operation](engine)
            taken_by_server = server.seconds()
            if before:
                sample["growth MiB"] = memory("VmHWM") - before
        if done < self.keys:
            raise NotDoneError(f"{self.operation}: {done} of {self.keys} keys")
        return _with_totals(sample, len(statements), (taken_by_server or 0.0) - (at_server or 0.0))

    def _objects(self) -> Sequence[int]:
        if self.has_orphans:
            return range(2 * self.filling.rows)
        return sorted([*self.filling.row_numbers, *self.filling.other_numbers])


def _counted(engine: Engine) -> list[None]:
    """Return a list that gets an item for each statement."""
    statements: list[None] = []

    @event.listens_for(engine, "before_cursor_execute")
    def count(*_arguments: object) -> None:
        statements.append(None)

    return statements


def _with_totals(sample: Sample, statements: int, at_server: float) -> Sample:
    keys = sample["items"]
    return sample | {
        "cpu s": sample["cpu"] * keys,
        "wall s": sample["wall"] * keys,
        "server cpu s": at_server,
        "all cpu": sample["cpu"] + at_server / keys,
        "statements": float(statements),
    }
