"""`BackendSuite` on a backend that is like none of ours: other messages, and few keys that it can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import pytest

from filecolumn import InvalidKeyError, NotSupportedError
from filecolumn.backends.base import Capabilities, PutMode, SignMethod, Stat, StorageBackend, check_folder
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import BackendSuite

PLAIN = re.compile("[a-z0-9]+(/[a-z0-9]+)*")


def plain(key: str) -> str:
    if not PLAIN.fullmatch(key):
        raise InvalidKeyError("not a name here")
    return key


class PlainNames(StorageBackend):
    """A storage whose keys are of lowercase letters, digits and slashes."""

    protocol = "plain"

    def __init__(self) -> None:
        super().__init__("plain")
        self.inner = ObstoreBackend("inner", "memory://")
        self.capabilities: Capabilities = Capabilities(creates_atomically=True)

    @property
    def location(self) -> str:
        return f"plain://{id(self)}"

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        return self.inner.put(plain(key), chunks, mode=mode)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if start < 0 or (length or 0) < 0:
            raise ValueError("what range is that?")
        return self.inner.get(plain(key), start=start, length=length)

    def stat(self, key: str) -> Stat:
        return self.inner.stat(plain(key))

    def delete(self, keys: str | Iterable[str]) -> None:
        self.inner.delete([*map(plain, [keys] if isinstance(keys, str) else keys)])

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        folder = check_folder(prefix)
        return self.inner.list(plain(folder) if folder else "", after=after)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        raise NotSupportedError("signing is for others")


class TestPlainNames(BackendSuite):
    large = 100_000
    many = 20
    examples = 5
    unusual_keys = ("x" * 200, "0")
    listed_keys = ("a", "b/1", "b/2", "b/c/3", "bb/4")
    distinct_keys = ("a1", "a/1")
    model_keys = ("a", "b/1", "b/c/1", "bb/1")

    @pytest.fixture
    def backend(self) -> StorageBackend:
        return PlainNames()
