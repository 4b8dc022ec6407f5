"""Makes the N-th call of a layer fail: of the storage, the database or the file system."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import wraps
from typing import Any

import pytest
from sqlalchemy import Engine

from filecolumn import StorageError
from filecolumn.backends import _local
from filecolumn.backends.base import StorageBackend


class Layer(Enum):
    """Where the calls are."""

    STORAGE = "storage"
    DATABASE = "database"
    FILES = "file system"
    CONTENT = "content"
    """Each chunk on its way into a storage, onto its disk, or out of it: the failure is inside a transfer."""


@dataclass
class Fault:
    """Fails the *number*-th call, or from it on all, before it has any effect or after it."""

    layer: Layer
    number: int
    is_persistent: bool
    is_late: bool
    calls: int = 0

    @property
    def has_struck(self) -> bool:
        return self.calls >= self.number

    @contextmanager
    def at_work(self, engine: Engine, backend: StorageBackend) -> Generator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for owner, name, error in self._targets(engine, backend):
                is_transfer = self.layer is Layer.CONTENT and owner is backend
                fail = self._failing_inside if is_transfer else self._failing
                patch.setattr(owner, name, fail(getattr(owner, name), error))
            yield

    def _targets(
        self, engine: Engine, backend: StorageBackend
    ) -> Iterable[tuple[object, str, Callable[[], Exception]]]:
        match self.layer:
            case Layer.STORAGE:
                names, owner = ("put", "get", "stat", "delete", "copy"), backend
                return [(owner, name, lambda: StorageError("it failed")) for name in names]
            case Layer.DATABASE:
                dialect = engine.dialect
                names = ("do_execute", "do_executemany", "do_execute_no_params", "do_commit")
                return [(dialect, name, lambda: sqlite3.OperationalError("it failed")) for name in names]
            case Layer.FILES:
                names = ("open", "fsync", "fchmod", "unlink", "link", "mkdir", "replace", "scandir")
                return [(os, name, lambda: OSError(errno.EIO, "it failed")) for name in names]
            case Layer.CONTENT:
                transfers = [(backend, name, lambda: StorageError("it failed")) for name in ("put", "get")]
                return [*transfers, (_local, "_write_all", lambda: OSError(errno.ENOSPC, "it failed"))]

    def _failing(self, call: Callable[..., Any], error: Callable[[], Exception]) -> Callable[..., Any]:
        @wraps(call)
        def counted(*arguments: object, **options: object) -> object:
            fails = self._fails()
            if fails and not self.is_late:
                raise error()
            result = call(*arguments, **options)
            if fails:
                if self.layer is Layer.FILES and isinstance(result, int):
                    # what the caller never gets it cannot close
                    os.close(result)
                raise error()
            return result

        return counted

    def _failing_inside(self, call: Callable[..., Any], error: Callable[[], Exception]) -> Callable[..., Any]:
        def passed(chunks: Iterable[bytes]) -> Iterator[bytes]:
            for chunk in chunks:
                fails = self._fails()
                if fails and not self.is_late:
                    raise error()
                yield chunk
                if fails:
                    raise error()

        @wraps(call)
        def put_or_get(key: str, chunks: Iterable[bytes] | None = None, **options: object) -> object:
            return passed(call(key, **options)) if chunks is None else call(key, passed(chunks), **options)

        return put_or_get

    def _fails(self) -> bool:
        """Count a call, and return whether it is one that fails."""
        self.calls += 1
        return self.calls == self.number or (self.is_persistent and self.calls > self.number)
