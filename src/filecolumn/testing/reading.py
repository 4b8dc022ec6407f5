"""Cases of `BackendSuite`: what `get`, `stat`, `exists` and `open` promise."""

from __future__ import annotations

import gc
import io

import pytest

from filecolumn.backends.base import StorageBackend
from filecolumn.errors import InvalidKeyError, ObjectNotFoundError
from filecolumn.testing.harness import PIECE, SuiteHarness, in_threads, whole

__all__ = ("ReadingCases",)

RANGES: list[tuple[int, int | None]] = [
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
]


class ReadingCases(SuiteHarness):
    """Content is read whole or in part, and what is missing is missed at once."""

    def test_a_range_is_got(self, storage: StorageBackend) -> None:
        storage.put("a", [b"0123456789"])
        for start, length in RANGES:
            found = whole(storage.get("a", start=start, length=length))
            assert (start, length, found) == (start, length, b"0123456789"[start:][:length])

    def test_a_range_of_an_empty_object_is_empty(self, storage: StorageBackend) -> None:
        storage.put("a", [])
        for start, length in ((0, None), (0, 0), (0, 1), (1, None), (5, 5)):
            assert whole(storage.get("a", start=start, length=length)) == b"", (start, length)

    def test_ranges_of_a_large_object_are_got(self, storage: StorageBackend) -> None:
        content = b"".join(self.pieces(self.large))
        storage.put("a", [content])
        for start, length in ((0, 1), (1, self.large - 2), (self.large // 2, 3_000_000), (self.large, 1)):
            assert whole(storage.get("a", start=start, length=length)) == content[start:][:length]

    def test_a_negative_range_is_refused(self, storage: StorageBackend) -> None:
        storage.put("a", [b"x"])
        for start, length in ((-1, None), (0, -1)):
            with pytest.raises(ValueError):
                storage.get("a", start=start, length=length)

    def test_a_missing_key_is_not_found_at_once(self, storage: StorageBackend) -> None:
        for start, length in ((0, None), (5, None), (0, 0), (1, 1)):
            for key in ("missing", "a/missing/x"):
                with pytest.raises(ObjectNotFoundError):
                    storage.get(key, start=start, length=length)

    def test_a_missing_key_has_no_stat(self, storage: StorageBackend) -> None:
        with pytest.raises(ObjectNotFoundError):
            storage.stat("missing")
        assert not storage.exists("missing")

    def test_a_folder_is_no_object(self, storage: StorageBackend) -> None:
        storage.put("folder/a", [b"x"])
        with pytest.raises(ObjectNotFoundError):
            storage.stat("folder")
        with pytest.raises(ObjectNotFoundError):
            storage.get("folder")
        assert not storage.exists("folder")
        storage.delete(["folder"])
        assert whole(storage.get("folder/a")) == b"x"

    def test_below_an_object_there_is_nothing(self, storage: StorageBackend) -> None:
        storage.put("a", [b"x"])
        with pytest.raises(ObjectNotFoundError):
            storage.stat("a/b")
        with pytest.raises(ObjectNotFoundError):
            storage.get("a/b")
        storage.delete(["a/b"])
        assert whole(storage.get("a")) == b"x"

    def test_exists_tells(self, storage: StorageBackend) -> None:
        storage.put("a", [b"x"])
        assert storage.exists("a")
        storage.delete(["a"])
        assert not storage.exists("a")

    def test_what_another_program_did_is_seen(self, storage: StorageBackend, backend: StorageBackend) -> None:
        assert not storage.exists("theirs/a")
        assert self.keys(storage) == []
        self.place(backend, "theirs/a", b"first")
        assert whole(storage.get("theirs/a")) == storage.get_bytes("theirs/a") == b"first"
        assert [(stat.key, stat.size) for stat in storage.list()] == [("theirs/a", 5)]
        self.place(backend, "theirs/a", b"second")
        assert storage.get_bytes("theirs/a") == b"second"
        assert storage.stat("theirs/a").size == 6

    def test_another_backend_sees_the_content_if_the_storage_says_so(self, backend: StorageBackend) -> None:
        backend.put("a", [b"x"])
        other = self.another(backend)
        assert other.location == backend.location
        assert other.exists("a") is backend.capabilities.persistent
        other.close()

    def test_an_opened_object_is_read_and_sought(self, backend: StorageBackend) -> None:
        backend.put("a", self.pieces(self.large))
        with backend.open("a") as file:
            assert file.seek(-4, io.SEEK_END) == self.large - 4
            assert file.read() == b"".join(self.pieces(self.large))[-4:]
            file.seek(0)
            assert file.read(5) == PIECE[:5]
        with pytest.raises(ObjectNotFoundError):
            backend.open("missing")
        with pytest.raises(InvalidKeyError):
            backend.open("../x")

    def test_a_reader_that_is_not_read_holds_nothing_open(self, backend: StorageBackend) -> None:
        backend.put("a", [b"x"])
        backend.get("a")
        gc.collect()
        backend.delete(["a"])

    def test_calls_from_many_threads_do_not_mix(self, backend: StorageBackend) -> None:
        def some(number: int) -> None:
            for key in (f"t/{number}/{again}" for again in range(5)):
                content = key.encode() * 10_000
                backend.put(key, [content])
                assert backend.get_bytes(key) == content
                assert backend.stat(key).size == len(content)

        in_threads(8, some)
        assert len(self.keys(backend, "t")) == 40

    def test_two_readers_of_one_object_do_not_share_a_position(self, backend: StorageBackend) -> None:
        backend.put("a", self.pieces(self.large))
        one, other = backend.get("a"), backend.get("a")
        first, rest = next(one), b"".join(other)
        assert first + b"".join(one) == rest == b"".join(self.pieces(self.large))

    def test_a_reader_keeps_the_content_that_it_began_with_or_fails(self, backend: StorageBackend) -> None:
        backend.put("a", self.pieces(self.large))
        reader = backend.get("a")
        first = next(reader)
        backend.delete(["a"])
        try:
            rest = b"".join(reader)
        except ObjectNotFoundError:
            return
        assert first + rest == b"".join(self.pieces(self.large))
