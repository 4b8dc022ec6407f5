"""A check names each thing that is wrong, and nothing else."""

from __future__ import annotations

import json
import threading

import pytest
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from filecolumn import FileObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State
from filecolumn.maintenance import CheckReport, FindingKind, RowReference, check
from tests.maintenance.models import Base, Document, Item
from tests.maintenance.world import TABLE, World, keys, lay

K = FindingKind


def found(report: CheckReport) -> list[tuple[FindingKind, str | None, object]]:
    return sorted(
        ((f.kind, f.key, None if f.row is None else f.row.primary_key) for f in report.findings),
        key=repr,
    )


async def check_now(world: World, **options: object) -> CheckReport:
    report: CheckReport = await world.maintain("check", grace=-5, **options)
    return report


async def test_a_database_and_its_storages_that_agree(world: World) -> None:
    world.add(b"one", b"two")
    with Session(world.engine) as session:
        pages = [FileObject("p.txt", content=b"%d" % number) for number in range(3)]
        session.add(Document(id=3, pages=pages))
        session.add(Item(region="a", number=1, file=FileObject("i.txt", content=b"item")))
        session.commit()
        session.delete(session.get_one(Document, 1))
        session.commit()
    report = await check_now(world, verify=True)
    assert report.is_clean
    assert report.findings == []
    assert (report.files, report.entries, report.objects) == (5, 6, 5)


async def test_an_object_that_is_not_there_is_missing(world: World, storage: StorageBackend) -> None:
    _, lost = world.add(b"one", b"two")
    storage.delete([lost])
    report = await check_now(world)
    assert found(report) == [(K.MISSING, lost, (2,))]
    [finding] = report.findings
    assert (finding.storage, finding.row) == ("docs", RowReference("documents", "file", (2,)))
    assert not report.is_clean


async def test_a_page_of_a_list_that_is_not_there_is_missing(world: World, storage: StorageBackend) -> None:
    with Session(world.engine) as session:
        document = Document(id=1, pages=[FileObject("p.txt", content=body) for body in (b"1", b"2")])
        session.add(document)
        session.commit()
        lost = document.pages[1].path
    storage.delete([lost])
    assert found(await check_now(world)) == [(K.MISSING, lost, (1,))]


async def test_an_object_of_another_size_is_corrupt(world: World, storage: StorageBackend) -> None:
    [key] = world.add(b"one")
    storage.put(key, [b"longer"], mode="overwrite")
    report = await check_now(world)
    assert found(report) == [(K.CORRUPT, key, (1,))]
    assert "6 bytes, the row says 3" in report.findings[0].detail


async def test_other_content_of_the_same_size_is_found_by_its_hash(
    world: World, storage: StorageBackend
) -> None:
    [key, _] = world.add(b"one", b"two")
    storage.put(key, [b"eno"], mode="overwrite")
    assert (await check_now(world)).is_clean
    assert found(await check_now(world, verify=True)) == [(K.CORRUPT, key, (1,))]


async def test_a_row_that_nobody_can_read_is_corrupt(world: World) -> None:
    world.add(b"one")
    world.sql("UPDATE documents SET file = '[1]'")
    report = await check_now(world, repair=True)
    assert found(report)[0] == (K.CORRUPT, None, (1,))
    assert report.counts[K.LEDGER] == 1, "what it held is live and has no row"


async def test_a_key_of_two_rows_and_a_storage_of_another_column_are_foreign(world: World) -> None:
    [key] = world.add(b"one")
    other = storages.register_backend("memory://", key="other")
    other.put("x", [b"x"])
    world.sql("INSERT INTO documents (id, file, pages) SELECT 2, file, '[]' FROM documents")
    row = json.dumps({"filename": "x", "to_filename": "x", "backend": "other", "v": 1})
    world.sql("INSERT INTO documents (id, file, pages) VALUES (3, :row, '[]')", row=row)
    assert found(await check_now(world, storages=["docs"])) == [
        (K.FOREIGN, key, (1,)),
        (K.FOREIGN, key, (2,)),
        (K.FOREIGN, None, (3,)),
    ]


def put_row(world: World, number: int, key: str) -> None:
    """Write a row as advanced-alchemy does."""
    row = json.dumps({"filename": key, "backend": "docs"})
    world.sql("INSERT INTO documents (id, file, pages) VALUES (:id, :row, '[]')", id=number, row=row)


async def test_rows_of_advanced_alchemy_may_share_and_are_recorded_by_a_repair(
    world: World, storage: StorageBackend
) -> None:
    storage.put("a.txt", [b"shared"])
    put_row(world, 1, "a.txt")
    put_row(world, 2, "a.txt")
    report = await check_now(world)
    assert report.is_clean
    assert found(report) == [(K.UNRECORDED, "a.txt", (1,)), (K.UNRECORDED, "a.txt", (2,))]
    await check_now(world, repair=True)
    assert (world.entry("a.txt").state, world.entry("a.txt").checked) == (State.LIVE, False)
    assert (await check_now(world)).findings == []


async def test_an_object_that_nobody_knows_is_an_orphan_and_goes_by_way_of_the_ledger(
    world: World, storage: StorageBackend
) -> None:
    [key] = world.add(b"one")
    lay("lost/a.txt")
    assert (await world.maintain("check")).is_clean, "it is young"
    assert found(await check_now(world)) == [(K.ORPHAN, "lost/a.txt", None)]
    report = await check_now(world, repair=True)
    assert report.repaired == 1
    await world.maintain("drain")
    assert "lost/a.txt" in keys(), (
        "a check deletes nothing itself, and a drain not before the quarantine ends"
    )
    assert (await world.maintain("status")).quarantined == 1
    world.make_due()
    await world.maintain("drain")
    assert keys() == {key}
    assert (await check_now(world)).findings == []


@pytest.mark.usefixtures("recorded_at_once")
async def test_an_object_that_came_back_is_an_orphan(world: World, storage: StorageBackend) -> None:
    [key] = world.add(b"one")
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    lay(key, body=b"late")
    assert found(await check_now(world)) == [(K.ORPHAN, key, None)]
    await check_now(world, repair=True)
    await world.maintain("drain")
    assert keys() == {key}, "it waits"
    world.make_due()
    await world.maintain("drain")
    assert keys() == set()


async def test_an_object_younger_than_the_ledgers_newest_entry_is_reported_and_not_repaired(
    world: World, storage: StorageBackend
) -> None:
    """A restored database knows nothing of what was stored since."""
    [key] = world.add(b"one")
    lay("later/a.txt", age=-60)
    report = await world.maintain("check", grace=-3600, repair=True)
    assert (found(report), report.repaired) == ([(K.ORPHAN, "later/a.txt", None)], 0)
    assert list(world.states()) == [key]


async def test_a_live_key_without_a_row_is_a_mismatch_and_a_repair_only_notes_it(world: World) -> None:
    first, second = world.add(b"one", b"two")
    with world.engine.begin() as connection:
        connection.execute(delete(Document).where(Document.id == 1))
    assert found(await check_now(world)) == [(K.LEDGER, first, None)]
    assert world.entry(first).unreferenced_since is None
    assert (await check_now(world, repair=True)).repaired == 0
    assert world.entry(first).unreferenced_since is not None
    world.make_due()
    await world.maintain("drain")
    assert keys() == {first, second}
    options = {"grace": -5, "quarantine": 0, "unreferenced": True}
    assert (await world.maintain("sweep", **options)).claimed == 1
    await world.maintain("drain")
    assert keys() == {second}
    assert (await check_now(world)).findings == []


@pytest.mark.usefixtures("recorded_at_once")
async def test_in_a_place_with_several_writers_no_orphans_are_reported(
    world: World, storage: StorageBackend
) -> None:
    """They may be another database's."""
    storage.put("theirs.txt", [b"x"])
    [key] = world.add(b"one")
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert (await check_now(world)).findings == []
    lay(key, body=b"late")
    assert found(await check_now(world)) == [(K.ORPHAN, key, None)], "this one was ours"
    assert (await check_now(world, repair=True)).repaired == 0


@pytest.mark.parametrize("state", [State.DOOMED, State.GONE])
async def test_a_row_whose_key_is_doomed_or_gone_is_a_mismatch(world: World, state: State) -> None:
    [key] = world.add(b"one")
    world.set_entries(state=state.value, due_at=2**50)
    assert found(await check_now(world)) == [(K.LEDGER, key, (1,))]
    await check_now(world, repair=True)
    world.make_due()
    await world.maintain("drain")
    assert keys() == {key}
    assert world.states() == {key: State.LIVE}
    assert (await check_now(world)).findings == []


async def test_what_waits_for_a_drain_is_no_fault(world: World, storage: StorageBackend) -> None:
    world.add(b"one")
    with world.engine.begin() as connection:
        connection.execute(delete(Document))
    world.set_entries(state=State.DOOMED.value, due_at=1)
    assert (await check_now(world)).findings == []


def test_rows_without_a_ledger_are_checked_too(database: World, storage: StorageBackend) -> None:
    [key] = database.add(b"one")
    with database.engine.begin() as connection:
        connection.execute(delete(TABLE))
    storage.put("x", [b"x"])
    storage.delete([key])
    report = check(database.engine, Base, grace=-5)
    assert [(f.kind, f.key) for f in report.findings if f.kind is not K.UNRECORDED] == [
        (K.MISSING, key),
        (K.ORPHAN, "x"),
    ]


def test_more_rows_than_a_page_and_keys_of_two_parts(database: World, storage: StorageBackend) -> None:
    database.add(b"one")
    rows = [{"region": region, "number": number} for region in "abc" for number in range(1000)]
    with database.engine.begin() as connection:
        connection.execute(insert(Item), rows)
    database.sql("UPDATE items SET file = (SELECT file FROM documents)")
    report = check(database.engine, Base)
    assert report.files == 3001
    assert report.counts[K.FOREIGN] == 3001
    assert len(report.findings) == 1000


def test_commits_during_a_check_are_no_faults(database: World) -> None:
    """Rows are replaced, added, moved and deleted all the while."""
    database.add(*(b"%d" % number for number in range(20)))
    stop = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        number = 100
        try:
            while not stop.is_set():
                with Session(database.engine) as session:
                    document = session.get_one(Document, 1 + number % 20)
                    document.file = FileObject("b.txt", content=b"new %d" % number)
                    session.add(Document(id=number, file=FileObject("c.txt", content=b"added")))
                    session.commit()
                    session.delete(session.get_one(Document, number))
                    session.commit()
                number += 1
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(8):
            report = check(database.engine, Base, verify=True)
            assert report.findings == []
    finally:
        stop.set()
        thread.join(20)
    assert errors == []
