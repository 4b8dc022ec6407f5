"""Marks: small objects in a storage that say whose it is, in the folder that is filecolumn's own.

- `place`: the random id of the place, and the ledger that came first;
- `shared`: the other ledgers that store there, each with the day it was last seen;
- `writers/<ledger>/seen`: what a ledger's database was when it was last seen;
- `writers/<ledger>/<n>`: the generations that the ledger's database has had;
- `owner`: as `place`, for releases before it.

A place is one bucket, prefix or folder, by whatever name or URL it is registered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, cast
from weakref import WeakKeyDictionary

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.errors import FileColumnError, ObjectExistsError, ObjectNotFoundError
from filecolumn.files import execution
from filecolumn.files.transfer import first_puts
from filecolumn.logs import note
from filecolumn.naming import RESERVED_FOLDER, ReservedKey, uuid7_hex

__all__ = (
    "LEGACY_OWNER",
    "PLACE",
    "SHARED",
    "Mark",
    "create",
    "exists",
    "generation_key",
    "has_mark",
    "is_copied",
    "is_empty",
    "is_marked",
    "is_there",
    "note_place_id",
    "other_writers",
    "place_id",
    "read",
    "read_mark",
    "seen_key",
    "try_to_write",
    "why_shared",
    "write",
)

PLACE = ReservedKey(f"{RESERVED_FOLDER}/place")
SHARED = ReservedKey(f"{RESERVED_FOLDER}/shared")
LEGACY_OWNER = ReservedKey(f"{RESERVED_FOLDER}/owner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is written at a place."""

    id: str
    by: str
    """The ledger that came first."""
    empty: bool
    """Whether nothing lay there before it."""


def seen_key(ledger: str) -> ReservedKey:
    """Return the key of the mark that says what a ledger's database was when it was last seen."""
    return ReservedKey(f"{RESERVED_FOLDER}/writers/{ledger}/seen")


def generation_key(ledger: str, number: int) -> ReservedKey:
    """Return the key of the mark for one generation of a ledger's database."""
    return ReservedKey(f"{RESERVED_FOLDER}/writers/{ledger}/{number}")


def read_mark(backend: StorageBackend) -> Mark | None:
    """Return the mark of a storage's place; None if it has none."""
    found = read(backend, PLACE)
    if found is None:
        return None
    return Mark(id=str(found.get("id")), by=str(found.get("by")), empty=bool(found.get("empty")))


def is_marked(backend: StorageBackend) -> bool:
    """Return whether a database with a ledger stores in a storage; true if that cannot be told."""
    try:
        return any(exists(backend, mark) for mark in (PLACE, LEGACY_OWNER))
    except FileColumnError:
        return True


def has_mark(backend: StorageBackend, folder: str) -> bool:
    """Return whether a folder of a storage is a place of its own."""
    return any(exists(backend, ReservedKey(f"{folder}/{mark}")) for mark in (PLACE, LEGACY_OWNER))


def other_writers(backend: StorageBackend, identity: str) -> dict[str, float]:
    """Return the other ledgers that store in the place, with the epoch seconds when each was last seen."""
    found = {str(name): float(at) for name, at in (read(backend, SHARED) or {}).get("writers", {}).items()}
    mark = read_mark(backend)
    if mark is not None and mark.by != identity:
        found[mark.by] = float((read(backend, seen_key(mark.by)) or {}).get("at", 0.0))
    found.pop(identity, None)
    return found


def why_shared(backend: StorageBackend) -> str:
    """Return why the absence of a row says nothing, if another ledger came to the place since; else empty."""
    if not backend.capabilities.persistent:
        return ""
    try:
        shared = read(backend, SHARED) is not None
    except FileColumnError as error:
        return f"cannot tell who stores in {backend.key!r}: {error}"
    return f"several databases store in {backend.key!r}" if shared else ""


def read(backend: StorageBackend, key: ReservedKey) -> dict[str, Any] | None:
    """Return what a mark says; empty for one that cannot be understood, None if it is not there."""
    try:
        content = execution.asked(backend, partial(backend.get_bytes, key), f"read {key!r}")
    except ObjectNotFoundError:
        return None
    try:
        found: object = json.loads(content)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def write(backend: StorageBackend, key: ReservedKey, content: Mapping[str, object]) -> None:
    """Write a mark, in place of what it said."""
    put = partial(backend.put, key, [json.dumps(content).encode()], mode="overwrite")
    execution.asked(backend, put, f"store {key!r}")


def try_to_write(backend: StorageBackend, key: ReservedKey, content: Mapping[str, object]) -> None:
    """Write a mark; if the storage refuses, log it and go on."""
    try:
        write(backend, key, content)
    except FileColumnError as error:
        note("storage %r does not take the mark %s: %s", backend.key, key, error)


def create(backend: StorageBackend, key: ReservedKey, content: Mapping[str, object]) -> None:
    """Write a mark unless it is there."""
    put = partial(backend.put, key, [json.dumps(content).encode()], mode="create")
    try:
        execution.asked(backend, put, f"store {key!r}")
    except ObjectExistsError:
        return


def exists(backend: StorageBackend, key: ReservedKey) -> bool:
    """Return whether a mark is there."""
    return execution.asked(backend, partial(backend.exists, key), f"look for {key!r}")


_place_ids: WeakKeyDictionary[StorageBackend, str] = WeakKeyDictionary()


def place_id(backend: StorageBackend) -> str | None:
    """Return the id of a storage's place, as far as this process has seen its mark."""
    return _place_ids.get(backend)


def note_place_id(backend: StorageBackend, place: str) -> None:
    """Remember the id of a storage's place for `place_id`."""
    _place_ids[backend] = place


def is_copied(backend: StorageBackend, place: str) -> bool:
    """Return whether a storage has the mark of another registered one, and is not the same place."""
    for other in storages.all():
        if other is not backend and _place_ids.get(other) == place and other.location != backend.location:
            probe = ReservedKey(f"{RESERVED_FOLDER}/probe-{uuid7_hex()}")
            try:
                write(backend, probe, {})
                is_same = exists(other, probe)
                execution.asked(backend, partial(backend.delete, [probe]), f"delete {probe!r}")
            except FileColumnError:
                return True
            if not is_same:
                return True
    return False


def is_there(backend: StorageBackend, key: str, size: int | None) -> bool:
    """Return whether the storage has an object of this size; of any size for None."""
    try:
        stat = execution.asked(backend, partial(backend.stat, key), f"describe {key!r}")
    except ObjectNotFoundError:
        return False
    return size in {None, stat.size}


def is_empty(backend: StorageBackend) -> bool:
    """Return whether nothing lies in the storage but what this process has put there, as `save()` does.

    One that cannot be listed counts as not empty.
    """
    own = first_puts(backend)

    def look() -> bool:
        return all(stat.key in own for stat in islice(backend.list(), len(own) + 1))

    try:
        return execution.asked(backend, look, "list objects")
    except FileColumnError:
        return False
