"""Deletes doomed objects, and says in the ledger what became of each.

The delete comes first, outside any transaction, and is repeated until the ledger has it as GONE:
whoever is killed in between leaves work that another finishes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection, bindparam, update

from filecolumn._failpoints import failpoint
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.backends.streams import batches
from filecolumn.errors import BackendNotRegisteredError
from filecolumn.files import execution
from filecolumn.files.transfer import CLEANUP_LIMIT
from filecolumn.ledger.locks import brief
from filecolumn.ledger.owner import standing_to_remove
from filecolumn.ledger.prepared import prepared
from filecolumn.ledger.table import MAX_ERROR, Ledger, State, now_ms
from filecolumn.ledger.transitions import BATCH, LedgerAt, is_at, is_one_of, keys_at
from filecolumn.logs import warn

__all__ = (
    "FENCE_RETENTION",
    "WITHHELD",
    "conclude",
    "delete_objects",
    "mark_gone",
    "mark_refused",
    "mark_withheld",
)

FENCE_RETENTION = 7 * 24 * 3600.0
"""Seconds that the ledger remembers a key after its object was deleted; at least twice `MAX_ATTACH_AGE`."""

FIRST_DELAY = 5.0
LONGEST_DELAY = 3600.0
WITHHELD = "withheld: "
"""How the ledger's note begins for an object that stays because something is in doubt."""
WITHHELD_DELAY = 300.0
"""Seconds after which a drain asks again."""


def delete_objects(places: Iterable[ObjectRef], *, limit: float = CLEANUP_LIMIT) -> dict[ObjectRef, str]:
    """Delete the objects at *places*, in one request where the storage can; return why some are still there.

    An event loop waits for *limit* seconds.
    """
    by_backend: defaultdict[StorageBackend, list[ObjectRef]] = defaultdict(list)
    refused: dict[ObjectRef, str] = {}
    for place in sorted(places):
        try:
            by_backend[storages.get(place[0])].append(place)
        except BackendNotRegisteredError as error:
            refused[place] = str(error)
    keys = {backend: [key for _, key in group] for backend, group in by_backend.items()}
    for backend, refusal in execution.delete(keys, limit=limit).items():
        refused.update(dict.fromkeys(by_backend[backend], str(refusal)))
    return refused


def conclude(at: LedgerAt, places: Collection[ObjectRef], generation: int | None = None) -> None:
    """Delete what a committed transaction took away; what fails is left to the next drain.

    *generation* is that of the database, as the transaction has read it.
    Never raises for the storage or the database: the transaction has committed.
    """
    failpoint("drain.before_delete")
    withheld = _withheld(at, places, generation)
    refused = delete_objects(place for place in places if place not in withheld)
    failpoint("drain.after_delete")
    if refused:
        warn("objects that no row refers to stay until the next drain: %s", refused)
    try:
        with brief(at.engine) as connection:
            deleted = set(places) - refused.keys() - withheld.keys()
            mark_gone(connection, at.ledger, deleted, of=(State.LIVE, State.DOOMED))
            mark_withheld(connection, at.ledger, withheld)
            mark_refused(connection, at.ledger, {place: (0, why) for place, why in refused.items()})
            failpoint("drain.before_gone")
    except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
        # as text: a record that is kept would keep the connection, with its locks
        warn("the ledger is not up to date until the next drain: %s", error)


def _withheld(at: LedgerAt, places: Collection[ObjectRef], generation: int | None) -> dict[ObjectRef, str]:
    """Return which objects a commit may not delete, and why: their storage is not the place that has them."""
    reasons: dict[str, str] = {}
    for name in {name for name, _ in places}:
        if storages.is_registered(name):
            backend = storages.get(name)
            standing = standing_to_remove(at.engine, at.ledger, backend, generation=generation)
            reasons[name] = standing.withheld
    return {place: why for place in places if (why := reasons.get(place[0]))}


def mark_gone(
    connection: Connection,
    ledger: Ledger,
    places: Collection[ObjectRef],
    *,
    of: tuple[State, ...] = (State.DOOMED,),
) -> None:
    """Note that the objects are deleted, for keys in the states *of*."""
    statement = prepared(
        ledger.table.metadata,
        (mark_gone, of),
        lambda: (
            update(ledger.table)
            .where(is_at(ledger), ledger.table.c.state.in_([state.value for state in of]))
            .values(state=State.GONE.value, due_at=now_ms() + int(FENCE_RETENTION * 1000), last_error=None)
        ),
    )
    for batch in batches(sorted(places), BATCH):
        for keys in keys_at(batch):
            connection.execute(statement, keys)


def mark_refused(
    connection: Connection, ledger: Ledger, refused: Mapping[ObjectRef, tuple[int, str]]
) -> None:
    """Note of each key how often it was tried before and why it failed now, and when to try again."""
    if not refused:
        return
    columns = ledger.table.c
    statement = (
        update(ledger.table)
        .where(columns.backend == bindparam("at_backend"), columns.key == bindparam("at_key"))
        .where(columns.state == State.DOOMED.value)
        .values(
            attempts=bindparam("attempts"),
            last_error=bindparam("last_error"),
            due_at=now_ms() + bindparam("delay", type_=columns.due_at.type),
        )
    )
    connection.execute(
        statement,
        [
            {
                "at_backend": storages.name_in_ledger(backend),
                "at_key": key,
                "attempts": attempts + 1,
                "last_error": why[:MAX_ERROR],
                "delay": int(_delay(attempts) * 1000),
            }
            for (backend, key), (attempts, why) in sorted(refused.items())
        ],
    )


def mark_withheld(connection: Connection, ledger: Ledger, withheld: Mapping[ObjectRef, str]) -> None:
    """Note of each key why nobody may delete its object now; it was not tried."""
    by_reason: defaultdict[str, list[ObjectRef]] = defaultdict(list)
    for place, why in sorted(withheld.items()):
        by_reason[why].append(place)
    for why, places in by_reason.items():
        for batch in batches(places, BATCH):
            connection.execute(
                update(ledger.table)
                .where(is_one_of(ledger, batch), ledger.table.c.state == State.DOOMED.value)
                .values(
                    due_at=now_ms() + int(WITHHELD_DELAY * 1000), last_error=f"{WITHHELD}{why}"[:MAX_ERROR]
                )
            )


def _delay(attempts: int) -> float:
    """Return the seconds to wait after a failure: 5 doubled each time, at most an hour, spread by half."""
    longest: float = min(FIRST_DELAY * 2**attempts, LONGEST_DELAY)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, it keeps no secret
