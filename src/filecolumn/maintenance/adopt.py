"""What only an operator can decide: adopt a storage after a move or a restore, undo the deletion of a key."""

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
    require_storages,
    require_tables,
)
from filecolumn.maintenance.survey import ChosenStorages

__all__ = (
    "adopt",
    "undelete",
)


def adopt(
    engine: Engine,
    *models: Models,
    storages: Collection[str] | None = None,
    moved: bool = False,
    new_place: bool = False,
    sole: bool = False,
) -> list[str]:
    """Declare that the registered storages belong to this database as it is now, and return their keys.

    It is for a database that was restored or moved: from then on it removes again what its rows release.

    *models*
        The declarative bases (or `MetaData`) of all models in the database.
    *storages*
        The keys of the storages to adopt; by default all.
    *moved*
        Whether the content was copied to where the storage is now.
    *new_place*
        Whether the storage starts empty where it is now.
    *sole*
        Whether no other database stores there, and nothing there is to be kept that no row references.  Then sweeps
        claim objects that neither rows nor the ledger know.

    Raises MaintenanceRefusedError if a storage is not the place that the database knows and neither *moved* nor
    *new_place* is given, and for *sole* if another database was seen there in the last 30 days.  Raises
    BackendNotRegisteredError, before anything is done, if rows, the ledger or *storages* name a storage that is not
    registered in this process, and MissingLedgerError without the ledger's tables.
    """
    ledger, metadatas = require_tables(engine, models)
    require_storages(engine, ledger, metadatas, chosen=storages)
    chosen = ChosenStorages(storages)
    with speaking(ledger), engine.begin() as connection:
        examiner = Examiner(connection, ledger)
        for name, backend in chosen.backends():
            standing = examiner.examine(backend)
            if standing.refused and not (moved or new_place):
                raise MaintenanceRefusedError(standing.refused)
            if sole:
                _refuse_other_writers(name, other_writers(backend, examiner.identity.id))
        for _, backend in chosen.backends():
            adopt_storage(connection, ledger, backend, sole=sole, new_place=new_place)
    forget_standings()
    return chosen.names


def _refuse_other_writers(name: str, writers: dict[str, float]) -> None:
    fresh = [at for at in writers.values() if time.time() - at < SILENT]
    if fresh:
        days = (time.time() - max(fresh)) / (24 * 3600)
        raise MaintenanceRefusedError(
            f"{len(fresh)} other database(s) store in {name!r}, one was seen {days:.1f} days ago: give each a folder "
            "or prefix of its own; one that is not seen for 30 days counts as gone"
        )


def undelete(engine: Engine, *models: Models, key: str, storage: str | None = None) -> str:
    """Undo the pending deletion of *key*, and return the key of its storage.

    The key is live again, so that a row may reference it, and no drain deletes it.  *storage* is needed only if
    the key is doomed in several storages.

    Raises ObjectNotFoundError if the key is not doomed, or its object is gone, and MaintenanceRefusedError if it is
    doomed in several storages.
    """
    ledger, _ = require_tables(engine, models)
    columns = ledger.table.c
    with speaking(ledger), engine.connect() as connection:
        look_at_places(connection, ledger)
        query = select(columns.backend).where(columns.key == key, columns.state == State.DOOMED.value)
        names = list(connection.scalars(query))
    if storage is not None:
        names = [name for name in names if name in names_of(storages.resolve(storage))]
    if not names:
        raise ObjectNotFoundError(f"{key!r} is not waiting to be deleted: the ledger has no such key")
    if len(names) > 1:
        raise MaintenanceRefusedError(
            f"{key!r} is waiting to be deleted in {', '.join(names)}: give one of them as the storage"
        )
    ref: ObjectRef = names[0], key
    _refuse_missing(ref)
    if not revive(engine, ledger, ref):
        raise ObjectNotFoundError(f"{key!r} was deleted meanwhile")
    return ref[0]


def _refuse_missing(ref: ObjectRef) -> None:
    name, key = ref
    try:
        backend = storages.get(name)
    except BackendNotRegisteredError as error:
        raise MaintenanceRefusedError(str(error)) from error
    execution.asked(backend, partial(backend.stat, key), f"describe {key!r}")
