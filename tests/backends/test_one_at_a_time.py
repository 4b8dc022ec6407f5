"""A filesystem that is not safe for threads gets one call at a time, whatever shares it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from filecolumn import StorageError
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.testing.harness import in_threads


class OneLine(AbstractFileSystem):
    """A filesystem with one connection: a call within a call is a mistake that it remembers."""

    protocol = "oneline"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.inner = LocalFileSystem()
        self.busy = threading.Lock()
        self.mixed: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.closed = 0

    def alone(self, name: str, call: Callable[[], Any]) -> Any:
        if not self.busy.acquire(blocking=False):
            self.mixed.append(name)
            raise RuntimeError(f"{name} in the middle of another call")
        try:
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()
            return call()
        finally:
            self.busy.release()

    def info(self, path: str, **_: object) -> Any:
        return self.alone("info", lambda: self.inner.info(path))

    def ls(self, path: str, detail: bool = True, **_: object) -> Any:
        return self.alone("ls", lambda: self.inner.ls(path, detail=detail))

    def open(self, path: str, mode: str = "rb", **_: object) -> Any:
        return File(self, self.alone("open", lambda: self.inner.open(path, mode)))

    def mv(self, path1: str, path2: str, **_: object) -> None:
        self.alone("mv", lambda: self.inner.mv(path1, path2))

    def rm_file(self, path: str) -> None:
        self.alone("rm_file", lambda: self.inner.rm_file(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.alone("makedirs", lambda: self.inner.makedirs(path, exist_ok=exist_ok))


class File:
    def __init__(self, fs: OneLine, file: Any) -> None:
        self.fs = fs
        self.file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int) -> Any:
        return self.fs.alone("read", lambda: self.file.read(size))

    def write(self, content: bytes) -> Any:
        return self.fs.alone("write", lambda: self.file.write(content))

    def seek(self, offset: int) -> Any:
        return self.fs.alone("seek", lambda: self.file.seek(offset))

    def close(self) -> None:
        self.fs.alone("close", self.file.close)
        self.fs.closed += 1


@pytest.fixture
def fs() -> Iterator[OneLine]:
    made = OneLine()
    yield made
    assert made.mixed == []


@pytest.fixture
def backend(fs: OneLine, tmp_path: Path) -> FSSpecBackend:
    return FSSpecBackend("s", fs, str(tmp_path), total_timeout=0.3)


def test_backends_that_share_a_filesystem_wait_for_each_other(fs: OneLine, tmp_path: Path) -> None:
    within = DirFileSystem(str(tmp_path), fs)
    backends = [FSSpecBackend("one", fs, str(tmp_path / "one")), FSSpecBackend("other", within, "other")]

    def some(number: int) -> None:
        backend = backends[number % 2]
        for key in (f"{number}/{again}" for again in range(10)):
            backend.put(key, [key.encode(), b"x" * 100_000])
            assert backend.get_bytes(key).startswith(key.encode())
            assert [stat.key for stat in backend.list(str(number), after=None) if stat.key == key] == [key]
            backend.delete([key])

    in_threads(8, some)


def test_a_call_that_does_not_end_is_not_waited_for(fs: OneLine, backend: FSSpecBackend) -> None:
    backend.put("a", [b"x"])
    entered, left = threading.Event(), threading.Event()

    def stuck() -> None:
        entered.set()
        left.wait(10)

    fs.meanwhile = stuck
    caller = threading.Thread(target=backend.stat, args=("a",), daemon=True)
    caller.start()
    assert entered.wait(10)
    with pytest.raises(StorageError, match=r"one call at a time, and was busy for 0\.3 s"):
        backend.stat("a")
    left.set()
    caller.join(10)
    assert backend.stat("a").size == 1


def test_a_reader_forgotten_within_a_call_is_closed_after_it(fs: OneLine, backend: FSSpecBackend) -> None:
    backend.put("a", [b"x" * 3_000_000])
    readers = [backend.get("a")]
    next(readers[0])
    closed = fs.closed

    def forget() -> None:
        readers.clear()
        gc.collect()

    fs.meanwhile = forget
    assert backend.stat("a").size == 3_000_000
    assert fs.closed == closed + 1
