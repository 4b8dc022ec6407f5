"""`BackendSuite`: the storage contract of `filecolumn.backends.base`, word for word, as tests.

The cases stand in four groups: writing, reading, keeping (delete, list, copy), and identity (keys, signed URLs).
"""

from __future__ import annotations

import gc
import io
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import cast

import pytest

from filecolumn.backends.base import SignMethod, Stat, StorageBackend, WholeObject
from filecolumn.errors import InvalidKeyError, NotSupportedError, ObjectExistsError, ObjectNotFoundError
from filecolumn.testing.harness import PIECE, SuiteHarness, failing, in_threads, whole
from filecolumn.testing.stateful import check_against_model

__all__ = ("BackendSuite",)

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
# patterns, as of a shell, are folders like others, of which none is there
OTHER_FOLDERS = ("", "*", "b/*", "[b]", "?", "missing")
AFTER = ("", "a", "b", "b/1", "b/c/3", "zzz", "b/1x")
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


class _WritingCases(SuiteHarness):
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

    def test_many_objects_are_stored_and_told_of(self, backend: StorageBackend) -> None:
        backend.put("old", [b"first"])
        objects = [WholeObject(f"a/{number % 3}/{number}", b"x" * number) for number in range(100)]
        objects.append(WholeObject("old", b"second", "text/plain", {"k": "v"}, mode="overwrite"))
        told: list[tuple[WholeObject, Stat]] = []
        backend.put_many(iter(objects), lambda whole, stat: told.append((whole, stat)))
        assert {whole for whole, _ in told} == {*objects}
        assert all((stat.key, stat.size) == (whole.key, len(whole.content)) for whole, stat in told)
        assert {key: backend.get_bytes(key) for key in self.keys(backend)} == {
            whole.key: whole.content for whole in objects
        }
        backend.put_many([], lambda whole, stat: told.append((whole, stat)))
        assert len(told) == len(objects)

    def test_of_many_objects_those_are_there_that_were_told_of_before_an_error(
        self, backend: StorageBackend
    ) -> None:
        told = {"taken"}
        for error in (ZeroDivisionError(), ObjectExistsError("mine")):
            objects = (WholeObject(f"{type(error).__name__.lower()}/{number}", b"x") for number in range(3))
            with pytest.raises(type(error)) as caught:
                backend.put_many(failing(objects, error), lambda whole, _: told.add(whole.key))
            assert caught.value is error
        backend.put("taken", [b"first"])
        with pytest.raises(ObjectExistsError, match="taken"):
            backend.put_many(
                [WholeObject("b", b"x"), WholeObject("taken", b"x")], lambda whole, _: told.add(whole.key)
            )
        assert {*self.keys(backend)} == told
        assert backend.get_bytes("taken") == b"first"

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


class _ReadingCases(SuiteHarness):
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


class _KeepingCases(SuiteHarness):
    """Objects are removed in batches, listed with their facts, copied whole."""

    @pytest.fixture
    def filled(self, storage: StorageBackend, backend: StorageBackend) -> StorageBackend:
        """Fill the storage with an object under each of `listed_keys`."""
        for key in self.listed_keys:
            backend.put(key, [key.encode()])
        return storage

    def test_delete_removes_many_and_forgives_those_that_are_missing(self, storage: StorageBackend) -> None:
        for number in range(5):
            storage.put(f"d/{number}", [b"x"])
        storage.delete(["d/0", "missing", "d/1", "no/such/x", "d/3"])
        assert self.keys(storage) == ["d/2", "d/4"]
        storage.delete([])
        storage.delete(iter(["d/2"]))
        assert self.keys(storage) == ["d/4"]

    def test_a_string_is_one_key_to_delete_not_its_characters(
        self, storage: StorageBackend, backend: StorageBackend
    ) -> None:
        for key in ("a", "b", "ab", "d/1"):
            backend.put(key, [b"x"])
        storage.delete("ab")
        assert self.keys(storage) == ["a", "b", "d/1"]
        storage.delete("d/1")
        storage.delete("missing")
        assert self.keys(storage) == ["a", "b"]

    def test_what_is_deleted_is_gone(self, storage: StorageBackend, backend: StorageBackend) -> None:
        for key in ("a/b", "a/c"):
            storage.put(key, [b"x"])
        storage.delete(["a/b"])
        assert self.look(backend) == {"a/c": b"x"}

    def test_more_keys_than_one_request_takes_are_deleted(self, storage: StorageBackend) -> None:
        for number in (0, self.many - 1):
            storage.put(f"d/{number}", [b"x"])
        storage.delete(f"d/{number}" for number in range(self.many))
        assert self.keys(storage) == []

    def test_all_objects_are_listed_with_their_facts(self, filled: StorageBackend) -> None:
        listed = [*filled.list()]
        assert sorted(stat.key for stat in listed) == sorted(self.listed_keys)
        assert all(stat.size == len(stat.key.encode()) for stat in listed)
        for stat in listed:
            described = filled.stat(stat.key)
            assert abs((stat.last_modified or 0) - (described.last_modified or 0)) <= 1
            assert stat.etag is None or stat.etag == described.etag

    def test_a_prefix_is_a_folder_matched_literally(self, filled: StorageBackend) -> None:
        folders = {key.rpartition("/")[0] for key in self.listed_keys}
        for folder in (*OTHER_FOLDERS, *folders, *self.listed_keys):
            for prefix in (folder, f"{folder}/") if folder else ("",):
                inside = sorted(key for key in self.listed_keys if key.startswith(prefix and f"{folder}/"))
                try:
                    found = self.keys(filled, prefix)
                except InvalidKeyError:
                    # of a storage that keeps no such keys
                    found = []
                assert (prefix, found) == (prefix, inside)

    def test_after_a_key_come_those_that_sort_behind_it(self, filled: StorageBackend) -> None:
        for after in AFTER:
            behind = sorted(key for key in self.listed_keys if key > after)
            assert (after, self.keys(filled, after=after)) == (after, behind)
            below = [key for key in behind if key.startswith("b/")]
            assert (after, self.keys(filled, "b", after=after)) == (after, below)

    def test_a_storage_that_says_so_lists_in_order(self, filled: StorageBackend) -> None:
        if not filled.capabilities.lists_in_order:
            pytest.skip("the storage does not promise it")
        assert [stat.key for stat in filled.list()] == sorted(self.listed_keys, key=str.encode)

    def test_a_prefix_that_is_no_folder_is_refused(self, storage: StorageBackend) -> None:
        for prefix in ("/", "/a", "../x", "a//b", "..", ".", "a/../..", "x#1", ".filecolumn"):
            with pytest.raises(InvalidKeyError):
                self.keys(storage, prefix)

    def test_an_empty_storage_lists_nothing(self, storage: StorageBackend) -> None:
        assert self.keys(storage) == self.keys(storage, "a") == []

    def test_a_listing_may_be_left_and_objects_deleted_meanwhile(self, filled: StorageBackend) -> None:
        for stat in filled.list():
            filled.delete([stat.key])
        assert self.keys(filled) == []
        for _ in filled.list():
            break

    @pytest.mark.parametrize("kind", ["empty", "small", "large"])
    def test_a_copy_is_whole_and_leaves_the_original(self, storage: StorageBackend, kind: str) -> None:
        size = {"empty": 0, "small": 10, "large": self.large}[kind]
        content = b"".join(self.pieces(size))
        storage.put("a", self.pieces(size), content_type="image/x-odd")
        stat = storage.copy("a", "new/folder/b")
        assert (stat.key, stat.size) == ("new/folder/b", size)
        assert whole(storage.get("new/folder/b")) == whole(storage.get("a")) == content
        storage.delete(["a"])
        copied = storage.stat("new/folder/b")
        assert copied.size == size
        if storage.capabilities.keeps_content_type:
            assert copied.content_type == "image/x-odd"

    def test_a_missing_original_is_not_found(self, storage: StorageBackend) -> None:
        with pytest.raises(ObjectNotFoundError):
            storage.copy("missing", "b")
        assert self.keys(storage) == []


class _IdentityCases(SuiteHarness):
    """A key is exactly itself or refused; a URL is signed or not supported."""

    def test_every_call_checks_its_key(self, storage: StorageBackend) -> None:
        storage.put("good", [b"x"])
        for key in BAD_KEYS:
            for call in self._calls(storage, key):
                with pytest.raises(InvalidKeyError):
                    call()
        assert self.keys(storage) == ["good"]

    def _calls(self, storage: StorageBackend, key: str) -> list[Callable[[], object]]:
        return [
            lambda: storage.put(key, [b"x"]),
            lambda: storage.put(key, self.pieces(self.large)),
            lambda: storage.get(key),
            lambda: storage.get(key, length=0),
            lambda: storage.stat(key),
            lambda: storage.exists(key),
            lambda: storage.delete([key]),
            lambda: storage.copy(key, "other"),
        ]

    def test_a_copy_checks_the_new_key_before_it_opens_anything(self, storage: StorageBackend) -> None:
        storage.put("good", [b"x"])
        with pytest.raises(InvalidKeyError):
            storage.copy("good", "../x")
        gc.collect()
        assert self.keys(storage) == ["good"]

    def test_an_unusual_key_is_kept_exactly_or_refused(self, storage: StorageBackend) -> None:
        for key in self.unusual_keys:
            try:
                storage.put(key, [b"x"])
            except InvalidKeyError:
                assert self.keys(storage) == [], key
                continue
            assert (key, whole(storage.get(key))) == (key, b"x")
            assert self.keys(storage) == [key]
            storage.copy(key, f"copy/{key}")
            assert self.keys(storage, "copy") == [f"copy/{key}"]
            storage.delete([key, f"copy/{key}"])
            assert self.keys(storage) == [], key

    def test_an_unusual_key_lies_there_as_it_is(self, backend: StorageBackend) -> None:
        kept: dict[str, bytes] = {}
        for key in self.unusual_keys:
            with suppress(InvalidKeyError):
                backend.put(key, [key.encode()])
                kept[key] = key.encode()
        assert self.look(backend) == kept

    def test_a_key_with_glob_characters_is_only_itself(self, storage: StorageBackend) -> None:
        for key in ("a", "b", "ab"):
            storage.put(key, [key.encode()])
        hostile: list[str] = []
        for key in ("*", "?", "[ab]", "{a,b}", "**", "a*"):
            with suppress(InvalidKeyError):
                storage.put(key, [key.encode()])
                hostile.append(key)
        for key in hostile:
            assert whole(storage.get(key)) == key.encode()
            assert storage.stat(key).size == len(key)
        storage.delete(hostile)
        assert self.keys(storage) == ["a", "ab", "b"]

    def test_keys_that_differ_in_case_or_composition_are_two(self, storage: StorageBackend) -> None:
        for key in self.distinct_keys:
            storage.put(key, [key.encode()])
        assert [whole(storage.get(key)) for key in self.distinct_keys] == [
            key.encode() for key in self.distinct_keys
        ]

    def test_what_is_not_signed_is_not_supported(self, storage: StorageBackend) -> None:
        methods: dict[SignMethod, bool] = {
            "GET": storage.capabilities.signs,
            "PUT": storage.capabilities.signs_uploads,
        }
        for method, signs in methods.items():
            if not signs:
                with pytest.raises(NotSupportedError):
                    storage.sign("a", method=method)

    def test_a_signed_url_reads(self, storage: StorageBackend) -> None:
        if not storage.capabilities.signs:
            pytest.skip("the storage makes no signed URLs")
        storage.put("a/b1", [b"content"])
        assert _fetch(storage.sign("a/b1", expires_in=60)) == (200, b"content")

    def test_a_signed_url_for_an_unusual_key_reads_or_is_refused(self, backend: StorageBackend) -> None:
        if not backend.capabilities.signs:
            pytest.skip("the storage makes no signed URLs")
        for key in self.unusual_keys:
            try:
                backend.put(key, [key.encode()])
                url = backend.sign(key, expires_in=60)
            except (InvalidKeyError, NotSupportedError):
                continue
            assert _fetch(url) == (200, key.encode())

    def test_a_signed_url_writes(self, storage: StorageBackend) -> None:
        if not storage.capabilities.signs_uploads:
            pytest.skip("the storage makes no signed URLs for uploads")
        url = storage.sign("a/b1", expires_in=60, method="PUT")
        status, _ = _fetch(url, method="PUT", body=b"theirs", headers=self.upload_headers)
        assert status in {200, 201}
        assert storage.get_bytes("a/b1") == b"theirs"

    def test_a_signed_url_expires_and_reads_one_key_only(self, backend: StorageBackend) -> None:
        if not (backend.capabilities.signs and self.proves_signatures):
            pytest.skip("the server does not check signatures")
        for key in ("akey", "bkey"):
            backend.put(key, [b"content"])
        url = backend.sign("akey", expires_in=1)
        time.sleep(2.1)
        assert _fetch(url)[0] in {400, 403}
        forged = backend.sign("akey", expires_in=60).replace("akey", "bkey")
        assert _fetch(forged)[0] in {400, 403}

    def test_closing_twice_does_no_harm(self, storage: StorageBackend) -> None:
        storage.close()
        storage.close()

    def test_its_description_names_key_and_location(self, backend: StorageBackend) -> None:
        assert repr(backend.key) in repr(backend)
        assert backend.location in repr(backend)
        assert backend.protocol


class BackendSuite(_WritingCases, _ReadingCases, _KeepingCases, _IdentityCases):
    """The storage contract as tests: subclass it as `TestMyBackend`, with a fixture `backend` for an empty place.

    Every test runs sync and async, and those of `put` with asynchronous content too; no plugin of pytest is needed.
    Tests of what a storage cannot do are skipped, as its `capabilities` say.
    """

    def test_any_sequence_of_calls_is_as_on_a_dictionary(self, writer: StorageBackend) -> None:
        check_against_model(writer, examples=self.examples, keys=self.model_keys)


def _fetch(
    url: str, *, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    kind = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body, method=method, headers={**kind, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
