"""Look up keys over a connection, as a drain does over an engine."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from filecolumn.maintenance.lookup import KeyLookup
from filecolumn.orm.catalogue import AnyColumn


def referenced(connection: Connection, columns: Iterable[AnyColumn], keys: Iterable[str]) -> set[str]:
    """Return which of *keys* the rows of *columns* refer to, or may refer to."""
    wanted = set(keys)
    with KeyLookup() as lookup:
        lookup.seek(wanted)
        lookup.read(connection, columns)
        return wanted - lookup.unreferenced(wanted)
