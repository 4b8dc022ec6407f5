"""Where a run goes on that ended early: the last key of each storage, in the ledger's meta table.

Runs that go on take one storage after the other, each once until all are done: a storage that is being
listed has the last key that was seen, one that still waits for its turn an empty one, and one that is done none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.locks import insist
from filecolumn.ledger.table import Ledger, read_meta, remove_meta, set_meta
from filecolumn.logs import warn

__all__ = ("Positions", "TimeLimit")

PREFIX = "position:"
_WAITING = ""


class TimeLimit:
    """How long a run may take, counted from where it began."""

    def __init__(self, seconds: float | None) -> None:
        self._began = time.monotonic()
        self._seconds = seconds

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self._seconds is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left; none without a limit."""
        return 0.0 if self._seconds is None else max(self._seconds - self.elapsed, 0.0)

    def is_over(self, *, reserve: float = 0.0) -> bool:
        """Return whether the time is over, or will be if the rest takes *reserve* seconds."""
        return self._seconds is not None and self.elapsed + reserve >= self._seconds


class Positions:
    """The keys behind which runs of one kind go on; without a ledger each run begins anew."""

    def __init__(self, engine: Engine, ledger: Ledger | None, kind: str) -> None:
        self._engine = engine
        self._ledger = ledger
        self._kind = kind
        self._known: dict[str, str] = {}
        self.reached: dict[str, str | None] = {}
        """The last key that this run has seen in each storage; None at its end."""
        if ledger is not None:
            with engine.connect() as connection:
                self._known = read_meta(connection, ledger, f"{PREFIX}{kind}:")

    def of(self, storage: str) -> str | None:
        """Return the last key of a storage that the runs before have seen; None to begin with its first."""
        return self._known.get(self._name(storage)) or None

    def turns(
        self, backends: Iterable[tuple[str, StorageBackend]], limit: TimeLimit, is_over: Callable[[], bool]
    ) -> Iterator[tuple[str, StorageBackend]]:
        """Yield the storages to list, one at least, until the time *is_over*; first one that was not finished.

        If none of those answers that are to go on, the others have their turn.
        """
        named = list(backends)
        begun = [each for each in named if self._name(each[0]) in self._known] if limit.is_set else []
        others = [each for each in named if each not in begun]
        yield from self._in_time(sorted(begun, key=lambda each: self.of(each[0]) is None), is_over)
        if not any(name in self.reached for name, _ in begun):
            yield from self._in_time(others, is_over)

    def _in_time(
        self, named: Iterable[tuple[str, StorageBackend]], is_over: Callable[[], bool]
    ) -> Iterator[tuple[str, StorageBackend]]:
        for number, (name, backend) in enumerate(named):
            if number and is_over():
                self.reached[name] = self.of(name) or _WAITING
            else:
                yield name, backend

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing to go on with."""
        return all(key is None for key in self.reached.values())

    def note(self) -> None:
        """Note what this run has reached."""
        ledger = self._ledger
        reached = {self._name(storage): key for storage, key in self.reached.items()}
        changes = {name: key for name, key in reached.items() if key != self._known.get(name)}
        if ledger is None or not changes:
            return
        try:
            insist(self._engine, partial(_note, ledger=ledger, changes=changes))
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            # as for a role that may only read
            warn("the next run begins anew, because the database does not take its position: %s", error.orig)

    def _name(self, storage: str) -> str:
        return f"{PREFIX}{self._kind}:{sha256(storage.encode()).hexdigest()[:16]}"


def _note(connection: Connection, ledger: Ledger, changes: Mapping[str, str | None]) -> None:
    for name, key in changes.items():
        if key is None:
            remove_meta(connection, ledger, name)
        else:
            set_meta(connection, ledger, name, key)
