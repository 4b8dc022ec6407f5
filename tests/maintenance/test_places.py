"""Whose a place is: its marks, several writers, wrong folders, and what an operator says of them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from filecolumn import (
    BackendMismatchError,
    FileObject,
    MaintenanceRefusedError,
    StorageError,
    storages,
)
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.owner import forget_standings, raise_generation
from filecolumn.ledger.table import State, now_ms
from filecolumn.maintenance import FindingKind, adopt, check, drain, status, sweep
from tests.maintenance.models import Base, Document
from tests.maintenance.world import LEDGER, World, keys, lay, make_old, make_world
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS


def marks(folder: Path) -> dict[str, Any]:
    """Return the marks of a place by their names, without the ids of ledgers."""
    found: dict[str, Any] = {}
    root = folder / ".filecolumn"
    for path in sorted(root.rglob("*")):
        if path.is_file():
            name = path.relative_to(root)
            found["/".join(name.parts[:1] + name.parts[2:])] = json.loads(path.read_bytes())
    return found


def sweep_now(world: World, **options: Any) -> Any:
    return sweep(world.engine, Base, grace=-5, quarantine=0, **options)


def remove(world: World, number: int) -> None:
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, number))
        session.commit()


def facts(world: World) -> dict[str, str]:
    """Return what the database knows about places."""
    assert LEDGER is not None
    with world.engine.connect() as connection:
        found = connection.execute(select(LEDGER.meta.c.name, LEDGER.meta.c.value)).all()
    return {name.removeprefix("place:"): value for name, value in found if name.startswith("place:")}


def move_in(*, folder: Path, replace: bool = True, **options: Any) -> StorageBackend:
    """Let the storage "docs" be another folder."""
    folder.mkdir(exist_ok=True)
    forget_standings()
    return storages.register_backend(f"file://{folder}/", key="docs", replace=replace, fsync=False, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the storage is."""
    return tmp_path / "docs"


@pytest.fixture
def original(tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    with make_world("sqlite", "sync", tmp_path) as made:
        yield made


@pytest.fixture
def second(tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """A database of its own, for the same storage."""
    (tmp_path / "second").mkdir()
    with make_world("sqlite", "sync", tmp_path / "second") as made:
        yield made


# Marks


async def test_the_first_file_marks_the_place(world: World, folder: Path) -> None:
    world.add(b"one")
    found = marks(folder)
    assert set(found) == {"place", "owner", "writers/seen"}
    assert facts(world) == {"docs": found["place"]["id"]}
    assert (found["place"]["empty"], found["place"]["by"]) == (True, found["owner"]["database"])
    await world.maintain("sweep")
    assert set(marks(folder)) == {"place", "owner", "writers/seen", "writers/1"}
    await world.maintain("sweep")
    assert "writers/2" in marks(folder)


async def test_a_file_that_was_saved_before_the_first_flush_did_not_lie_there_before(
    world: World, folder: Path
) -> None:
    staged = FileObject("a.txt", content=b"staged", backend="docs")
    if world.way == "sync":
        staged.save()
    else:
        await staged.save_async()
    world.add(b"one")
    assert marks(folder)["place"]["empty"] is True
    assert (await world.maintain("status")).places == {}


def test_the_first_removal_of_a_day_raises_the_generation(original: World, folder: Path) -> None:
    original.add(b"one", b"two")
    remove(original, 1)
    assert "writers/1" in marks(folder)
    forget_standings()
    remove(original, 2)
    assert "writers/2" not in marks(folder), "once a day"


@pytest.mark.parametrize("database", on_servers(SERVERS), indirect=True)
def test_processes_that_raise_the_generation_at_once_never_set_it_back(database: World, folder: Path) -> None:
    """One that is set back is behind its marks, and looks restored."""
    database.add(b"one")

    def raise_it(_: int) -> None:
        engine = create_engine(database.url())
        assert LEDGER is not None
        raise_generation(engine, LEDGER, storages.all())
        engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(raise_it, range(40)))
    assert "writers/40" in marks(folder)
    assert status(database.engine, Base).places == {}


def test_marks_are_written_though_the_first_transaction_rolls_back(original: World, folder: Path) -> None:
    with Session(original.engine) as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"one")))
        session.flush()
        session.rollback()
    assert facts(original) == {"docs": marks(folder)["place"]["id"]}
    original.add(b"one")
    assert len(keys()) == 1
    assert sweep_now(original).withheld == {}


def test_marks_and_facts_agree_though_a_transaction_that_registered_rolls_back(
    original: World, folder: Path
) -> None:
    """The session has read before its first file, so the facts are in its own transaction."""
    with Session(original.engine) as session:
        session.scalars(select(Document)).all()
        session.add(Document(id=1, file=FileObject("a.txt", content=b"one")))
        session.flush()
        session.rollback()
    original.add(b"one")
    assert facts(original) == {"docs": marks(folder)["place"]["id"]}
    assert sweep_now(original).withheld == {}


async def test_a_mark_that_was_lost_is_written_again(
    world: World, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [key] = world.add(b"one")
    place = marks(folder)["place"]["id"]
    shutil.rmtree(folder / ".filecolumn")
    forget_standings()
    world.add(b"two", start=2)
    assert marks(folder)["place"] == {"id": place, "by": marks(folder)["place"]["by"], "empty": False}
    assert "lost its mark" in caplog.text
    remove(world, 1)
    assert key not in keys(), "what is the ledger's own is removed"
    lay("lost/a.txt")
    report = await world.maintain("sweep", grace=-5, quarantine=0)
    assert (report.claimed, list(report.withheld)) == (0, ["docs"]), "others may have stored meanwhile"
    await world.maintain("adopt", sole=True)
    assert (await world.maintain("sweep", grace=-5, quarantine=0)).claimed == 1


# Several writers


def a_month_passes(folder: Path) -> None:
    """Let all that marks say of times be 31 days ago, and processes begin anew."""
    month = 31 * 24 * 3600
    for path in (folder / ".filecolumn").rglob("*"):
        if path.name in {"shared", "seen"}:
            content = json.loads(path.read_bytes())
            if "at" in content:
                content["at"] -= month
            for name in content.get("writers", {}):
                content["writers"][name] -= month
            path.write_text(json.dumps(content))
    forget_standings()


def test_a_second_database_makes_a_place_mixed(original: World, second: World, folder: Path) -> None:
    first = original.add(b"one", b"two")
    theirs = second.add(b"three")
    assert list(marks(folder)["shared"]["writers"]) == [
        path.name
        for path in (folder / ".filecolumn" / "writers").iterdir()
        if path.name != marks(folder)["place"]["by"]
    ]
    lay("lost/a.txt")
    for world, others in ((original, theirs), (second, first)):
        report = sweep_now(world, force=True)
        assert (report.found, report.claimed, list(report.withheld)) == (0, 0, ["docs"])
        assert list(status(world.engine, Base).places) == ["docs"]
        assert check(world.engine, Base, grace=-5).findings == []
        assert set(others) <= keys()
    remove(original, 1)
    remove(second, 1)
    assert keys() == {first[1], "lost/a.txt"}, "each removes what is its own"


def test_an_orphan_that_was_claimed_before_another_database_came_is_left(
    original: World, second: World
) -> None:
    original.add(b"one")
    lay("lost/a.txt")
    assert sweep_now(original).claimed == 1
    second.add(b"two")
    report = drain(original.engine, Base)
    assert (report.deleted, report.withheld) == (0, 1)
    assert "no row ever had it, and several databases store" in next(iter(report.reasons))
    assert "lost/a.txt" in keys()


def test_adopt_sole_is_refused_while_another_database_was_seen(
    original: World, second: World, folder: Path
) -> None:
    original.add(b"one")
    second.add(b"two")
    for world in (original, second):
        with pytest.raises(MaintenanceRefusedError, match=r"1 other database.* store in 'docs'"):
            adopt(world.engine, Base, sole=True)
    a_month_passes(folder)
    assert adopt(original.engine, Base, sole=True) == ["docs"]
    lay("lost/a.txt")
    assert sweep_now(original, dry_run=True).orphans >= 1


def test_adopt_sole_is_refused_while_another_database_stores(
    original: World, second: World, folder: Path
) -> None:
    """It came a month ago, and has stored today."""
    original.add(b"one")
    second.add(b"two")
    a_month_passes(folder)
    second.add(b"three", start=2)
    with pytest.raises(MaintenanceRefusedError, match="1 other database"):
        adopt(original.engine, Base, sole=True)


def test_a_database_that_comes_back_makes_the_place_mixed_again(
    original: World, second: World, folder: Path
) -> None:
    original.add(b"one")
    second.add(b"two")
    a_month_passes(folder)
    adopt(original.engine, Base, sole=True)
    second.add(b"three", start=2)
    assert list(sweep_now(original).withheld) == ["docs"]


# Another place under the same name


async def test_an_empty_folder_stores_nothing_and_is_one_finding(world: World, tmp_path: Path) -> None:
    old = world.add(b"one", b"two")
    move_in(folder=tmp_path / "empty")
    with pytest.raises(BackendMismatchError, match=r"adopt --moved.*adopt --new-place.*new_place=True"):
        world.add(b"three", start=3)
    assert keys() == set()
    assert not (tmp_path / "empty" / ".filecolumn" / "place").exists()
    report = await world.maintain("check", grace=-5)
    [finding] = report.findings
    assert (finding.kind, finding.storage) == (FindingKind.PLACE, "docs")
    assert "is not the storage that this database knows" in finding.detail
    assert set(world.states()) == set(old)


async def test_in_another_place_rows_are_deleted_and_no_object_is(
    world: World, storage: StorageBackend, tmp_path: Path
) -> None:
    first, _ = world.add(b"one", b"two")
    other = move_in(folder=tmp_path / "other")
    other.put(first, [b"another database's"])
    remove(world, 1)
    assert world.states()[first] is State.DOOMED
    world.make_due()
    report = await world.maintain("drain")
    assert (report.deleted, report.withheld) == (0, 1)
    assert keys() == {first}
    assert (await world.maintain("status")).withheld
    # the right volume is mounted again
    storages.register_backend(storage, replace=True)
    forget_standings()
    world.make_due()
    assert (await world.maintain("drain")).deleted == 1
    assert first not in keys()


async def test_the_place_of_another_database_stores_nothing(
    world: World, second: World, tmp_path: Path
) -> None:
    move_in(folder=tmp_path / "other")
    [theirs] = second.add(b"theirs")
    move_in(folder=tmp_path / "docs")
    world.add(b"one")
    move_in(folder=tmp_path / "other")
    with pytest.raises(BackendMismatchError, match="is another place than the one"):
        world.add(b"two", start=2)
    assert [f.kind for f in (await world.maintain("check", grace=-5)).findings] == [FindingKind.PLACE]
    assert keys() == {theirs}


def test_new_place_lets_a_test_use_one_database_with_many_folders(original: World, tmp_path: Path) -> None:
    [old] = original.add(b"one")
    for number in (2, 3):
        move_in(folder=tmp_path / f"new{number}", new_place=True)
        [key] = original.add(b"new", start=number)
        assert keys() == {key}
        remove(original, number)
        assert keys() == set()
    assert original.states()[old] is State.LIVE
    assert (tmp_path / "docs" / old).exists()


def test_a_folder_without_live_keys_is_taken(original: World, tmp_path: Path) -> None:
    """A developer deletes the folder, and all rows."""
    original.add(b"one")
    remove(original, 1)
    shutil.rmtree(tmp_path / "docs")
    move_in(folder=tmp_path / "docs")
    [key] = original.add(b"two")
    assert keys() == {key}
    remove(original, 1)
    assert keys() == set()


def test_a_database_that_was_deleted_and_the_folder_kept(original: World, second: World) -> None:
    """Its files stay, as nobody knows what they are."""
    [old] = original.add(b"one")
    second.add(b"two")
    remove(second, 1)
    assert keys() == {old}
    assert sweep_now(second).claimed == 0


def test_adopt_moved_says_that_the_content_was_copied(original: World, tmp_path: Path) -> None:
    first, kept = original.add(b"one", b"two")
    shutil.copytree(tmp_path / "docs", tmp_path / "moved", ignore=shutil.ignore_patterns(".filecolumn"))
    for name in (first, kept):
        (tmp_path / "moved" / name).write_bytes(b"as another tool wrote it")
    move_in(folder=tmp_path / "moved")
    with pytest.raises(MaintenanceRefusedError, match="is not the storage that this database knows"):
        adopt(original.engine, Base)
    assert adopt(original.engine, Base, moved=True) == ["docs"]
    remove(original, 1)
    assert keys() == {kept}
    original.add(b"three", start=3)
    assert len(keys()) == 2


def test_adopt_new_place_starts_anew(original: World, tmp_path: Path) -> None:
    [old] = original.add(b"one")
    move_in(folder=tmp_path / "fresh")
    with pytest.raises(BackendMismatchError):
        original.add(b"two", start=2)
    assert adopt(original.engine, Base, new_place=True) == ["docs"]
    original.add(b"two", start=2)
    remove(original, 2)
    assert keys() == set()
    assert (tmp_path / "docs" / old).exists()
    lay("lost/a.txt")
    assert sweep_now(original).orphans == 1


# Places that cannot be marked, and places under several names


class ReadOnly:
    """What a storage does that cannot be marked, as its user may write into a prefix only."""

    def __init__(self, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch) -> None:
        put, put_async = type(storage).put, type(storage).put_async

        def refuse(key: str) -> None:
            if key.startswith(".filecolumn/"):
                raise StorageError("403")

        def put_(backend: StorageBackend, key: str, *args: Any, **options: Any) -> Any:
            refuse(key)
            return put(backend, key, *args, **options)

        async def put_async_(backend: StorageBackend, key: str, *args: Any, **options: Any) -> Any:
            refuse(key)
            return await put_async(backend, key, *args, **options)

        monkeypatch.setattr(type(storage), "put", put_)
        monkeypatch.setattr(type(storage), "put_async", put_async_)


@pytest.mark.usefixtures("recorded_at_once")
async def test_a_place_that_cannot_be_marked_is_usable(
    world: World, storage: StorageBackend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ReadOnly(storage, monkeypatch)
    first, kept = world.add(b"one", b"two")
    assert marks(folder) == {}
    assert facts(world) == {}
    remove(world, 1)
    assert keys() == {kept}, "the ledger's own keys are removed"
    lay("lost/a.txt")
    report = await world.maintain("sweep", grace=-5, quarantine=0)
    assert (report.claimed, "has no mark" in report.withheld["docs"]) == (0, True)
    assert "has no mark" in (await world.maintain("status")).places["docs"]
    assert (await world.maintain("check", grace=-5)).findings == []
    assert world.states()[first] is State.GONE


def test_a_storage_under_two_names_is_one_place(original: World, tmp_path: Path) -> None:
    """A file of the one is the other's too, under the first name in the ledger."""
    storages.register_backend(f"file://{tmp_path}/docs/", key="docs2", fsync=False)
    [key] = original.add(b"one")
    (tmp_path / "link").symlink_to(tmp_path / "docs")
    storages.register_backend(f"file://{tmp_path}/link/", key="linked", fsync=False)
    sweep_now(original)
    report = sweep_now(original)
    assert (report.listed, report.found) == (1, 0), "one listing"
    assert set(facts(original).values()) == {facts(original)["docs"]}
    assert check(original.engine, Base, grace=-5).findings == []
    remove(original, 1)
    assert keys() == set()
    assert original.entry(key).backend == "docs"


def test_a_renamed_storage_keeps_its_first_name(original: World, tmp_path: Path) -> None:
    [key] = original.add(b"one")
    storages.unregister_backend("docs")
    storages.register_backend(f"file://{tmp_path}/docs/", key="files", fsync=False)
    forget_standings()
    report = sweep_now(original)
    assert report.claimed == 0
    assert keys("files") == {key}
    original.set_entries(state=State.DOOMED.value, due_at=1)
    original.sql("DELETE FROM documents")
    assert drain(original.engine, Base).deleted == 1
    assert keys("files") == set()


def test_a_folder_that_was_copied_with_its_marks_gets_no_removal(
    original: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [key] = original.add(b"one")
    shutil.copytree(tmp_path / "docs", tmp_path / "copy")
    storages.register_backend(f"file://{tmp_path}/copy/", key="copy", fsync=False)
    (tmp_path / "copy" / "lost.txt").write_bytes(b"x")
    make_old("lost.txt", backend="copy")
    with caplog.at_level(logging.WARNING):
        report = sweep_now(original)
    assert report.claimed == 0
    assert "it was copied with its marks" in report.withheld["copy"]
    assert "adopt --new-place" in report.withheld["copy"]
    remove(original, 1)
    assert (keys(), keys("copy")) == (set(), {key, "lost.txt"})
    assert not list((tmp_path / "copy" / ".filecolumn").glob("probe*")), "no scratch object is left"


def test_a_nested_place_is_left_alone_by_the_outer_ones_sweep(
    original: World, second: World, tmp_path: Path
) -> None:
    original.add(b"one")
    move_in(folder=tmp_path / "docs" / "inner")
    [inner] = second.add(b"theirs")
    make_old(inner)
    move_in(folder=tmp_path / "docs")
    lay("lost/a.txt")
    report = sweep_now(original)
    assert (report.orphans, report.claimed) == (1, 1)
    assert set(original.states()) == {
        "lost/a.txt",
        *(key for key in keys() if not key.startswith(("inner", "lost"))),
    }
    assert drain(original.engine, Base).deleted == 1
    assert f"inner/{inner}" in keys()


def test_a_nested_place_is_left_alone_by_a_drain(original: World, second: World, tmp_path: Path) -> None:
    """The folder was given to another database while what was claimed in it waited."""
    original.add(b"one")
    lay("inner/lost.txt", "outer/lost.txt")
    assert sweep_now(original).claimed == 2
    move_in(folder=tmp_path / "docs" / "inner")
    second.add(b"theirs")
    move_in(folder=tmp_path / "docs")
    report = drain(original.engine, Base)
    assert (report.deleted, report.withheld) == (1, 1)
    assert list(report.reasons) == ["it lies in a folder that is a place of its own"]
    assert "inner/lost.txt" in keys()


# Databases in memory, and storages that are


def test_a_database_in_memory_leaves_no_marks_and_removes_what_it_stored(
    storage: StorageBackend, folder: Path
) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Document(id=1, file=FileObject("a.txt", content=b"one")))
        session.commit()
        lay("lost/a.txt")
        assert sweep(engine, Base, grace=-5, quarantine=0).claimed == 0
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert keys() == {"lost/a.txt"}
    assert marks(folder) == {}
    engine.dispose()


def test_a_storage_in_memory_has_no_place(tmp_path: Path) -> None:
    storages.register_backend("memory://", key="docs")
    with make_world("sqlite", "sync", tmp_path) as world:
        world.add(b"one")
        storages.get("docs").put("lost/a.txt", [b"x"])
        world.add(b"two", start=2)
        world.set_entries(created_at=now_ms() + 1000)  # the clocks may differ by a moment
        assert sweep_now(world).claimed == 1
        assert drain(world.engine, Base).deleted == 1
        assert (len(keys()), facts(world)) == (2, {})
        # of two databases each may have stored it
        (tmp_path / "second").mkdir()
        with make_world("sqlite", "sync", tmp_path / "second") as other:
            other.add(b"three")
            assert list(sweep_now(world).withheld) == ["docs"]
