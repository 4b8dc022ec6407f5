"""Adopt: say that storages are this database's, after it moved or a backup of it was restored elsewhere."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine

from filecolumn.errors import MaintenanceRefusedError
from filecolumn.maintenance.models import Models, known_ledger
from filecolumn.maintenance.places import Places
from filecolumn.orm.ledger import Ledger
from filecolumn.orm.ownership import Owner, claim, identity_of, take_over
from filecolumn.orm.recording import speaking

__all__ = ("adopt", "claim_storages")


def adopt(engine: Engine, *models: Models, only: Collection[str] | None = None) -> list[str]:
    """Mark the registered storages (or *only* some, by their keys) as this database's, and return their keys.

    From then on the database that they belonged to before deletes nothing in them by a sweep or a drain.
    """
    ledger, _ = known_ledger(models)
    places = Places(only)
    with speaking(ledger):
        identity = identity_of(engine, ledger)
    for _, backend in places.backends():
        take_over(identity, backend)
    return places.names


def claim_storages(engine: Engine, ledger: Ledger, places: Places) -> None:
    """Mark storages that are nobody's; MaintenanceRefusedError if one belongs to another database."""
    identity = identity_of(engine, ledger)
    for name, backend in places.backends():
        if claim(identity, backend) in {Owner.ORIGINAL, Owner.ANOTHER}:
            raise MaintenanceRefusedError(
                f"storage {name!r} belongs to another database, whose files would look unused from this one. "
                "If that database is gone, run 'filecolumn adopt'; a copy needs storages of its own"
            )
