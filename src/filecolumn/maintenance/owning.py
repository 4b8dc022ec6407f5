"""Adopt: say of storages what only a person knows, after a database or its content was moved or restored."""

from __future__ import annotations

import time
from collections.abc import Collection

from sqlalchemy import Engine

from filecolumn.errors import MaintenanceRefusedError
from filecolumn.maintenance.models import Models, known_ledger, refuse_autocommit
from filecolumn.maintenance.places import Places
from filecolumn.maintenance.required import require_ledger, require_storages
from filecolumn.orm.place import SILENT, Survey, forget_standings, other_writers, take_place
from filecolumn.orm.recording import speaking

__all__ = ("adopt",)


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
        survey = Survey(connection, ledger)
        for name, backend in places.backends():
            standing = survey.examine(backend)
            if standing.refused and not (moved or new_place):
                raise MaintenanceRefusedError(standing.refused)
            if sole:
                _refuse_other_writers(name, other_writers(backend, survey.identity.id))
        for _, backend in places.backends():
            take_place(connection, ledger, backend, sole=sole, new_id=new_place)
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
