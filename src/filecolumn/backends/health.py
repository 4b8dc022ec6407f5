"""Whether storages can be reached and written to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.errors import FileColumnError, NotSupportedError, StorageError
from filecolumn.naming import incoming_key

__all__ = (
    "StorageHealth",
    "check_storages",
    "probe",
)


@dataclass(frozen=True, slots=True)
class StorageHealth:
    """The result of a probe of one storage."""

    is_healthy: bool
    """Whether a few bytes could be written, read and deleted; a storage for reading only is healthy too."""
    seconds: float
    """How long the probe took, in seconds."""
    error: str | None = None
    """The name of the error's class, or None.  Its text is left out, because it may name places."""


async def check_storages(*, within: float = 10.0) -> Mapping[str, StorageHealth]:
    """Write, read and delete a few bytes in each registered storage, all at the same time; return the results by key.

    A storage that has not answered after *within* seconds is not healthy.  Raises nothing for a storage that fails.
    """
    health: dict[str, StorageHealth] = {}

    async def check(backend: StorageBackend) -> None:
        health[backend.key] = await _health(backend, within)

    async with anyio.create_task_group() as group:
        for backend in storages.all():
            group.start_soon(check, backend)
    return health


async def probe(backend: StorageBackend) -> None:
    """Write, read and delete a few bytes; raises what the storage raises, StorageError for other bytes."""
    key, content = incoming_key("probe.txt"), b"filecolumn"
    try:
        await backend.put_async(key, [content])
    except NotSupportedError:
        # read-only by its nature, as HTTP is
        return
    try:
        if await backend.get_bytes_async(key) != content:
            raise StorageError(f"storage {backend.key!r} returned other bytes than were stored for {key!r}")
    finally:
        with anyio.CancelScope(shield=True):
            await backend.delete_async([key])


async def _health(backend: StorageBackend, within: float) -> StorageHealth:
    began = time.monotonic()
    error: str | None = None
    try:
        with anyio.fail_after(within):
            await probe(backend)
    except (FileColumnError, TimeoutError) as failure:
        error = type(failure).__name__
    return StorageHealth(error is None, round(time.monotonic() - began, 4), error)
