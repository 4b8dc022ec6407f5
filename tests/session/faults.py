"""A storage that fails, or is slow, when a test tells it to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Iterable
from threading import Lock
from typing import Any

from filecolumn import StorageError
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.obstore import ObstoreBackend


class FailingStorage(ObstoreBackend):
    """The memory of this process, with faults; all is well until a test sets one of them."""

    fail_puts_after: int | None = None
    """How many objects it still takes; None is no limit."""
    fail_deletes: bool = False
    delay: float = 0.0
    """Seconds that an upload takes; the object appears at its end."""

    def __init__(self, key: str = "docs") -> None:
        super().__init__(key, "memory://")
        self.puts = 0
        """How often an upload was begun."""
        self._lock = Lock()

    def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:
        with self._lock:
            self.puts += 1
            if self.fail_puts_after is not None:
                if self.fail_puts_after == 0:
                    raise StorageError("no space left")
                self.fail_puts_after -= 1
        time.sleep(self.delay)
        return super().put(key, chunks, **options)

    async def put_async(
        self, key: str, chunks: Iterable[bytes] | AsyncIterable[bytes], **options: Any
    ) -> Stat:
        # past obstore's own, so that each upload is one call of `put`
        return await StorageBackend.put_async(self, key, chunks, **options)

    def delete(self, keys: Iterable[str]) -> None:
        if self.fail_deletes:
            raise StorageError("deleting is refused")
        super().delete(keys)
