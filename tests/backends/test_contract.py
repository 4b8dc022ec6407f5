"""The contract of `filecolumn.backends.base`, word for word, for each backend and in both ways."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from filecolumn import (
    InvalidKeyError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend

LARGE = 17 * 1024 * 1024 + 12345
PIECE = bytes(range(256)) * 4096
BAD_KEYS = [
    "",
    "../x",
    "/x",
    "a//b",
    "a/./b",
    "a/..",
    "a\\b",
    "a\x00b",
    "CON",
    "x#1",
    ".filecolumn/stage/x",
    "x\u202e",
    "é" * 128,
]


def obstore_local(folder: Path) -> StorageBackend:
    return ObstoreBackend("s", f"file://{folder}/s/", fsync=False)


def obstore_memory(folder: Path) -> StorageBackend:
    return ObstoreBackend("s", "memory://")


def fsspec_local(folder: Path) -> StorageBackend:
    return FSSpecBackend("s", "file", str(folder / "s"), fsync=False)


def fsspec_memory(folder: Path) -> StorageBackend:
    return FSSpecBackend("s", "memory", f"contract-{uuid4().hex}")


class Calls(ABC):
    """A backend, called one way."""

    def __init__(self, backend: StorageBackend) -> None:
        self.backend = backend

    @abstractmethod
    async def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat: ...

    @abstractmethod
    async def start(self, key: str, **options: Any) -> object:
        """Begin to read, without a first chunk."""

    @abstractmethod
    async def get(self, key: str, **options: Any) -> bytes: ...

    @abstractmethod
    async def stat(self, key: str) -> Stat: ...

    @abstractmethod
    async def delete(self, keys: Iterable[str]) -> None: ...

    @abstractmethod
    async def list(self, prefix: str = "", **options: Any) -> list[Stat]: ...

    @abstractmethod
    async def copy(self, source: str, target: str) -> Stat: ...

    @abstractmethod
    async def exists(self, key: str) -> bool: ...

    @abstractmethod
    async def sign(self, key: str, **options: Any) -> str: ...

    async def keys(self, prefix: str = "", **options: Any) -> list[str]:
        return sorted(stat.key for stat in await self.list(prefix, **options))


class Sync(Calls):
    async def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:
        return self.backend.put(key, chunks, **options)

    async def start(self, key: str, **options: Any) -> object:
        return self.backend.get(key, **options)

    async def get(self, key: str, **options: Any) -> bytes:
        return b"".join(self.backend.get(key, **options))

    async def stat(self, key: str) -> Stat:
        return self.backend.stat(key)

    async def delete(self, keys: Iterable[str]) -> None:
        self.backend.delete(keys)

    async def list(self, prefix: str = "", **options: Any) -> list[Stat]:
        return [*self.backend.list(prefix, **options)]

    async def copy(self, source: str, target: str) -> Stat:
        return self.backend.copy(source, target)

    async def exists(self, key: str) -> bool:
        return self.backend.exists(key)

    async def sign(self, key: str, **options: Any) -> str:
        return self.backend.sign(key, **options)


class Async(Calls):
    async def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:
        return await self.backend.put_async(key, chunks, **options)

    async def start(self, key: str, **options: Any) -> object:
        return await self.backend.get_async(key, **options)

    async def get(self, key: str, **options: Any) -> bytes:
        return b"".join([chunk async for chunk in await self.backend.get_async(key, **options)])

    async def stat(self, key: str) -> Stat:
        return await self.backend.stat_async(key)

    async def delete(self, keys: Iterable[str]) -> None:
        await self.backend.delete_async(keys)

    async def list(self, prefix: str = "", **options: Any) -> list[Stat]:
        return [stat async for stat in await self.backend.list_async(prefix, **options)]

    async def copy(self, source: str, target: str) -> Stat:
        return await self.backend.copy_async(source, target)

    async def exists(self, key: str) -> bool:
        return await self.backend.exists_async(key)

    async def sign(self, key: str, **options: Any) -> str:
        return await self.backend.sign_async(key, **options)


class AsyncFed(Async):
    """As `Async`, with content from an asynchronous source."""

    async def put(self, key: str, chunks: Iterable[bytes], **options: Any) -> Stat:
        async def feed() -> AsyncIterator[bytes]:
            for chunk in chunks:
                await asyncio.sleep(0)
                yield chunk

        return await self.backend.put_async(key, feed(), **options)


@pytest.fixture(
    params=[obstore_local, obstore_memory, fsspec_local, fsspec_memory], ids=lambda make: make.__name__
)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    made: StorageBackend = request.param(tmp_path)
    return made


@pytest.fixture(params=[Sync, Async, AsyncFed], ids=lambda kind: kind.__name__)
def calls(request: pytest.FixtureRequest, backend: StorageBackend) -> Calls:
    made: Calls = request.param(backend)
    return made


def pieces(size: int) -> Iterator[bytes]:
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


# ---- put, get, stat


@pytest.mark.parametrize("chunks", [[], [b""], [b"x"], [b"a", b"", b"bc"]])
async def test_what_is_put_is_got(calls: Calls, chunks: list[bytes]) -> None:
    stat = await calls.put("a/b.txt", chunks)
    content = b"".join(chunks)
    assert stat.key == "a/b.txt"
    assert stat.size == len(content)
    assert await calls.get("a/b.txt") == content


async def test_large_content_is_whole(calls: Calls) -> None:
    stat = await calls.put("large", pieces(LARGE), content_type="application/x-large")
    assert stat.size == LARGE
    assert (await calls.stat("large")).size == LARGE
    assert await calls.get("large") == b"".join(pieces(LARGE))
    assert await calls.get("large", start=LARGE - 3) == b"".join(pieces(LARGE))[-3:]
    assert await calls.keys() == ["large"]


async def test_a_stat_describes(calls: Calls) -> None:
    before = time.time()
    made = await calls.put("a.txt", [b"abc"], content_type="text/plain", metadata={"k": "v"})
    stat = await calls.stat("a.txt")
    assert (stat.key, stat.size) == ("a.txt", 3)
    assert made.etag is None or made.etag == stat.etag
    assert stat.last_modified is None or before - 2 <= stat.last_modified <= time.time() + 2


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, None),
        (3, None),
        (0, 0),
        (3, 0),
        (0, 4),
        (3, 4),
        (9, 1),
        (9, 100),
        (10, None),
        (10, 1),
        (11, None),
        (10**12, 5),
    ],
)
async def test_a_range_is_got(calls: Calls, start: int, length: int | None) -> None:
    await calls.put("a", [b"0123456789"])
    assert await calls.get("a", start=start, length=length) == b"0123456789"[start:][:length]


@pytest.mark.parametrize(("start", "length"), [(0, None), (0, 0), (0, 1), (1, None), (5, 5)])
async def test_a_range_of_an_empty_object_is_empty(calls: Calls, start: int, length: int | None) -> None:
    await calls.put("a", [])
    assert await calls.get("a", start=start, length=length) == b""


@pytest.mark.parametrize("bad", [{"start": -1}, {"length": -1}])
async def test_a_negative_range_is_refused(calls: Calls, bad: dict[str, int]) -> None:
    await calls.put("a", [b"x"])
    with pytest.raises(ValueError):
        await calls.start("a", **bad)


@pytest.mark.parametrize("options", [{}, {"start": 5}, {"length": 0}, {"start": 1, "length": 1}])
async def test_a_missing_key_is_not_found_at_once(calls: Calls, options: dict[str, int]) -> None:
    with pytest.raises(ObjectNotFoundError):
        await calls.start("missing", **options)
    with pytest.raises(ObjectNotFoundError):
        await calls.start("a/missing/x", **options)


async def test_a_missing_key_has_no_stat(calls: Calls) -> None:
    with pytest.raises(ObjectNotFoundError):
        await calls.stat("missing")
    assert not await calls.exists("missing")


async def test_a_folder_is_no_object(calls: Calls) -> None:
    await calls.put("folder/a", [b"x"])
    with pytest.raises(ObjectNotFoundError):
        await calls.stat("folder")
    with pytest.raises(ObjectNotFoundError):
        await calls.start("folder")
    assert not await calls.exists("folder")
    await calls.delete(["folder"])
    assert await calls.get("folder/a") == b"x"


async def test_below_an_object_there_is_nothing(calls: Calls) -> None:
    await calls.put("a", [b"x"])
    with pytest.raises(ObjectNotFoundError):
        await calls.stat("a/b")
    with pytest.raises(ObjectNotFoundError):
        await calls.start("a/b")
    await calls.delete(["a/b"])
    assert await calls.get("a") == b"x"


async def test_exists_tells(calls: Calls) -> None:
    await calls.put("a", [b"x"])
    assert await calls.exists("a")
    await calls.delete(["a"])
    assert not await calls.exists("a")


def test_an_opened_object_is_read_and_sought(backend: StorageBackend) -> None:
    backend.put("a", pieces(LARGE))
    with backend.open("a") as file:
        assert file.seek(-4, io.SEEK_END) == LARGE - 4
        assert file.read() == b"".join(pieces(LARGE))[-4:]
        file.seek(0)
        assert file.read(5) == PIECE[:5]
    with pytest.raises(ObjectNotFoundError):
        backend.open("missing")


# ---- create and overwrite


@pytest.mark.parametrize("size", [1, LARGE])
async def test_a_taken_key_is_refused(calls: Calls, size: int) -> None:
    await calls.put("a", [b"first"])
    with pytest.raises(ObjectExistsError):
        await calls.put("a", pieces(size))
    assert await calls.get("a") == b"first"
    assert await calls.keys() == ["a"]


@pytest.mark.parametrize("size", [1, LARGE])
async def test_a_taken_key_is_overwritten_when_asked_to(calls: Calls, size: int) -> None:
    await calls.put("a", [b"first"])
    stat = await calls.put("a", pieces(size), mode="overwrite")
    assert stat.size == size
    assert await calls.get("a") == b"".join(pieces(size))
    await calls.put("new", [b"x"], mode="overwrite")
    assert await calls.keys() == ["a", "new"]


def test_of_two_creations_at_one_moment_one_fails(backend: StorageBackend) -> None:
    if not backend.capabilities.creates_atomically:
        pytest.skip("the storage does not promise it")
    start = threading.Barrier(8)
    made: list[int] = []

    def create(number: int) -> None:
        start.wait(10)
        try:
            backend.put("k", [str(number).encode()])
        except ObjectExistsError:
            return
        made.append(number)

    threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(made) == 1
    assert backend.get_bytes("k") == str(made[0]).encode()


# ---- failing sources


def failing(size: int, error: BaseException) -> Iterator[bytes]:
    yield from pieces(size)
    raise error


ERRORS = [
    ValueError("mine"),
    OSError("mine"),
    FileNotFoundError("mine"),
    KeyError("mine"),
    NotImplementedError("mine"),
]


@pytest.mark.parametrize("size", [0, 10, LARGE])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_of_the_source_arrives_as_itself_and_leaves_nothing(
    calls: Calls, size: int, error: Exception
) -> None:
    with pytest.raises(type(error), match="mine") as caught:
        await calls.put("a/b", failing(size, error))
    assert caught.value is error
    assert await calls.keys() == []
    assert not await calls.exists("a/b")
    await calls.put("a/b", [b"x"])
    assert await calls.get("a/b") == b"x"


@pytest.mark.parametrize("size", [0, LARGE])
async def test_a_failed_overwrite_keeps_what_was_there(calls: Calls, size: int) -> None:
    await calls.put("a", [b"first"])
    with pytest.raises(ZeroDivisionError):
        await calls.put("a", failing(size, ZeroDivisionError()), mode="overwrite")
    assert await calls.get("a") == b"first"


@pytest.mark.parametrize("wrong", ["text", 1, None, bytearray(b"x")])
async def test_a_chunk_that_is_not_bytes_is_refused(calls: Calls, wrong: Any) -> None:
    with pytest.raises(TypeError):
        await calls.put("a", [wrong])
    assert await calls.keys() == []


def test_a_key_is_not_visible_before_its_content_has_ended(backend: StorageBackend) -> None:
    """Asked from another thread, as another request would."""

    def watched() -> Iterator[bytes]:
        for piece in pieces(LARGE):
            assert not others.submit(backend.exists, "a").result(10)
            assert others.submit(lambda: [stat.key for stat in backend.list()]).result(10) == []
            yield piece

    with ThreadPoolExecutor(1) as others:
        backend.put("a", watched())
    assert backend.exists("a")


def test_an_overwrite_shows_the_old_content_until_the_new_has_ended(backend: StorageBackend) -> None:
    backend.put("a", [b"first"])

    def watched() -> Iterator[bytes]:
        for piece in pieces(LARGE):
            assert others.submit(backend.get_bytes, "a").result(10) == b"first"
            yield piece

    with ThreadPoolExecutor(1) as others:
        backend.put("a", watched(), mode="overwrite")
    assert backend.stat("a").size == LARGE


async def test_large_content_may_come_from_the_same_storage(calls: Calls) -> None:
    await calls.put("a", pieces(LARGE))
    assert (await calls.put("b", calls.backend.get("a"))).size == LARGE
    assert await calls.get("b") == await calls.get("a")


async def test_large_content_may_come_from_an_opened_object(calls: Calls) -> None:
    await calls.put("a", pieces(LARGE))
    with calls.backend.open("a") as file:
        assert (await calls.put("b", iter(lambda: file.read(1_000_000), b""))).size == LARGE


# ---- delete


async def test_delete_removes_many_and_forgives_those_that_are_missing(calls: Calls) -> None:
    for number in range(5):
        await calls.put(f"d/{number}", [b"x"])
    await calls.delete(["d/0", "missing", "d/1", "no/such/x", "d/3"])
    assert await calls.keys() == ["d/2", "d/4"]
    await calls.delete([])
    await calls.delete(iter(["d/2"]))
    assert await calls.keys() == ["d/4"]


async def test_more_keys_than_one_request_takes_are_deleted(calls: Calls) -> None:
    for number in (0, 1500):
        await calls.put(f"d/{number}", [b"x"])
    await calls.delete(f"d/{number}" for number in range(2200))
    assert await calls.keys() == []


async def test_a_key_with_glob_characters_is_only_itself(calls: Calls) -> None:
    """Row 13 of the security table."""
    hostile = ["*", "?", "[ab]", "{a,b}", "**", "a*"]
    for key in ["a", "b", "ab", *hostile]:
        await calls.put(key, [key.encode()])
    for key in hostile:
        assert await calls.get(key) == key.encode()
        assert (await calls.stat(key)).size == len(key)
    await calls.delete(hostile)
    assert await calls.keys() == ["a", "ab", "b"]


# ---- list


KEYS = ["a", "b/1", "b/2", "b/c/3", "bb/4", "b.5", "c*/6", "c/7", "é/8"]


@pytest.fixture
async def filled(calls: Calls) -> Calls:
    for key in KEYS:
        await calls.put(key, [key.encode()])
    return calls


async def test_all_objects_are_listed_with_their_facts(filled: Calls) -> None:
    listed = await filled.list()
    assert sorted(stat.key for stat in listed) == sorted(KEYS)
    assert all(stat.size == len(stat.key.encode()) for stat in listed)
    for stat in listed:
        assert stat.last_modified == pytest.approx((await filled.stat(stat.key)).last_modified, abs=1e-3)


@pytest.mark.parametrize(
    ("prefix", "keys"),
    [
        ("", KEYS),
        ("b", ["b/1", "b/2", "b/c/3"]),
        ("b/", ["b/1", "b/2", "b/c/3"]),
        ("b/c", ["b/c/3"]),
        ("c*", ["c*/6"]),
        ("c", ["c/7"]),
        ("*", []),
        ("b/*", []),
        ("[b]", []),
        ("?", []),
        ("missing", []),
        ("a", []),
        ("é", ["é/8"]),
    ],
)
async def test_a_prefix_is_a_folder_matched_literally(filled: Calls, prefix: str, keys: list[str]) -> None:
    assert await filled.keys(prefix) == sorted(keys)


@pytest.mark.parametrize("after", ["", "a", "b", "b/1", "b/c/3", "zzz", "b/1x"])
async def test_after_a_key_come_those_that_sort_behind_it(filled: Calls, after: str) -> None:
    assert await filled.keys(after=after) == sorted(key for key in KEYS if key > after)
    assert await filled.keys("b", after=after) == sorted(
        key for key in KEYS if key > after and key.startswith("b/")
    )


async def test_a_storage_that_says_so_lists_in_order(filled: Calls) -> None:
    if not filled.backend.capabilities.lists_in_order:
        pytest.skip("the storage does not promise it")
    listed = [stat.key for stat in await filled.list()]
    assert listed == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize("prefix", ["/", "/a", "../x", "a//b", "..", ".", "a/../..", "x#1", ".filecolumn"])
async def test_a_prefix_that_is_no_folder_is_refused(calls: Calls, prefix: str) -> None:
    with pytest.raises(InvalidKeyError):
        await calls.list(prefix)


async def test_an_empty_storage_lists_nothing(calls: Calls) -> None:
    assert await calls.list() == []
    assert await calls.list("a") == []


async def test_a_listing_may_be_left_and_objects_deleted_meanwhile(filled: Calls) -> None:
    for stat in filled.backend.list():
        filled.backend.delete([stat.key])
    assert await filled.list() == []
    for _ in filled.backend.list():
        break


# ---- copy


@pytest.mark.parametrize("size", [0, 10, LARGE])
async def test_a_copy_is_whole_and_leaves_the_original(calls: Calls, size: int) -> None:
    await calls.put("a", pieces(size))
    stat = await calls.copy("a", "new/folder/b")
    assert (stat.key, stat.size) == ("new/folder/b", size)
    assert await calls.get("new/folder/b") == await calls.get("a") == b"".join(pieces(size))
    await calls.delete(["a"])
    assert (await calls.stat("new/folder/b")).size == size


async def test_a_missing_original_is_not_found(calls: Calls) -> None:
    with pytest.raises(ObjectNotFoundError):
        await calls.copy("missing", "b")
    assert await calls.keys() == []


# ---- keys


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
async def test_every_call_checks_its_key(calls: Calls, key: str) -> None:
    await calls.put("good", [b"x"])
    for call in (
        lambda: calls.put(key, [b"x"]),
        lambda: calls.put(key, pieces(LARGE)),
        lambda: calls.start(key),
        lambda: calls.start(key, length=0),
        lambda: calls.stat(key),
        lambda: calls.exists(key),
        lambda: calls.delete([key]),
        lambda: calls.copy(key, "other"),
    ):
        with pytest.raises(InvalidKeyError):
            await call()
    assert await calls.keys() == ["good"]


async def test_a_copy_checks_the_new_key_before_it_opens_anything(calls: Calls) -> None:
    await calls.put("good", [b"x"])
    with pytest.raises(InvalidKeyError):
        await calls.copy("good", "../x")
    gc.collect()
    assert await calls.keys() == ["good"]


def test_a_reader_that_is_not_read_holds_no_file_open(backend: StorageBackend) -> None:
    backend.put("a", [b"x"])
    backend.get("a")
    gc.collect()


def test_opening_checks_its_key(backend: StorageBackend) -> None:
    with pytest.raises(InvalidKeyError):
        backend.open("../x")


@pytest.mark.parametrize(
    "key", ["a b/c d.txt", "ü/ß.txt", "%2e%2e%2fx", "a?b#c", "x" * 240, "a..b", ".hidden"]
)
async def test_an_unusual_key_is_kept_exactly(calls: Calls, key: str) -> None:
    await calls.put(key, [b"x"])
    assert await calls.get(key) == b"x"
    assert await calls.keys() == [key]
    await calls.delete([key])
    assert await calls.keys() == []


async def test_keys_that_differ_in_case_or_composition_are_two(calls: Calls) -> None:
    twins = ["a.txt", "A.txt", "\u00e9", "e\u0301"]
    for key in twins:
        await calls.put(key, [key.encode()])
    assert [await calls.get(key) for key in twins] == [key.encode() for key in twins]


# ---- sign, close, places


async def test_signing_works_or_is_not_supported(calls: Calls) -> None:
    assert not calls.backend.capabilities.signs
    with pytest.raises(NotSupportedError, match="'s'"):
        await calls.sign("a")


async def test_another_backend_at_the_place_sees_the_content_if_it_says_so(backend: StorageBackend) -> None:
    backend.put("a", [b"x"])
    if isinstance(backend, ObstoreBackend):
        other: StorageBackend = ObstoreBackend("t", backend.location + "/")
    else:
        assert isinstance(backend, FSSpecBackend)
        other = FSSpecBackend("t", backend.fs, backend.prefix)
    assert other.location == backend.location
    assert other.exists("a") is backend.capabilities.persistent


async def test_closing_twice_does_no_harm(backend: StorageBackend) -> None:
    backend.close()
    await backend.close_async()


def test_a_prefix_confines_and_may_be_nested(tmp_path: Path) -> None:
    """Row 15 of the security table."""
    outer = FSSpecBackend("o", "memory", "up")
    twin = FSSpecBackend("t", "memory", "up-secret")
    twin.put("x", [b"x"], mode="overwrite")
    assert [stat.key for stat in outer.list()] == []
    assert not outer.exists("x")


async def test_calls_from_many_threads_do_not_mix(backend: StorageBackend) -> None:
    async def one(number: int) -> None:
        content = str(number).encode() * 10_000
        await backend.put_async(f"t/{number}", [content])
        assert await backend.get_bytes_async(f"t/{number}") == content
        assert (await backend.stat_async(f"t/{number}")).size == len(content)

    await asyncio.gather(*map(one, range(40)))
    assert len(list(backend.list("t"))) == 40


def test_two_readers_of_one_object_do_not_share_a_position(backend: StorageBackend) -> None:
    backend.put("a", pieces(LARGE))
    one, other = backend.get("a"), backend.get("a")
    first, rest = next(one), b"".join(other)
    assert first + b"".join(one) == rest == b"".join(pieces(LARGE))


def test_a_reader_keeps_the_content_that_it_began_with_or_fails(backend: StorageBackend) -> None:
    backend.put("a", pieces(LARGE))
    reader = backend.get("a")
    first = next(reader)
    backend.delete(["a"])
    try:
        rest = b"".join(reader)
    except ObjectNotFoundError:
        return
    assert first + rest == b"".join(pieces(LARGE))


# ---- waits


class Hanging(StorageBackend):
    """A synchronous storage of which each call hangs, until it is let go."""

    def __init__(self) -> None:
        super().__init__("s", timeout=0.1, total_timeout=0.2)
        self.let_go = threading.Event()

    @property
    def location(self) -> str:
        return "hanging://"

    def _hang(self) -> None:
        self.let_go.wait(20)

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        self._hang()
        return Stat(key=key, size=0)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if key == "at once":
            self._hang()
        return self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        yield b"x"
        self._hang()

    def stat(self, key: str) -> Stat:
        self._hang()
        raise ObjectNotFoundError(key)

    def delete(self, keys: Iterable[str]) -> None:
        self._hang()

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        yield Stat(key="a", size=0)
        self._hang()

    def close(self) -> None:
        self._hang()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    backend = Hanging()
    yield backend
    backend.let_go.set()


async def all_of(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


async def never() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.sleep(30)


WAITS: dict[str, Callable[[Hanging], Any]] = {
    "put": lambda backend: backend.put_async("a", [b"x"]),
    "get": lambda backend: backend.get_async("at once"),
    "stat": lambda backend: backend.stat_async("a"),
    "exists": lambda backend: backend.exists_async("a"),
    "delete": lambda backend: backend.delete_async(["a"]),
    "copy": lambda backend: backend.copy_async("a", "b"),
    "close": lambda backend: backend.close_async(),
    "get bytes": lambda backend: backend.get_bytes_async("a"),
}


@pytest.mark.timeout(15)
@pytest.mark.parametrize("call", WAITS.values(), ids=WAITS)
async def test_a_call_that_hangs_ends_within_total_timeout(
    hanging: Hanging, call: Callable[[Hanging], Any]
) -> None:
    start = time.monotonic()
    with pytest.raises(StorageError, match="progress"):
        await call(hanging)
    assert 0.15 <= time.monotonic() - start < 2


@pytest.mark.timeout(15)
async def test_a_stream_that_hangs_ends_within_total_timeout(hanging: Hanging) -> None:
    stream = await hanging.get_async("a")
    assert await anext(stream) == b"x"
    start = time.monotonic()
    with pytest.raises(StorageError, match="progress"):
        await anext(stream)
    assert time.monotonic() - start < 2


@pytest.mark.timeout(15)
async def test_a_listing_that_hangs_ends_within_total_timeout(hanging: Hanging) -> None:
    start = time.monotonic()
    with pytest.raises(StorageError, match="progress"):
        await all_of(await hanging.list_async())
    assert time.monotonic() - start < 2


@pytest.mark.timeout(15)
async def test_a_put_that_makes_progress_may_take_longer_than_total_timeout(tmp_path: Path) -> None:
    backend = FSSpecBackend("s", "file", str(tmp_path), total_timeout=0.3)

    def slow() -> Iterator[bytes]:
        for _ in range(6):
            time.sleep(0.1)
            yield b"x"

    assert (await backend.put_async("a", slow())).size == 6


@pytest.mark.timeout(15)
async def test_a_put_of_asynchronous_content_that_hangs_ends(backend: StorageBackend) -> None:
    """No wait without an end: also of a source that never goes on."""
    backend.total_timeout = 0.3
    start = time.monotonic()
    with pytest.raises(StorageError):
        await asyncio.wait_for(backend.put_async("a", never()), 5)
    assert time.monotonic() - start < 3
    assert [stat.key for stat in backend.list()] == []


@pytest.mark.timeout(15)
async def test_a_cancelled_call_that_hangs_ends_at_once(hanging: Hanging) -> None:
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hanging.stat_async("a"), 0.05)
    assert time.monotonic() - start < 1
