"""What only a person knows: whose a storage is after a move or a restore, and which key is to live again."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial

from sqlalchemy import Engine, select

from filecolumn.backends.registry import ObjectRef, names_of, storages
from filecolumn.errors import BackendNotRegisteredError, MaintenanceRefusedError, ObjectNotFoundError
from filecolumn.files import execution
from filecolumn.ledger.marks import other_writers
from filecolumn.ledger.owner import SILENT, Examiner, adopt_storage, forget_standings, look_at_places
from filecolumn.ledger.table import State
from filecolumn.ledger.transitions import revive, speaking
from filecolumn.maintenance.required import (
    Models,
    known_ledger,
    refuse_autocommit,
    require_ledger,
    require_storages,
)
from filecolumn.maintenance.survey import Places

__all__ = (
    "adopt",
    "undelete",
)


def adopt(
    engine: Engine,
    *models: Models,
    only: Collection[str] | None = None,
    moved: bool = False,
    new_place: bool = False,
    sole: bool = False,
) -> list[str]:
    """Say that the registered storages (or *only* some, by their keys) are this database's, and return their keys.

    It is for a database that was restored or moved: from then on it removes again what its rows give
    up.  *moved* says that the content was copied to where the storage is now, *new_place* that the
    storage starts anew there, *sole* that nobody else stores in it and nothing in it is to be kept
    that no row has: then sweeps claim what neither rows nor the ledger know.

    MaintenanceRefusedError where the storage is not the one that the database knows and neither
    *moved* nor *new_place* is said, and for *sole* while another database was seen there in the last
    30 days.  BackendNotRegisteredError, before anything is done, where rows or the ledger name a storage
    that is not registered in this process (or *only* does), and MissingLedgerError without the ledger's tables.
    """
    refuse_autocommit(engine)
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    require_storages(engine, ledger, metadatas, only=only)
    places = Places(only)
    with speaking(ledger), engine.begin() as connection:
        examiner = Examiner(connection, ledger)
        for name, backend in places.backends():
            standing = examiner.examine(backend)
            if standing.refused and not (moved or new_place):
                raise MaintenanceRefusedError(standing.refused)
            if sole:
                _refuse_other_writers(name, other_writers(backend, examiner.identity.id))
        for _, backend in places.backends():
            adopt_storage(connection, ledger, backend, sole=sole, new_place=new_place)
    forget_standings()
    return places.names


def _refuse_other_writers(name: str, writers: dict[str, float]) -> None:
    fresh = [at for at in writers.values() if time.time() - at < SILENT]
    if fresh:
        days = (time.time() - max(fresh)) / (24 * 3600)
        raise MaintenanceRefusedError(
            f"{len(fresh)} other database(s) store in {name!r}, one was seen {days:.1f} days ago: give each a folder "
            "or prefix of its own; one that is not seen for 30 days counts as gone"
        )


def undelete(engine: Engine, *models: Models, key: str, storage: str | None = None) -> str:
    """Take *key* back from the quarantine or the retention, and return the name of its storage.

    The ledger has it as live again, so that a row may refer to it; no drain deletes it.  *storage* is
    needed only where several have the key.  ObjectNotFoundError if it does not wait to be deleted, or
    its object is gone; MaintenanceRefusedError if several storages have it.
    """
    refuse_autocommit(engine)
    ledger, _ = known_ledger(models)
    require_ledger(engine, ledger)
    columns = ledger.table.c
    with speaking(ledger), engine.connect() as connection:
        look_at_places(connection, ledger)
        query = select(columns.backend).where(columns.key == key, columns.state == State.DOOMED.value)
        names = list(connection.scalars(query))
    if storage is not None:
        names = [name for name in names if name in names_of(storages.resolve(storage))]
    if not names:
        raise ObjectNotFoundError(f"{key!r} does not wait to be deleted: the ledger has no such key")
    if len(names) > 1:
        raise MaintenanceRefusedError(f"{key!r} waits in {', '.join(names)}: name one of them as the storage")
    place: ObjectRef = names[0], key
    _refuse_missing(place)
    if not revive(engine, ledger, place):
        raise ObjectNotFoundError(f"{key!r} was deleted meanwhile")
    return place[0]


def _refuse_missing(place: ObjectRef) -> None:
    name, key = place
    try:
        backend = storages.get(name)
    except BackendNotRegisteredError as error:
        raise MaintenanceRefusedError(str(error)) from error
    execution.asked(backend, partial(backend.stat, key), f"describe {key!r}")
