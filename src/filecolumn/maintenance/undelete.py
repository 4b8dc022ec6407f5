"""Undelete: take a key back that waits for its deletion, while its object is still there."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection, Engine, select, update

from filecolumn.errors import BackendNotRegisteredError, MaintenanceRefusedError, ObjectNotFoundError
from filecolumn.maintenance.claims import insist
from filecolumn.maintenance.models import Models, known_ledger, refuse_autocommit
from filecolumn.maintenance.required import require_ledger
from filecolumn.orm import bridge
from filecolumn.orm.ledger import State
from filecolumn.orm.locks import lock_sqlite
from filecolumn.orm.place import look_at_places
from filecolumn.orm.recording import is_one_of, speaking
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = ("undelete",)


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
        names = [name for name in names if name in storages.names(storages.resolve(storage))]
    if not names:
        raise ObjectNotFoundError(f"{key!r} does not wait to be deleted: the ledger has no such key")
    if len(names) > 1:
        raise MaintenanceRefusedError(f"{key!r} waits in {', '.join(names)}: name one of them as the storage")
    place: Place = names[0], key
    _refuse_missing(place)

    def revive(connection: Connection) -> int:
        lock_sqlite(connection, ledger)
        is_it = is_one_of(ledger, [place]), columns.state == State.DOOMED.value
        live = {"state": State.LIVE.value, "checked": False, "due_at": None, "attempts": 0}
        changed = update(ledger.table).where(*is_it).values(**live, unreferenced_since=None, last_error=None)
        return connection.execute(changed).rowcount

    if not insist(engine, revive):
        raise ObjectNotFoundError(f"{key!r} was deleted meanwhile")
    return place[0]


def _refuse_missing(place: Place) -> None:
    name, key = place
    try:
        backend = storages.get(name)
    except BackendNotRegisteredError as error:
        raise MaintenanceRefusedError(str(error)) from error
    bridge.asked(backend, partial(backend.stat, key), f"describe {key!r}")
