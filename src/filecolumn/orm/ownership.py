"""Which database a storage belongs to, so that a copy of a database deletes nothing of the original's.

A mark in the storage holds the database's id and a fingerprint of where the database is.  A clone
has the id, because it is in a table, and another fingerprint, because it is elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from enum import Enum
from functools import partial
from hashlib import sha256
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from filecolumn.backends.base import StorageBackend
from filecolumn.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from filecolumn.naming import RESERVED_FOLDER, ReservedKey, uuid7_hex
from filecolumn.orm import bridge
from filecolumn.orm.ledger import Ledger
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = ("Identity", "Owner", "claim", "identity_of", "owner_of", "take_over", "withheld")

MARK = ReservedKey(f"{RESERVED_FOLDER}/owner")
ID = "database"

_ours: WeakKeyDictionary[Engine, WeakSet[StorageBackend]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Identity:
    """A database."""

    database: str
    """Made once, and copied with its tables."""
    fingerprint: str | None
    """Where it is, hashed; None in memory, where no copy of it can be."""


class Owner(Enum):
    """Whose a storage is."""

    OURS = "ours"
    NOBODY = "nobody"
    ORIGINAL = "original"
    """That of the database that this one was copied from, or was before it moved."""
    ANOTHER = "another"


def withheld(engine: Engine, ledger: Ledger, places: Collection[Place]) -> dict[Place, str]:
    """Return which objects a commit may not delete, and why: this database is a copy of their owner's.

    A storage is asked once in a process, unless it refuses.  Never raises for storage or database.
    """
    names = {backend for backend, _ in places if not _is_known(engine, backend)}
    reasons = {name: reason for name in names if (reason := _reason_to_withhold(engine, ledger, name))}
    return {place: reasons[place[0]] for place in places if place[0] in reasons}


def owner_of(identity: Identity, backend: StorageBackend) -> Owner:
    """Return whose *backend* is, in one read."""
    try:
        content = bridge.blocking(partial(backend.get_bytes, MARK), limit=backend.total_timeout)
        mark = json.loads(content)
        database, fingerprint = mark["database"], mark["fingerprint"]
    except ObjectNotFoundError:
        return Owner.NOBODY
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(f"the owner's mark {MARK!r} of storage {backend.key!r} cannot be read") from error
    if database != identity.database:
        return Owner.ANOTHER
    return Owner.OURS if fingerprint == identity.fingerprint else Owner.ORIGINAL


def claim(identity: Identity, backend: StorageBackend) -> Owner:
    """Mark a storage that is nobody's, and return whose it is then; a database in memory marks none."""
    owner = owner_of(identity, backend)
    if owner is not Owner.NOBODY or identity.fingerprint is None or not backend.capabilities.persistent:
        return owner
    put = partial(backend.put, MARK, [_content(identity)], mode="create")
    try:
        bridge.blocking(put, limit=backend.total_timeout)
    except ObjectExistsError:
        return owner_of(identity, backend)
    return Owner.OURS


def take_over(identity: Identity, backend: StorageBackend) -> None:
    """Mark a storage as this database's, whoever's it was."""
    put = partial(backend.put, MARK, [_content(identity)], mode="overwrite")
    bridge.blocking(put, limit=backend.total_timeout)


def identity_of(engine: Engine, ledger: Ledger) -> Identity:
    """Return what the database is, and give it an id if it has none."""
    columns = ledger.meta.c
    query = select(columns.value).where(columns.name == ID)
    with engine.connect() as connection:
        database = connection.scalar(query)
        fingerprint = _fingerprint(connection)
    if database is None:
        try:
            with engine.begin() as connection:
                connection.execute(insert(ledger.meta), {"name": ID, "value": uuid7_hex()})
        except IntegrityError:
            pass  # another process was first
        with engine.connect() as connection:
            database = connection.scalar(query)
    return Identity(str(database), fingerprint and sha256(fingerprint.encode()).hexdigest())


def _is_known(engine: Engine, name: str) -> bool:
    return storages.is_registered(name) and storages.get(name) in _ours.get(engine, ())


def _reason_to_withhold(engine: Engine, ledger: Ledger, name: str) -> str | None:
    if not storages.is_registered(name) or not (backend := storages.get(name)).capabilities.persistent:
        return None
    try:
        identity = identity_of(engine, ledger)
        if identity.fingerprint is not None and claim(identity, backend) is Owner.ORIGINAL:
            return (
                f"storage {name!r} belongs to the database that this one is a copy of; give the copy a storage "
                "of its own, or run 'filecolumn adopt' if the original is gone"
            )
    except Exception as error:  # noqa: BLE001 - a driver that cannot connect raises what it likes
        return f"whose storage {name!r} is cannot be told: {str(error) or type(error).__name__}"
    _ours.setdefault(engine, WeakSet()).add(backend)
    return None


def _content(identity: Identity) -> bytes:
    return json.dumps(asdict(identity)).encode()


def _fingerprint(connection: Connection) -> str | None:
    match connection.dialect.name:
        case "sqlite":
            path = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
            return os.path.realpath(path) if path else None
        case "postgresql":
            database = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            return f"postgresql {_system_identifier(connection)} {database}"
        case _:
            # named so by MySQL and by MariaDB; an old MariaDB has neither
            query = "SHOW VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')"
            server = [value for _, value in connection.execute(text(query))]
            return f"mysql {server} {connection.exec_driver_sql('SELECT DATABASE()').scalar_one()}"


def _system_identifier(connection: Connection) -> object:
    """Return the id that PostgreSQL gave the cluster, or where it listens if its functions are not for us."""
    try:
        with connection.begin_nested():
            return connection.exec_driver_sql(
                "SELECT system_identifier FROM pg_control_system()"
            ).scalar_one()
    except DBAPIError:
        return connection.exec_driver_sql("SELECT inet_server_addr(), inet_server_port()").one()
