"""Cases of `BackendSuite`: what `delete`, `list` and `copy` promise."""

from __future__ import annotations

import pytest

from filecolumn.backends.base import StorageBackend
from filecolumn.errors import InvalidKeyError, ObjectNotFoundError
from filecolumn.testing.harness import SuiteHarness, whole

__all__ = ("KeepingCases",)

# patterns, as of a shell, are folders like others, of which none is there
OTHER_FOLDERS = ("", "*", "b/*", "[b]", "?", "missing")
AFTER = ("", "a", "b", "b/1", "b/c/3", "zzz", "b/1x")


class KeepingCases(SuiteHarness):
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
