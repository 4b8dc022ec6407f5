"""The registry of storages."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from filecolumn import (
    BackendAlreadyRegisteredError,
    BackendNotRegisteredError,
    FileObject,
    StorageError,
    StorageRegistry,
    storages,
)
from filecolumn.backends.base import PutMode, Stat, StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend


class Closing(StorageBackend):
    """Counts how often it is closed."""

    def __init__(self, key: str, location: str = "closing://") -> None:
        super().__init__(key)
        self.closed: list[str] = []
        self._location = location

    @property
    def location(self) -> str:
        return self._location

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        raise NotImplementedError

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        raise NotImplementedError

    def stat(self, key: str) -> Stat:
        raise NotImplementedError

    def delete(self, keys: Iterable[str]) -> None:
        raise NotImplementedError

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        raise NotImplementedError

    def close(self) -> None:
        self.closed.append(threading.current_thread().name)


@pytest.fixture
def registry() -> StorageRegistry:
    return StorageRegistry()


def memory(key: str) -> ObstoreBackend:
    return ObstoreBackend(key, "memory://")


def local(key: str, folder: Path) -> ObstoreBackend:
    return ObstoreBackend(key, f"file://{folder}/")


def test_a_backend_is_registered_under_its_key(registry: StorageRegistry) -> None:
    backend = memory("docs")
    assert registry.register_backend(backend) is backend
    assert registry.get("docs") is backend
    assert registry.get_backend("docs") is backend
    assert registry.all() == [backend]
    assert registry.registered_backends() == ["docs"]
    assert registry.is_registered("docs")
    assert not registry.is_registered("other")


def test_a_url_builds_a_backend(registry: StorageRegistry, tmp_path: Path) -> None:
    backend = registry.register_backend(f"file://{tmp_path}/", key="docs", fsync=False, concurrency=3)
    assert isinstance(backend, ObstoreBackend)
    assert backend.concurrency == 3
    assert backend.location == f"file://{tmp_path}"
    assert registry.get("docs") is backend


@pytest.mark.parametrize(
    "url", ["memory://", "s3://bucket/", "s3://bucket", "gs://bucket/p/", "https://example.com/x/"]
)
def test_obstore_serves_the_schemes_it_knows(registry: StorageRegistry, url: str) -> None:
    assert isinstance(registry.register_backend(url, "docs"), ObstoreBackend)


def test_fsspec_serves_all_other_schemes(registry: StorageRegistry, tmp_path: Path) -> None:
    backend = registry.register_backend(f"local://{tmp_path}", "docs")
    assert isinstance(backend, FSSpecBackend)
    assert backend.location == f"file://{tmp_path}"


@pytest.mark.parametrize("url", ["docs", "/srv/files", "file", ""])
def test_what_is_no_url_is_refused_with_a_hint(registry: StorageRegistry, url: str) -> None:
    with pytest.raises(ValueError, match="file:///folder/"):
        registry.register_backend(url, "docs")
    assert registry.all() == []


def test_a_scheme_that_nobody_knows_is_refused(registry: StorageRegistry) -> None:
    with pytest.raises(ValueError, match="nosuchscheme"):
        registry.register_backend("nosuchscheme://x/", "docs")


def test_a_missing_folder_is_made_when_it_is_registered(registry: StorageRegistry, tmp_path: Path) -> None:
    registry.register_backend(f"file://{tmp_path}/not/yet/", key="docs")
    registry.register_backend(FSSpecBackend("other", "file", str(tmp_path / "nor" / "this")))
    assert (tmp_path / "not" / "yet").is_dir()
    assert (tmp_path / "nor" / "this").is_dir()


def test_a_folder_that_cannot_be_made_is_refused_at_start_up(
    registry: StorageRegistry, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((OSError, ValueError)):
        registry.register_backend(f"file://{tmp_path}/file/below/", key="docs")
    with pytest.raises((OSError, ValueError)):
        FSSpecBackend("other", "file", str(tmp_path / "file" / "below"))


def test_a_url_needs_a_key(registry: StorageRegistry) -> None:
    with pytest.raises(TypeError, match="key="):
        registry.register_backend("memory://")  # type: ignore[call-overload]


def test_a_ready_backend_takes_no_key_and_no_options(registry: StorageRegistry) -> None:
    with pytest.raises(TypeError, match="ready backend"):
        registry.register_backend(memory("docs"), "other")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="ready backend"):
        registry.register_backend(memory("docs"), fsync=False)  # type: ignore[call-overload]


@pytest.mark.parametrize("wrong", [FSSpecBackend, ObstoreBackend, None, 42])
def test_what_is_no_backend_is_refused(registry: StorageRegistry, wrong: object) -> None:
    with pytest.raises(TypeError):
        registry.register_backend(wrong, "docs")  # type: ignore[call-overload]
    assert registry.all() == []


def test_a_storage_needs_a_name() -> None:
    with pytest.raises(ValueError, match="non-empty key"):
        memory("")


@pytest.mark.parametrize(
    "bad", [{"timeout": 0}, {"total_timeout": -1}, {"concurrency": 0}, {"max_retries": -1}]
)
def test_waits_without_an_end_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="timeouts and concurrency"):
        ObstoreBackend("docs", "memory://", **bad)  # type: ignore[arg-type]


def test_the_error_for_an_unknown_key_names_those_that_are_known(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs"))
    registry.register_backend(memory("images"))
    with pytest.raises(BackendNotRegisteredError, match=r"'nope'.*'docs', 'images'"):
        registry.get("nope")


def test_the_error_says_when_nothing_is_registered(registry: StorageRegistry) -> None:
    with pytest.raises(LookupError, match="none yet"):
        registry.get("nope")


def test_the_same_location_is_replaced_quietly(registry: StorageRegistry, tmp_path: Path) -> None:
    registry.register_backend(local("docs", tmp_path))
    again = registry.register_backend(local("docs", tmp_path))
    assert registry.all() == [again]


def test_one_folder_by_two_libraries_is_the_same_location(registry: StorageRegistry, tmp_path: Path) -> None:
    registry.register_backend(local("docs", tmp_path))
    again = registry.register_backend(FSSpecBackend("docs", "file", str(tmp_path)))
    assert registry.get("docs") is again


def test_another_location_is_refused(registry: StorageRegistry, tmp_path: Path) -> None:
    first = registry.register_backend(local("docs", tmp_path / "a"))
    with pytest.raises(BackendAlreadyRegisteredError, match="replace=True"):
        registry.register_backend(local("docs", tmp_path / "b"))
    assert registry.get("docs") is first


def test_another_location_replaces_when_asked_to(registry: StorageRegistry, tmp_path: Path) -> None:
    registry.register_backend(local("docs", tmp_path / "a"))
    second = registry.register_backend(local("docs", tmp_path / "b"), replace=True)
    assert registry.get("docs") is second
    third = registry.register_backend(f"file://{tmp_path}/c/", "docs", replace=True)
    assert registry.get("docs") is third


def test_content_in_memory_stays(registry: StorageRegistry) -> None:
    first = registry.register_backend(memory("docs"))
    first.put("a", [b"x"])
    assert registry.register_backend(memory("docs")) is first
    assert registry.get("docs").get_bytes("a") == b"x"


def test_content_in_memory_is_replaced_when_asked_to(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs")).put("a", [b"x"])
    assert not registry.register_backend(memory("docs"), replace=True).exists("a")


def test_content_in_the_memory_of_fsspec_stays_too(registry: StorageRegistry) -> None:
    registry.register_backend(FSSpecBackend("docs", "memory", "kept")).put("a", [b"x"], mode="overwrite")
    registry.register_backend(FSSpecBackend("docs", "memory", "kept"))
    assert registry.get("docs").get_bytes("a") == b"x"


def test_unregistering_forgets_without_closing(registry: StorageRegistry) -> None:
    backend = Closing("docs")
    registry.register_backend(backend)
    registry.unregister_backend("docs")
    assert not registry.is_registered("docs")
    assert backend.closed == []


def test_unregistering_what_is_not_registered_is_no_error(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs"))
    registry.unregister_backend("other")
    assert registry.registered_backends() == ["docs"]


def test_clearing_forgets_backends_aliases_and_default(registry: StorageRegistry) -> None:
    backend = Closing("docs")
    registry.register_backend(backend)
    registry.alias("old", to="docs")
    registry.default = "docs"
    registry.clear_backends()
    assert registry.all() == []
    assert registry.resolve("old") == "old"
    assert backend.closed == []
    with pytest.raises(BackendNotRegisteredError):
        _ = registry.default


def test_close_closes_each_once_and_forgets_them(registry: StorageRegistry) -> None:
    backends = [Closing("a"), Closing("b")]
    for backend in backends:
        registry.register_backend(backend)
    registry.close()
    registry.close()
    assert [len(backend.closed) for backend in backends] == [1, 1]
    assert registry.all() == []


class Refusing(Closing):
    """Cannot be closed."""

    def close(self) -> None:
        raise StorageError(f"{self.key} refuses")


@pytest.mark.parametrize("call", ["close", "aclose"])
async def test_a_storage_that_cannot_be_closed_does_not_keep_the_others_open(
    registry: StorageRegistry, call: str
) -> None:
    backends = [Closing("a"), Refusing("b"), Closing("c")]
    for backend in backends:
        registry.register_backend(backend)
    with pytest.raises(StorageError, match="b refuses"):
        await registry.aclose() if call == "aclose" else registry.close()
    assert [len(backend.closed) for backend in backends] == [1, 0, 1]
    assert registry.all() == []


async def test_aclose_closes_off_the_event_loop(registry: StorageRegistry) -> None:
    backend = Closing("a")
    registry.register_backend(backend)
    await registry.aclose()
    await registry.aclose()
    assert len(backend.closed) == 1
    assert backend.closed[0] != threading.current_thread().name
    assert registry.all() == []


def test_the_only_storage_is_the_default(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs"))
    assert registry.default == "docs"


def test_of_two_storages_none_is_the_default(registry: StorageRegistry) -> None:
    registry.register_backend(memory("a"))
    registry.register_backend(memory("b"))
    with pytest.raises(BackendNotRegisteredError, match=r"2 storages.*storages\.default"):
        _ = registry.default
    registry.default = "b"
    assert registry.default == "b"
    registry.default = None
    with pytest.raises(BackendNotRegisteredError):
        _ = registry.default


def test_the_default_may_be_set_before_it_is_registered(registry: StorageRegistry) -> None:
    registry.default = "later"
    assert registry.default == "later"


@pytest.mark.parametrize("wrong", [FSSpecBackend, memory("x"), 3])
def test_the_default_is_a_key_and_nothing_else(registry: StorageRegistry, wrong: object) -> None:
    with pytest.raises(TypeError, match="key of a storage"):
        registry.default = wrong  # type: ignore[assignment]
    registry.register_backend("memory://", "docs")
    assert registry.default == "docs"


def test_a_file_without_backend_goes_to_the_default() -> None:
    storages.register_backend(memory("a"))
    storages.register_backend(memory("b"))
    storages.default = "b"
    assert FileObject("x", content=b"1").save().backend_key == "b"


def test_an_alias_leads_to_the_new_name(registry: StorageRegistry) -> None:
    backend = registry.register_backend(memory("new"))
    registry.alias("old", to="new")
    assert registry.get("old") is backend
    assert registry.is_registered("old")
    assert registry.resolve("old") == "new"
    assert registry.registered_backends() == ["new"]


def test_aliases_may_form_a_chain(registry: StorageRegistry) -> None:
    backend = registry.register_backend(memory("c"))
    registry.alias("a", to="b")
    registry.alias("b", to="c")
    assert registry.get("a") is backend


def test_an_alias_may_be_made_before_its_target(registry: StorageRegistry) -> None:
    registry.alias("old", to="new")
    assert not registry.is_registered("old")
    with pytest.raises(BackendNotRegisteredError):
        registry.get("old")
    registry.register_backend(memory("new"))
    assert registry.is_registered("old")


@pytest.mark.timeout(10)
def test_a_circle_of_aliases_is_refused(registry: StorageRegistry) -> None:
    registry.alias("a", to="b")
    registry.alias("b", to="c")
    with pytest.raises(ValueError, match="alias"):
        registry.alias("c", to="a")
    with pytest.raises(ValueError, match="alias"):
        registry.alias("x", to="x")
    assert registry.resolve("a") == "c"


def test_a_registered_key_cannot_become_an_alias(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs"))
    with pytest.raises(BackendAlreadyRegisteredError):
        registry.alias("docs", to="other")


def test_a_backend_registered_under_an_alias_is_the_one_that_is_found(registry: StorageRegistry) -> None:
    """Either it is refused or it is found: a storage that was registered is never silently unused."""
    registry.register_backend(memory("new"))
    registry.alias("old", to="new")
    backend = memory("old")
    try:
        registry.register_backend(backend)
    except BackendAlreadyRegisteredError:
        return
    assert registry.get("old") is backend


def test_a_file_of_an_old_name_is_read_and_removed_by_its_alias() -> None:
    storages.register_backend(memory("old")).put("k", [b"x"])
    backend = storages.get("old")
    storages.unregister_backend("old")
    storages.register_backend(memory("new"))
    storages.alias("old", to="new")
    storages.get("new").put("k", backend.get("k"))
    file = FileObject._from_row({"filename": "k", "to_filename": "k", "backend": "old", "size": 1}, ("new",))
    assert file.get_content() == b"x"


def test_override_puts_another_backend_in_place_for_a_while(registry: StorageRegistry) -> None:
    backend = registry.register_backend(memory("docs"))
    other = memory("docs")
    with registry.override("docs", other) as given:
        assert given is other
        assert registry.get("docs") is other
    assert registry.get("docs") is backend


def test_override_ends_after_an_error_too(registry: StorageRegistry) -> None:
    backend = registry.register_backend(memory("docs"))
    with pytest.raises(RuntimeError, match="test"), registry.override("docs", memory("docs")):
        raise RuntimeError("test")
    assert registry.get("docs") is backend


def test_override_of_an_unknown_key_leaves_it_unknown(registry: StorageRegistry) -> None:
    with registry.override("docs", memory("docs")):
        assert registry.is_registered("docs")
    assert not registry.is_registered("docs")


def test_override_by_a_url_closes_what_it_made(
    registry: StorageRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[StorageBackend] = []

    def close(self: StorageBackend) -> None:
        closed.append(self)

    monkeypatch.setattr(ObstoreBackend, "close", close)
    backend = registry.register_backend(memory("docs"))
    registry.alias("old", to="docs")
    for key in ("docs", "old", "new"):
        closed.clear()
        with pytest.raises(RuntimeError, match="test"), registry.override(key, "memory://") as made:
            assert registry.get(key) is made is not backend
            assert made.key == registry.resolve(key)
            made.put("a", [b"x"])
            raise RuntimeError("test")
        assert closed == [made]
        assert registry.registered_backends() == ["docs"]
        assert registry.get("docs") is backend
    with pytest.raises(ValueError, match="not a storage URL"), registry.override("docs", "memory"):
        pass
    assert registry.get("docs") is backend


def test_override_makes_its_backend_while_others_use_the_registry(
    registry: StorageRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(url: str, key: str, options: Mapping[str, object]) -> StorageBackend:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(registry.register_backend, memory("other")).result(timeout=5)
        return memory(key)

    monkeypatch.setattr("filecolumn.backends.registry.backend_from_url", slow)
    with registry.override("docs", "memory://"):
        assert registry.registered_backends() == ["other", "docs"]


def test_override_by_an_alias_is_seen_by_both_names(registry: StorageRegistry) -> None:
    backend = registry.register_backend(memory("new"))
    registry.alias("old", to="new")
    with registry.override("old", memory("new")) as other:
        assert registry.get("new") is registry.get("old") is other
    assert registry.get("old") is backend


def test_files_saved_during_an_override_name_the_key_that_was_overridden() -> None:
    """A row written in a test must lead to the storage again: another key in its place is refused or mapped."""
    storages.register_backend(memory("docs"))
    with ExitStack() as stack:
        try:
            stack.enter_context(storages.override("docs", memory("fake")))
        except ValueError:
            return
        file = FileObject("a.txt", backend="docs", content=b"x").save()
        assert file.backend_key == "docs"
        assert file.get_content() == b"x"


def test_registries_are_independent(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs"))
    registry.alias("old", to="docs")
    other = StorageRegistry()
    assert other.all() == []
    assert not other.is_registered("old")
    assert not storages.is_registered("docs")


def test_the_lists_are_copies(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs"))
    registry.all().clear()
    registry.registered_backends().clear()
    assert registry.is_registered("docs")


def test_the_mapping_is_where_the_published_example_pops_it(registry: StorageRegistry) -> None:
    registry.register_backend(memory("docs"))
    registry._backends.pop("docs", None)
    assert not registry.is_registered("docs")


@pytest.mark.timeout(60)
def test_threads_may_share_a_registry(registry: StorageRegistry) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(10)
        for turn in range(200):
            key = f"{number}-{turn % 5}"
            registry.register_backend(Closing(key, location=key))
            assert registry.get(key).key == key
            registry.all()
            registry.registered_backends()
            registry.alias(f"alias-{key}", to=key)
            assert registry.is_registered(f"alias-{key}")
            with registry.override(key, Closing(key)):
                pass
            registry.unregister_backend(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert registry.all() == []


@pytest.mark.timeout(60)
def test_of_threads_that_register_one_key_at_two_places_one_place_wins(registry: StorageRegistry) -> None:
    start = threading.Barrier(8)

    def register(number: int) -> bool:
        start.wait(10)
        try:
            registry.register_backend(Closing("docs", location=f"place://{number}"))
        except BackendAlreadyRegisteredError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(register, range(8))) == 1


def test_everything_but_io_works_while_a_storage_is_not_registered() -> None:
    row = {"filename": "a.txt", "to_filename": "k", "backend": "gone", "size": 1}
    file, same = (FileObject._from_row(row, ("gone",)) for _ in range(2))
    assert file == same
    assert hash(file) == hash(same)
    assert "gone:k" in repr(file)
    assert file.to_dict()["backend"] == "gone"
    with pytest.raises(BackendNotRegisteredError):
        file.get_content()


def test_a_repr_of_a_backend_has_no_credentials() -> None:
    backend = ObstoreBackend(
        "s3",
        "s3://bucket/p/",
        aws_access_key_id="AKIAFAKE",
        aws_secret_access_key="s3cr3t",
        aws_region="eu-west-1",
    )
    assert "s3://bucket/p" in repr(backend)
    assert "s3cr3t" not in repr(backend) + backend.location
    assert "AKIAFAKE" not in repr(backend) + backend.location
