"""`FaultyBackend` and `SlowBackend`: nothing by themselves, and exactly what is scheduled."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Iterator
from typing import get_args

import pytest

from filecolumn import FileObject, ObjectExistsError, StorageError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import BackendSuite, Fault, FaultKind, FaultyBackend, SlowBackend
from filecolumn.testing.harness import called


class TestFaultyWithoutFaults(BackendSuite):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return FaultyBackend(ObstoreBackend("s", "memory://"))


class TestSlow(BackendSuite):
    many = 5
    examples = 3

    @pytest.fixture
    def backend(self) -> StorageBackend:
        return SlowBackend(ObstoreBackend("s", "memory://"), 0.0005)


@pytest.fixture
def inner() -> StorageBackend:
    return ObstoreBackend("s", "memory://")


@pytest.fixture
def faulty(inner: StorageBackend) -> FaultyBackend:
    return FaultyBackend(inner)


@pytest.fixture(params=["sync", "async", "async content"])
def storage(request: pytest.FixtureRequest, faulty: FaultyBackend) -> Iterator[StorageBackend]:
    with called(faulty, request.param) as storage:
        yield storage


def test_the_nth_call_fails_and_has_no_effect(
    storage: StorageBackend, faulty: FaultyBackend, inner: StorageBackend
) -> None:
    faulty.schedule(Fault("put", "fail_before", call=2))
    storage.put("a", [b"a"])
    with pytest.raises(StorageError, match="scheduled"):
        storage.put("b", [b"b"])
    storage.put("c", [b"c"])
    assert [stat.key for stat in inner.list()] == ["a", "c"]
    assert faulty.calls["put"] == 3


def test_an_answer_is_lost_after_the_effect(
    storage: StorageBackend, faulty: FaultyBackend, inner: StorageBackend
) -> None:
    inner.put("old", [b"x"])
    faulty.schedule(Fault("put", "fail_after"), Fault("delete", "fail_after"), Fault("copy", "fail_after"))
    with pytest.raises(StorageError):
        storage.put("a", [b"a"])
    with pytest.raises(StorageError):
        storage.delete(["old"])
    with pytest.raises(StorageError):
        storage.copy("a", "b")
    assert [stat.key for stat in inner.list()] == ["a", "b"]
    with pytest.raises(ObjectExistsError):
        storage.put("a", [b"a"])


def test_calls_are_counted_from_when_the_fault_was_scheduled(
    storage: StorageBackend, faulty: FaultyBackend
) -> None:
    for key in "abc":
        storage.put(key, [b"x"])
    faulty.schedule(Fault("stat", "fail_before", call=1, times=2))
    for _ in range(2):
        with pytest.raises(StorageError):
            storage.stat("a")
    assert storage.stat("a").size == 1


def test_every_call_fails_until_the_faults_are_cleared(
    storage: StorageBackend, faulty: FaultyBackend
) -> None:
    faulty.schedule(Fault("list", "fail_before", times=None, error=lambda: PermissionError("no")))
    for _ in range(3):
        with pytest.raises(PermissionError):
            [*storage.list()]
    faulty.clear()
    assert [*storage.list()] == []


def test_a_put_fails_inside_and_has_no_effect(
    storage: StorageBackend, faulty: FaultyBackend, inner: StorageBackend
) -> None:
    for chunks, size in ((1, 1), (2, 5), (5, 5), (9, 5), (1, 0)):
        taken: list[int] = []
        faulty.schedule(Fault("put", "fail_inside", chunks=chunks))
        with pytest.raises(StorageError, match="scheduled"):
            storage.put("a", (bytes([number]) for number in range(size) if taken.append(number) is None))
        assert taken == [*range(min(chunks, size))]
        assert [*inner.list()] == []
    assert storage.put("a", [b"1", b"2"]).size == 2


def test_a_get_fails_inside_when_it_has_given_some(storage: StorageBackend, faulty: FaultyBackend) -> None:
    content = b"x" * 5_000_000
    storage.put("a", [content])
    faulty.schedule(Fault("get", "fail_inside"), Fault("get", "fail_inside", call=2, chunks=1000))
    for _ in range(2):
        got: list[bytes] = []
        with pytest.raises(StorageError, match="scheduled"):
            got.extend(storage.get("a"))
        assert got
        assert content.startswith(b"".join(got))
    assert storage.get_bytes("a") == content


def test_content_that_a_storage_leaves_in_the_middle_is_closed(faulty: FaultyBackend) -> None:
    """As with a storage that fails by itself: the generator of the content ends by GeneratorExit."""
    ends: list[type[BaseException] | None] = []

    def content() -> Iterator[bytes]:
        try:
            yield b"1"
            yield b"2"
        finally:
            ends.append(sys.exc_info()[0])

    faulty.schedule(Fault("put", "fail_inside"))
    with pytest.raises(StorageError):
        faulty.put("a", content())
    gc.collect()
    assert ends == [GeneratorExit]


def test_short_and_corrupt_content_on_the_way_up(
    storage: StorageBackend, faulty: FaultyBackend, inner: StorageBackend
) -> None:
    faulty.schedule(Fault("put", "short"), Fault("put", "corrupt", call=2))
    assert storage.put("short", [b"1234", b"5678"]).size == 2
    assert storage.put("corrupt", [b"", b"1234", b"5678"]).size == 8
    assert inner.get_bytes("short") == b"12"
    assert inner.get_bytes("corrupt") == b"02345678"


def test_short_and_corrupt_content_on_the_way_down(storage: StorageBackend, faulty: FaultyBackend) -> None:
    storage.put("a", [b"1234"])
    faulty.schedule(Fault("get", "short"), Fault("get", "corrupt", call=2))
    assert [storage.get_bytes("a") for _ in range(3)] == [b"12", b"0234", b"1234"]


def test_a_stale_list_shows_what_was_there(storage: StorageBackend, faulty: FaultyBackend) -> None:
    for key in ("a/1", "b/1"):
        storage.put(key, [b"x"])
    faulty.schedule(Fault("list", "stale", times=2))
    storage.put("b/2", [b"x"])
    storage.delete(["a/1"])
    assert [stat.key for stat in storage.list()] == ["a/1", "b/1"]
    assert [stat.key for stat in storage.list("b", after="b")] == ["b/1"]
    assert [stat.key for stat in storage.list()] == ["b/1", "b/2"]


def test_a_call_hangs_until_it_is_let_go(faulty: FaultyBackend, inner: StorageBackend) -> None:
    faulty.schedule(Fault("put", "hang"))
    timer = threading.Timer(0.2, faulty.let_go)
    timer.start()
    start = time.monotonic()
    with pytest.raises(StorageError):
        faulty.put("a", [b"x"])
    assert 0.15 < time.monotonic() - start < 5
    timer.join()
    assert [*inner.list()] == []


async def test_a_call_that_hangs_is_cancelled_at_once(faulty: FaultyBackend) -> None:
    faulty.schedule(Fault("get", "hang", seconds=20))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(faulty.get_async("a"), 0.1)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_hang_ends_by_itself(storage: StorageBackend, faulty: FaultyBackend, way: str) -> None:
    faulty.schedule(Fault("sign", "hang", seconds=0.05))
    with pytest.raises(StorageError):
        storage.sign("a")


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_a_fault_of_an_unknown_operation_or_kind_names_those_that_are_there(kind: FaultKind) -> None:
    with pytest.raises(ValueError, match="'putt'; there are put, get, stat, delete, list, copy, sign"):
        Fault("putt", kind)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"'{kind}s'; there are fail_before, fail_inside"):
        Fault("put", f"{kind}s")  # type: ignore[arg-type]


def test_a_fault_that_cannot_happen_is_refused() -> None:
    for wrong in (("stat", "short"), ("list", "corrupt"), ("put", "stale"), ("delete", "fail_inside")):
        with pytest.raises(ValueError, match="cannot be"):
            Fault(*wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="from 1"):
        Fault("put", "hang", call=0)
    with pytest.raises(ValueError, match="at least one chunk"):
        Fault("put", "fail_inside", chunks=0)


def test_a_short_write_is_noticed_and_removed(faulty: FaultyBackend, inner: StorageBackend) -> None:
    storages.register_backend(faulty)
    faulty.schedule(Fault("put", "short"))
    with pytest.raises(StorageError, match="4 of 8 bytes"):
        FileObject("a.txt", content=b"12345678").save()
    assert [*inner.list()] == []


def test_a_slow_backend_takes_its_time_with_each_call(inner: StorageBackend) -> None:
    slow = SlowBackend(inner, 0.05)
    start = time.monotonic()
    slow.put("a", [b"x"])
    assert slow.get_bytes("a") == b"x"
    assert time.monotonic() - start >= 0.1
    assert slow.calls == {"put": 1, "get": 1}
