"""Drain: delete the objects that transactions have doomed, whatever became of their processes.

Any number of drains may run at a time.  One that is killed leaves work that another takes up when
its lease has ended.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection, Engine, delete, select, true, update

from filecolumn._failpoints import failpoint
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.errors import InvalidKeyError
from filecolumn.files import execution
from filecolumn.ledger.deletion import FENCE_RETENTION, delete_objects, mark_gone, mark_refused, mark_withheld
from filecolumn.ledger.locks import lock_sqlite
from filecolumn.ledger.owner import generation_in, has_mark, look_at_places, standing_to_remove, why_shared
from filecolumn.ledger.proofs import TOKEN
from filecolumn.ledger.table import Ledger, State, now_ms
from filecolumn.ledger.transitions import is_one_of, speaking
from filecolumn.logs import warn
from filecolumn.maintenance.claims import insist
from filecolumn.maintenance.required import (
    Models,
    known_ledger,
    ledger_names,
    refuse_autocommit,
    require_ledger,
    require_storages,
)
from filecolumn.maintenance.view import View, look_at, snapshot
from filecolumn.naming import check_key, uuid7_hex

__all__ = ("DrainReport", "drain")

BATCH = 100
DELETE_LIMIT = 120.0
"""Seconds that an event loop waits for a storage to delete a batch; well below the lease."""
LEASE = 300.0
"""Seconds after which another drain may take up what one has claimed."""
LOOKS = (0.0, 0.02, 0.1, 0.5)
"""Seconds before each look at keys that others have locked: MariaDB's claims lock keys of their neighbours."""
PURGE_BATCH = 1000
ROUND = 10_000
"""Keys that are looked up in one pass over the rows."""
RELOOK = 600.0
"""Seconds after which a key is looked up again before its object is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """What a drain did, in numbers of keys."""

    deleted: int = 0
    """Objects deleted, or found to be deleted."""
    refused: int = 0
    """Objects that their storage did not delete; they are tried again later."""
    restored: int = 0
    """Keys that a row refers to after all; their objects stay."""
    withheld: int = 0
    """Objects that stay because something is in doubt; the next drain asks again."""
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why objects were withheld, each with their number."""
    purged: int = 0
    """Keys that the ledger has forgotten, long after their objects were deleted."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that this drain has to itself until the lease ends."""

    place: ObjectRef
    attempts: int
    is_orphan: bool
    """Whether no row ever had it, as far as the ledger knows: it was found by a sweep."""


def drain(
    engine: Engine,
    *models: Models,
    limit: int | None = None,
    batch: int = BATCH,
    lease: float = LEASE,
    rate: float | None = None,
    storages: Collection[str] | None = None,
) -> DrainReport:
    """Delete what is due, at most *limit* objects, and return what was done.

    Each key is looked up in all file columns before its object is deleted: those of *models*, the
    declarative bases (or `MetaData`) of all models in the database, and those that the ledger has
    recorded.  *lease* is in seconds and longer than a batch takes; *rate* is the number of objects to
    delete in a second at most; *storages* names the storages to delete in.

    A storage that refuses is no error here: the key is tried again later, at growing intervals.  Nor
    is doubt: objects are withheld where a column cannot be read, the storage is not the place that the
    ledger knows, or the database is a copy.

    BackendNotRegisteredError, before anything is done, where the ledger has keys of a storage that is not
    registered in this process (or *storages* names one), and MissingLedgerError without the ledger's tables.
    """
    refuse_autocommit(engine)
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    # rows that the ledger does not know have nothing that is due
    require_storages(engine, ledger, metadatas, chosen=storages, in_rows=False)
    with speaking(ledger), engine.connect() as connection:
        view = look_at(connection, ledger, metadatas)
        # what fails meanwhile is not taken up by this run again
        until = connection.scalar(select(now_ms())) or 0
        generation = generation_in(connection, ledger)
        names = None if storages is None else ledger_names(connection, ledger, storages)
    run = _Drain(engine, ledger, view, until, lease, generation, names)
    left = limit
    while claims := run.claim(batch, ROUND if left is None else min(ROUND, left)):
        run.look_up(claims)
        for group in batches(claims, batch):
            started = time.monotonic()
            run.delete(group)
            if rate is not None:
                execution.pause(max(len(group) / rate - (time.monotonic() - started), 0.0))
        if left is not None:
            left -= len(claims)
            if left <= 0:
                break
    _forget_tokens(engine, ledger)
    return replace(run.report, purged=_purge(engine, ledger))


class _Drain:
    """One run of a drain."""

    def __init__(  # noqa: PLR0917 - what one run goes by
        self,
        engine: Engine,
        ledger: Ledger,
        view: View,
        until: int,
        lease: float,
        generation: int,
        names: Collection[str] | None,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._view = view
        self._until = until
        self._lease = lease
        self._generation = generation
        self._names = names
        self._looked_at = 0.0
        self._found: set[str] = set()
        self._marks: dict[tuple[str, str], bool] = {}
        self._has_looked = False
        self.report: DrainReport = DrainReport()

    def claim(self, batch: int, most: int) -> list[Claim]:
        """Take *most* keys at most for this drain alone, until the lease ends."""
        claims: list[Claim] = []
        self._looked_at = time.monotonic()
        while size := min(batch, most - len(claims)):
            taken = insist(self._engine, partial(self._claim, size=size))
            if taken:
                failpoint("drain.after_claim")
            claims += taken
            if len(taken) < size or time.monotonic() - self._looked_at > self._lease / 4:
                break
        return claims

    def _claim(self, connection: Connection, size: int) -> list[Claim]:
        columns = self._ledger.table.c
        is_chosen = true() if self._names is None else columns.backend.in_(self._names)
        due = (
            select(
                columns.backend, columns.key, columns.attempts, columns.held_in, columns.unreferenced_since
            )
            .where(
                self._ledger.is_waiting, columns.state == State.DOOMED.value, columns.due_at <= self._until
            )
            .where(is_chosen)
            .order_by(columns.due_at)
            .limit(size)
            .with_for_update(skip_locked=True)
        )
        lock_sqlite(connection, self._ledger)
        claims = [
            Claim((backend, key), attempts, held_in is None and since is not None)
            for backend, key, attempts, held_in, since in connection.execute(due)
        ]
        if claims:
            connection.execute(
                update(self._ledger.table)
                .where(is_one_of(self._ledger, [claim.place for claim in claims]))
                .values(due_at=now_ms() + int(self._lease * 1000))
            )
        return claims

    def look_up(self, claims: Sequence[Claim]) -> None:
        """Look the keys up in all file columns, as they are at one moment after they were claimed."""
        self._looked_at = time.monotonic()
        with snapshot(self._engine) as connection:
            self._found = self._view.referenced(connection, {claim.place[1] for claim in claims})

    def delete(self, claims: Sequence[Claim]) -> None:
        """Delete what no row refers to, and note what became of each key."""
        claims, withheld = self._separate(self._still_ours(claims))
        suspected = {claim.place for claim in claims if claim.place[1] in self._found}
        restored, busy = self._settle(suspected)
        doomed = {claim.place: claim.attempts for claim in claims if claim.place not in suspected | busy}
        refused = {place: why for place in doomed if (why := _problem_of_key(place))}
        refused |= _delete_apart([place for place in doomed if place not in refused])
        failpoint("drain.after_delete")

        def note(connection: Connection) -> None:
            mark_gone(connection, self._ledger, doomed.keys() - refused.keys())
            mark_refused(
                connection, self._ledger, {place: (doomed[place], why) for place, why in refused.items()}
            )
            mark_withheld(connection, self._ledger, withheld)
            failpoint("drain.before_gone")

        insist(self._engine, note)
        reasons = Counter(self.report.reasons) + Counter(withheld.values())
        self.report = replace(
            self.report,
            deleted=self.report.deleted + len(doomed) - len(refused),
            refused=self.report.refused + len(refused),
            restored=self.report.restored + len(restored),
            withheld=self.report.withheld + len(withheld),
            reasons=dict(reasons),
        )

    def _still_ours(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Return the claims; those that are old are renewed, and looked up again: others may have had them."""
        if time.monotonic() - self._looked_at < min(RELOOK, self._lease / 2):
            return claims
        columns = self._ledger.table.c

        def renew(connection: Connection) -> set[ObjectRef]:
            is_ours = (
                is_one_of(self._ledger, [claim.place for claim in claims]),
                columns.state == State.DOOMED.value,
            )
            due_at = now_ms() + int(self._lease * 1000)
            connection.execute(update(self._ledger.table).where(*is_ours).values(due_at=due_at))
            found = connection.execute(select(columns.backend, columns.key).where(*is_ours))
            return {(backend, key) for backend, key in found}

        ours = insist(self._engine, renew)
        kept = [claim for claim in claims if claim.place in ours]
        with snapshot(self._engine) as connection:
            self._found |= self._view.referenced(connection, {claim.place[1] for claim in kept})
        return kept

    def _separate(self, claims: Sequence[Claim]) -> tuple[list[Claim], dict[ObjectRef, str]]:
        """Return what may be deleted, and why the rest may not be."""
        reasons = {claim.place: self._reason_against(claim) for claim in claims}
        withheld = {place: why for place, why in reasons.items() if why}
        return [claim for claim in claims if claim.place not in withheld], withheld

    def _reason_against(self, claim: Claim) -> str:
        name, key = claim.place
        if not self._view.is_complete and key not in self._found:
            return self._view.reason
        if not self._is_registered(name):
            return ""  # deleting says so
        backend = storages.get(name)
        standing = standing_to_remove(self._engine, self._ledger, backend, generation=self._generation)
        if standing.withheld or not claim.is_orphan:
            return standing.withheld
        if reason := standing.mixed or why_shared(backend):
            return f"no row ever had it, and {reason}"
        if self._lies_in_another_place(name, key):
            return "it lies in a folder that is a place of its own"
        return ""

    def _is_registered(self, name: str) -> bool:
        """Return whether the storage is known, perhaps under a name that its place had before."""
        if not storages.is_registered(name) and not self._has_looked:
            self._has_looked = True
            with self._engine.connect() as connection:
                look_at_places(connection, self._ledger)
        return storages.is_registered(name)

    def _lies_in_another_place(self, name: str, key: str) -> bool:
        """Return whether a folder above the key has a mark of its own; each folder is asked once in a run."""
        folders = key.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            folder = name, "/".join(folders[:depth])
            if folder not in self._marks:
                self._marks[folder] = has_mark(storages.get(name), folder[1])
            if self._marks[folder]:
                return True
        return False

    def _settle(self, suspected: set[ObjectRef]) -> tuple[set[ObjectRef], set[ObjectRef]]:
        """Look up again what a row seemed to refer to; return what lives, and what is in use until the lease ends."""
        restored, busy = set[ObjectRef](), suspected
        for pause in LOOKS:
            if not busy:
                break
            execution.pause(pause)
            found, busy = insist(self._engine, partial(self._look_up, places=busy))
            restored |= found
        return restored, busy

    def _look_up(
        self, connection: Connection, places: Collection[ObjectRef]
    ) -> tuple[set[ObjectRef], set[ObjectRef]]:
        """Let live what a row refers to; return that, and what a transaction is about to take from a row.

        The keys are locked while they are looked up: else a row could let go of one in between, and
        it would live until a sweep.
        """
        columns = self._ledger.table.c
        is_ours = is_one_of(self._ledger, places), columns.state == State.DOOMED.value
        locked = (
            select(columns.backend, columns.key)
            .where(*is_ours)
            .order_by(columns.backend, columns.key)
            .with_for_update(skip_locked=True)
        )
        lock_sqlite(connection, self._ledger)
        ours = {(backend, key) for backend, key in connection.execute(locked)}
        keys = self._view.referenced(connection, {key for _, key in ours})
        restored = {place for place in ours if place[1] in keys}
        if restored:
            warn("rows refer to doomed keys, which stay: %s", sorted(restored))
            connection.execute(
                update(self._ledger.table)
                .where(is_one_of(self._ledger, restored))
                .values(
                    state=State.LIVE.value,
                    checked=False,
                    due_at=None,
                    attempts=0,
                    unreferenced_since=None,
                    last_error="restored: a row refers to it",
                )
            )
        return restored, set(places) - ours


def _problem_of_key(place: ObjectRef) -> str:
    try:
        check_key(place[1])
    except InvalidKeyError as error:
        return str(error)
    return ""


def _delete_apart(places: Sequence[ObjectRef]) -> dict[ObjectRef, str]:
    """Delete objects; of a batch that is refused try each half, so that one object does not hold up others.

    When both halves are refused, the storage is: it is not asked for each object.
    """
    refused = delete_objects(places, limit=DELETE_LIMIT)
    if len(refused) < 2 or len(refused) < len(places):
        return refused
    middle = len(places) // 2
    first = delete_objects(places[:middle], limit=DELETE_LIMIT)
    second = delete_objects(places[middle:], limit=DELETE_LIMIT)
    if first and not second:
        return _delete_apart(places[:middle]) if middle > 1 else first
    if second and not first:
        return _delete_apart(places[middle:]) if len(places) - middle > 1 else second
    return {**first, **second}


def _purge(engine: Engine, ledger: Ledger) -> int:
    """Forget keys whose time as a fence is over."""
    columns = ledger.table.c
    is_over = ledger.is_waiting, columns.state == State.GONE.value, columns.due_at <= now_ms()
    over = select(columns.backend, columns.key).where(*is_over).limit(PURGE_BATCH)

    def forget(connection: Connection) -> int:
        places = [(backend, key) for backend, key in connection.execute(over)]
        if places:
            connection.execute(delete(ledger.table).where(is_one_of(ledger, places), *is_over))
        return len(places)

    purged = 0
    while count := insist(engine, forget):
        purged += count
    return purged


def _forget_tokens(engine: Engine, ledger: Ledger) -> None:
    """Forget proofs of commits after which nobody asks any more: those of connections that are gone."""
    columns = ledger.meta.c
    oldest = uuid7_hex(time.time_ns() - int(FENCE_RETENTION * 1e9))
    is_over = columns.name.startswith(TOKEN, autoescape=True), columns.value < oldest
    over = select(columns.name).where(*is_over).limit(PURGE_BATCH)

    def forget(connection: Connection) -> int:
        names = list(connection.scalars(over))
        if names:
            connection.execute(delete(ledger.meta).where(columns.name.in_(names), *is_over))
        return len(names)

    while insist(engine, forget):
        continue
