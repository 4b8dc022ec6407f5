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

from sqlalchemy import Connection, Engine

from filecolumn._failpoints import failpoint
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.errors import InvalidKeyError
from filecolumn.files import execution
from filecolumn.ledger.deletion import delete_objects
from filecolumn.ledger.locks import insist
from filecolumn.ledger.marks import has_mark, why_shared
from filecolumn.ledger.owner import generation_in, look_at_places, standing_to_remove
from filecolumn.ledger.proofs import forget_tokens
from filecolumn.ledger.table import Ledger, time_of
from filecolumn.ledger.transitions import (
    Lease,
    lease_due,
    lock_doomed,
    mark_gone,
    mark_refused,
    mark_withheld,
    purge,
    renew_leases,
    restore_locked,
    speaking,
)
from filecolumn.logs import warn
from filecolumn.maintenance.required import (
    Models,
    known_ledger,
    ledger_names,
    refuse_autocommit,
    require_ledger,
    require_storages,
)
from filecolumn.maintenance.view import View, look_at, snapshot
from filecolumn.naming import check_key

__all__ = ("DrainReport", "drain")

BATCH = 100
DELETE_LIMIT = 120.0
"""Seconds that an event loop waits for a storage to delete a batch; well below the lease."""
LEASE = 300.0
"""Seconds after which another drain may take up what one has leased."""
LOOKS = (0.0, 0.02, 0.1, 0.5)
"""Seconds before each look at keys that others have locked: MariaDB's leases lock keys of their neighbours."""
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
    """Keys that a row references after all; their objects stay."""
    withheld: int = 0
    """Objects that stay because something is in doubt; the next drain asks again."""
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why objects were withheld, each with their number."""
    purged: int = 0
    """Keys that the ledger has forgotten, long after their objects were deleted."""


def drain(
    engine: Engine,
    *models: Models,
    limit: int | None = None,
    batch: int = BATCH,
    lease: float = LEASE,
    rate: float | None = None,
    only: Collection[str] | None = None,
) -> DrainReport:
    """Delete what is due, at most *limit* objects, and return what was done.

    Each key is looked up in all file columns before its object is deleted: those of *models*, the
    declarative bases (or `MetaData`) of all models in the database, and those that the ledger has
    recorded.  *lease* is in seconds and longer than a batch takes; *rate* is the number of objects to
    delete in a second at most; *only* names the storages to delete in.

    A storage that refuses is no error here: the key is tried again later, at growing intervals.  Nor
    is doubt: objects are withheld where a column cannot be read, the storage is not the place that the
    ledger knows, or the database is a copy.

    BackendNotRegisteredError, before anything is done, where the ledger has keys of a storage that is not
    registered in this process (or *only* names one), and MissingLedgerError without the ledger's tables.
    """
    refuse_autocommit(engine)
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    # rows that the ledger does not know have nothing that is due
    require_storages(engine, ledger, metadatas, only=only, in_rows=False)
    with speaking(ledger), engine.connect() as connection:
        view = look_at(connection, ledger, metadatas)
        # what fails meanwhile is not taken up by this run again
        until = time_of(connection)
        generation = generation_in(connection, ledger)
        names = None if only is None else ledger_names(connection, ledger, only)
    run = _Drain(engine, ledger, view, until, lease, generation, names)
    left = limit
    while leases := run.lease(batch, ROUND if left is None else min(ROUND, left)):
        run.look_up(leases)
        for group in batches(leases, batch):
            started = time.monotonic()
            run.delete(group)
            if rate is not None:
                execution.pause(max(len(group) / rate - (time.monotonic() - started), 0.0))
        if left is not None:
            left -= len(leases)
            if left <= 0:
                break
    forget_tokens(engine, ledger)
    return replace(run.report, purged=purge(engine, ledger))


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

    def lease(self, batch: int, most: int) -> list[Lease]:
        """Take *most* keys at most for this drain alone, until the lease ends."""
        leases: list[Lease] = []
        self._looked_at = time.monotonic()
        while size := min(batch, most - len(leases)):
            taken = insist(
                self._engine,
                partial(
                    lease_due,
                    ledger=self._ledger,
                    size=size,
                    seconds=self._lease,
                    until=self._until,
                    names=self._names,
                ),
            )
            if taken:
                failpoint("drain.after_claim")
            leases += taken
            if len(taken) < size or time.monotonic() - self._looked_at > self._lease / 4:
                break
        return leases

    def look_up(self, leases: Sequence[Lease]) -> None:
        """Look the keys up in all file columns, as they are at one moment after they were leased."""
        self._looked_at = time.monotonic()
        with snapshot(self._engine) as connection:
            self._found = self._view.referenced(connection, {lease.ref[1] for lease in leases})

    def delete(self, leases: Sequence[Lease]) -> None:
        """Delete what no row references, and note what became of each key."""
        leases, withheld = self._separate(self._still_ours(leases))
        suspected = {lease.ref for lease in leases if lease.ref[1] in self._found}
        restored, busy = self._restore(suspected)
        doomed = {lease.ref: lease.attempts for lease in leases if lease.ref not in suspected | busy}
        refused = {ref: why for ref in doomed if (why := _problem_of_key(ref))}
        refused |= _delete_apart([ref for ref in doomed if ref not in refused])
        failpoint("drain.after_delete")

        def note(connection: Connection) -> None:
            mark_gone(connection, self._ledger, doomed.keys() - refused.keys())
            mark_refused(connection, self._ledger, {ref: (doomed[ref], why) for ref, why in refused.items()})
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

    def _still_ours(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Return the leases; those that are old are renewed, and looked up again: others may have had them."""
        if time.monotonic() - self._looked_at < min(RELOOK, self._lease / 2):
            return leases
        refs = [lease.ref for lease in leases]
        ours = insist(
            self._engine, partial(renew_leases, ledger=self._ledger, refs=refs, seconds=self._lease)
        )
        kept = [lease for lease in leases if lease.ref in ours]
        with snapshot(self._engine) as connection:
            self._found |= self._view.referenced(connection, {lease.ref[1] for lease in kept})
        return kept

    def _separate(self, leases: Sequence[Lease]) -> tuple[list[Lease], dict[ObjectRef, str]]:
        """Return what may be deleted, and why the rest may not be."""
        reasons = {lease.ref: self._reason_against(lease) for lease in leases}
        withheld = {ref: why for ref, why in reasons.items() if why}
        return [lease for lease in leases if lease.ref not in withheld], withheld

    def _reason_against(self, lease: Lease) -> str:
        name, key = lease.ref
        if not self._view.is_complete and key not in self._found:
            return self._view.reason
        if not self._is_registered(name):
            return ""  # deleting says so
        backend = storages.get(name)
        standing = standing_to_remove(self._engine, self._ledger, backend, generation=self._generation)
        if standing.withheld or not lease.is_orphan:
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

    def _restore(self, suspected: set[ObjectRef]) -> tuple[set[ObjectRef], set[ObjectRef]]:
        """Look up again what a row seemed to refer to; return what lives, and what is in use until the lease ends."""
        restored, busy = set[ObjectRef](), suspected
        for pause in LOOKS:
            if not busy:
                break
            execution.pause(pause)
            found, busy = insist(self._engine, partial(self._look_up, refs=busy))
            restored |= found
        return restored, busy

    def _look_up(
        self, connection: Connection, refs: Collection[ObjectRef]
    ) -> tuple[set[ObjectRef], set[ObjectRef]]:
        """Mark keys LIVE again that a row references; return them, and what a transaction is about to take from a row.

        The keys are locked while they are looked up: else a row could let go of one in between, and
        it would live until a sweep.
        """
        ours = lock_doomed(connection, self._ledger, refs)
        keys = self._view.referenced(connection, {key for _, key in ours})
        restored = {ref for ref in ours if ref[1] in keys}
        if restored:
            warn("doomed keys are kept, because rows reference them: %s", sorted(restored))
            restore_locked(connection, self._ledger, restored)
        return restored, set(refs) - ours


def _problem_of_key(ref: ObjectRef) -> str:
    try:
        check_key(ref[1])
    except InvalidKeyError as error:
        return str(error)
    return ""


def _delete_apart(refs: Sequence[ObjectRef]) -> dict[ObjectRef, str]:
    """Delete objects; of a batch that is refused try each half, so that one object does not hold up others.

    When both halves are refused, the storage is: it is not asked for each object.
    """
    refused = delete_objects(refs, limit=DELETE_LIMIT)
    if len(refused) < 2 or len(refused) < len(refs):
        return refused
    middle = len(refs) // 2
    first = delete_objects(refs[:middle], limit=DELETE_LIMIT)
    second = delete_objects(refs[middle:], limit=DELETE_LIMIT)
    if first and not second:
        return _delete_apart(refs[:middle]) if middle > 1 else first
    if second and not first:
        return _delete_apart(refs[middle:]) if len(refs) - middle > 1 else second
    return {**first, **second}
