"""Cases of `BackendSuite`: what `put` promises."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from filecolumn.backends.base import StorageBackend
from filecolumn.errors import ObjectExistsError
from filecolumn.testing.harness import SuiteHarness, failing, in_threads, whole

__all__ = ("WritingCases",)

SOURCE_ERRORS: list[Callable[[str], Exception]] = [
    ValueError,
    OSError,
    FileNotFoundError,
    KeyError,
    NotImplementedError,
]
ERROR_OF_SIZE: dict[str, Callable[[str], Exception]] = {
    "at once": ValueError,
    "small": FileNotFoundError,
    "large": OSError,
}


class WritingCases(SuiteHarness):
    """Content is stored durably and all or nothing; a taken key is refused."""

    def test_what_is_put_is_got(self, writer: StorageBackend) -> None:
        for number, chunks in enumerate(([], [b""], [b"x"], [b"a", b"", b"bc"])):
            key, content = f"a/{number}", b"".join(chunks)
            stat = writer.put(key, chunks)
            assert (stat.key, stat.size) == (key, len(content))
            assert whole(writer.get(key)) == content

    def test_large_content_is_whole(self, writer: StorageBackend) -> None:
        content = b"".join(self.pieces(self.large))
        stat = writer.put("large", self.pieces(self.large), content_type="application/x-large")
        assert (stat.size, writer.stat("large").size) == (self.large, self.large)
        assert whole(writer.get("large")) == content
        assert whole(writer.get("large", start=self.large - 3)) == content[-3:]
        assert self.keys(writer) == ["large"]

    def test_what_is_put_lies_there(self, writer: StorageBackend, backend: StorageBackend) -> None:
        writer.put("a/b", [b"abc"])
        writer.put("large", self.pieces(self.large))
        assert self.look(backend) == {"a/b": b"abc", "large": b"".join(self.pieces(self.large))}

    def test_a_put_and_a_stat_agree(self, storage: StorageBackend) -> None:
        before = time.time()
        made = storage.put("a", [b"abc"], content_type="text/plain", metadata={"k": "v"})
        stat = storage.stat("a")
        assert (made.key, made.size) == (stat.key, stat.size) == ("a", 3)
        assert made.etag is None or made.etag == stat.etag
        assert made.version_id is None or made.version_id == stat.version_id
        assert stat.last_modified is None or before - 2 <= stat.last_modified <= time.time() + 2

    @pytest.mark.parametrize("kind", ["small", "large"])
    def test_the_media_type_is_kept_if_the_storage_says_so(self, writer: StorageBackend, kind: str) -> None:
        size = 3 if kind == "small" else self.large
        writer.put("a", self.pieces(size), content_type="image/x-odd", metadata={"k": "v"})
        if not writer.capabilities.keeps_content_type:
            assert writer.stat("a").content_type in {None, "application/octet-stream", "binary/octet-stream"}
            return
        assert writer.stat("a").content_type == "image/x-odd"

    @pytest.mark.parametrize("kind", ["small", "large"])
    def test_a_taken_key_is_refused(self, writer: StorageBackend, kind: str) -> None:
        writer.put("a", [b"first"])
        with pytest.raises(ObjectExistsError):
            writer.put("a", self.pieces(1 if kind == "small" else self.large))
        assert whole(writer.get("a")) == b"first"
        assert self.keys(writer) == ["a"]

    def test_a_key_that_another_program_took_is_refused(
        self, storage: StorageBackend, backend: StorageBackend
    ) -> None:
        self.place(backend, "a", b"theirs")
        with pytest.raises(ObjectExistsError):
            storage.put("a", [b"ours"])
        assert self.look(backend) == {"a": b"theirs"}

    @pytest.mark.parametrize("kind", ["small", "large"])
    def test_a_taken_key_is_overwritten_when_asked_to(self, writer: StorageBackend, kind: str) -> None:
        size = 1 if kind == "small" else self.large
        writer.put("a", [b"first"])
        assert writer.put("a", self.pieces(size), mode="overwrite").size == size
        assert whole(writer.get("a")) == b"".join(self.pieces(size))
        writer.put("new", [b"x"], mode="overwrite")
        assert self.keys(writer) == ["a", "new"]

    def test_of_two_creations_at_one_moment_one_fails(self, backend: StorageBackend) -> None:
        if not backend.capabilities.creates_atomically:
            pytest.skip("the storage does not promise it")
        start = threading.Barrier(8)

        def create(number: int) -> int | None:
            start.wait(10)
            try:
                backend.put("k", [str(number).encode()])
            except ObjectExistsError:
                return None
            return number

        made = [number for number in in_threads(8, create) if number is not None]
        assert len(made) == 1
        assert backend.get_bytes("k") == str(made[0]).encode()

    @pytest.mark.parametrize("kind", ["at once", "small", "large"])
    def test_an_error_of_the_source_arrives_as_itself_and_leaves_nothing(
        self, writer: StorageBackend, kind: str
    ) -> None:
        size = {"at once": 0, "small": 10, "large": self.large}[kind]
        for make in SOURCE_ERRORS if self.exhaustive else [ERROR_OF_SIZE[kind]]:
            error = make("mine")
            with pytest.raises(type(error)) as caught:
                writer.put("a/b", failing(self.pieces(size), error))
            assert caught.value is error
            assert self.keys(writer) == []
            assert not writer.exists("a/b")
        writer.put("a/b", [b"x"])
        assert whole(writer.get("a/b")) == b"x"

    @pytest.mark.parametrize("kind", ["small", "large"])
    def test_a_failed_put_leaves_nothing_behind(
        self, writer: StorageBackend, backend: StorageBackend, kind: str
    ) -> None:
        size = 10 if kind == "small" else self.large
        with pytest.raises(ZeroDivisionError):
            writer.put("a/b", failing(self.pieces(size), ZeroDivisionError()))
        assert self.look(backend) == {}

    @pytest.mark.parametrize("kind", ["at once", "large"])
    def test_a_failed_overwrite_keeps_what_was_there(self, writer: StorageBackend, kind: str) -> None:
        writer.put("a", [b"first"])
        size = 0 if kind == "at once" else self.large
        with pytest.raises(ZeroDivisionError):
            writer.put("a", failing(self.pieces(size), ZeroDivisionError()), mode="overwrite")
        assert whole(writer.get("a")) == b"first"

    def test_a_chunk_that_is_not_bytes_is_refused(self, writer: StorageBackend) -> None:
        for wrong in ("text", 1, None, bytearray(b"x")):
            with pytest.raises(TypeError):
                writer.put("a", [cast("bytes", wrong)])
            assert self.keys(writer) == [], wrong

    def test_a_key_is_not_visible_before_its_content_has_ended(self, backend: StorageBackend) -> None:
        """Asked from another thread, as another request would."""

        def watched() -> Iterator[bytes]:
            for piece in self.pieces(self.large):
                assert not others.submit(backend.exists, "a").result(10)
                assert others.submit(self.keys, backend).result(10) == []
                yield piece

        with ThreadPoolExecutor(1) as others:
            backend.put("a", watched())
        assert backend.exists("a")

    def test_an_overwrite_shows_the_old_content_until_the_new_has_ended(
        self, backend: StorageBackend
    ) -> None:
        def watched() -> Iterator[bytes]:
            for piece in self.pieces(self.large):
                assert others.submit(backend.get_bytes, "a").result(10) == b"first"
                yield piece

        backend.put("a", [b"first"])
        with ThreadPoolExecutor(1) as others:
            backend.put("a", watched(), mode="overwrite")
        assert backend.stat("a").size == self.large

    def test_large_content_may_come_from_the_same_storage(
        self, writer: StorageBackend, backend: StorageBackend
    ) -> None:
        writer.put("a", self.pieces(self.large))
        assert writer.put("b", backend.get("a")).size == self.large
        with backend.open("a") as file:
            assert writer.put("c", iter(lambda: file.read(1_000_000), b"")).size == self.large
        gc.collect()
        assert whole(writer.get("b")) == whole(writer.get("c")) == b"".join(self.pieces(self.large))
