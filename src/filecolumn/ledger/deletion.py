"""Deletes objects after a commit, and records in the ledger what became of each; never raises.

The delete comes first, outside any transaction, and is repeated until the ledger has it as GONE:
whoever is killed in between leaves work that another finishes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from filecolumn._failpoints import failpoint
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.errors import BackendNotRegisteredError
from filecolumn.files import execution
from filecolumn.files.transfer import CLEANUP_LIMIT
from filecolumn.ledger.locks import brief
from filecolumn.ledger.owner import standing_to_remove
from filecolumn.ledger.table import State
from filecolumn.ledger.transitions import LedgerAt, mark_gone, mark_refused, mark_withheld
from filecolumn.logs import warn

__all__ = (
    "conclude",
    "delete_objects",
)


def delete_objects(refs: Iterable[ObjectRef], *, limit: float = CLEANUP_LIMIT) -> dict[ObjectRef, str]:
    """Delete the objects *refs*, in one request where the storage can; return why some are still there.

    An event loop waits for *limit* seconds.
    """
    by_backend: defaultdict[StorageBackend, list[ObjectRef]] = defaultdict(list)
    refused: dict[ObjectRef, str] = {}
    for ref in sorted(refs):
        try:
            by_backend[storages.get(ref[0])].append(ref)
        except BackendNotRegisteredError as error:
            refused[ref] = str(error)
    keys = {backend: [key for _, key in group] for backend, group in by_backend.items()}
    for backend, refusal in execution.delete(keys, limit=limit).items():
        refused.update(dict.fromkeys(by_backend[backend], str(refusal)))
    return refused


def conclude(at: LedgerAt, refs: Collection[ObjectRef], generation: int | None = None) -> None:
    """Delete what a committed transaction took away; what fails is left to the next drain.

    *generation* is that of the database, as the transaction has read it.
    Never raises for the storage or the database: the transaction has committed.
    """
    failpoint("drain.before_delete")
    withheld = _withheld(at, refs, generation)
    refused = delete_objects(ref for ref in refs if ref not in withheld)
    failpoint("drain.after_delete")
    if refused:
        warn("objects that no row references stay until the next drain: %s", refused)
    try:
        with brief(at.engine) as connection:
            deleted = set(refs) - refused.keys() - withheld.keys()
            mark_gone(connection, at.ledger, deleted, of=(State.LIVE, State.DOOMED))
            mark_withheld(connection, at.ledger, withheld)
            mark_refused(connection, at.ledger, {ref: (0, why) for ref, why in refused.items()})
            failpoint("drain.before_gone")
    except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
        # as text: a record that is kept would keep the connection, with its locks
        warn("the ledger is not up to date until the next drain: %s", error)


def _withheld(at: LedgerAt, refs: Collection[ObjectRef], generation: int | None) -> dict[ObjectRef, str]:
    """Return which objects a commit may not delete, and why: their storage is not the place that has them."""
    reasons: dict[str, str] = {}
    for name in {name for name, _ in refs}:
        if storages.is_registered(name):
            backend = storages.get(name)
            standing = standing_to_remove(at.engine, at.ledger, backend, generation=generation)
            reasons[name] = standing.withheld
    return {ref: why for ref in refs if (why := reasons.get(ref[0]))}
