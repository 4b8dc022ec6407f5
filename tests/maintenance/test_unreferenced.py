"""Live keys that no row refers to: noted, counted by column, and claimed only when that is asked for."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from filecolumn import FileObject, MaintenanceRefusedError, ObjectNotFoundError, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State, now_ms
from filecolumn.maintenance import QUARANTINE, SweepReport, install_triggers
from tests.maintenance.models import Base, Document, Item
from tests.maintenance.world import TABLE, World, keys, lay

DAY_MS = 24 * 3600 * 1000


async def sweep_now(world: World, **options: Any) -> SweepReport:
    report: SweepReport = await world.maintain("sweep", **{"grace": -5, "quarantine": 0, **options})
    return report


def lose_row(world: World, number: int) -> None:
    """Delete a row past the sessions."""
    world.sql("DELETE FROM documents WHERE id = :number", number=number)


def add_pages(world: World, *bodies: bytes, start: int) -> list[str]:
    with Session(world.engine) as session:
        document = Document(id=start, pages=[FileObject("p.txt", content=body) for body in bodies])
        session.add(document)
        session.commit()
        return [page.path for page in document.pages]


async def test_it_is_noted_and_stays(world: World) -> None:
    lost, kept = world.add(b"one", b"two")
    lose_row(world, 1)
    assert (await sweep_now(world, dry_run=True)).unreferenced == 1
    assert world.entry(lost).unreferenced_since is None, "a dry run notes nothing"
    report = await sweep_now(world)
    assert (report.unreferenced, report.claimed, report.left) == (1, 0, 1)
    assert report.by_column == {"documents.file": 1}
    since = world.entry(lost).unreferenced_since
    assert since / 1000 == pytest.approx(time.time(), abs=100)
    assert world.entry(kept).unreferenced_since is None
    for _ in range(2):
        world.make_due()
        await world.maintain("drain")
        await sweep_now(world, force=True)
    assert keys() == {lost, kept}
    assert world.states() == {lost: State.LIVE, kept: State.LIVE}
    assert world.entry(lost).unreferenced_since == since, "it is since the first time"


async def test_a_row_that_refers_to_it_again_takes_the_note_away(world: World) -> None:
    lost, _ = world.add(b"one", b"two")
    world.sql("CREATE TABLE backup AS SELECT * FROM documents")
    lose_row(world, 1)
    await sweep_now(world)
    assert world.entry(lost).unreferenced_since is not None
    world.sql("INSERT INTO documents SELECT * FROM backup WHERE id = 1")
    assert (await sweep_now(world, unreferenced=True)).unreferenced == 0
    assert world.entry(lost).unreferenced_since is None
    assert (await world.maintain("status")).by_column["documents.file"].unreferenced == 0
    assert len(keys()) == 2


async def test_it_waits_for_the_quarantine_after_the_note(world: World) -> None:
    lost, kept = world.add(b"one", b"two")
    lose_row(world, 1)
    report = await sweep_now(world, unreferenced=True, quarantine=QUARANTINE)
    assert (report.unreferenced, report.claimed) == (1, 0)
    world.sql("UPDATE filecolumn_ledger SET unreferenced_since = unreferenced_since - :age", age=6 * DAY_MS)
    assert (await sweep_now(world, unreferenced=True, quarantine=QUARANTINE)).claimed == 0
    world.sql("UPDATE filecolumn_ledger SET unreferenced_since = unreferenced_since - :age", age=DAY_MS)
    report = await sweep_now(world, unreferenced=True, quarantine=QUARANTINE)
    assert (report.claimed, report.left) == (1, 0)
    assert world.states() == {lost: State.DOOMED, kept: State.LIVE}
    assert (await world.maintain("drain")).deleted == 1
    assert keys() == {kept}


async def test_status_counts_keys_and_bytes_by_column(world: World) -> None:
    world.add(b"one", b"four")
    add_pages(world, b"12345", b"123456", start=3)
    with Session(world.engine) as session:
        session.add(Item(region="a", number=1, file=FileObject("i.txt", content=b"item")))
        session.commit()
    world.sql("DELETE FROM documents WHERE id IN (2, 3)")
    await sweep_now(world)
    counts = (await world.maintain("status")).by_column
    assert {
        name: (c.live, c.live_bytes, c.unreferenced, c.unreferenced_bytes) for name, c in counts.items()
    } == {
        "documents.file": (2, 7, 1, 4),
        "documents.pages": (2, 11, 2, 11),
        "items.file": (1, 4, 0, 0),
    }
    since = counts["documents.pages"].unreferenced_since
    assert since is not None
    assert since == pytest.approx(time.time(), abs=100)
    assert counts["items.file"].unreferenced_since is None
    assert all(count.is_judged for count in counts.values())


async def test_more_than_ten_of_a_column_are_refused(world: World) -> None:
    lost = world.add(*(b"%d" % number for number in range(11)))
    [kept] = world.add(b"kept", start=100)
    pages = add_pages(world, b"p1", b"p2", start=101)
    world.sql("DELETE FROM documents WHERE id <> 100")
    with pytest.raises(
        MaintenanceRefusedError, match=r"11 of the 12 live keys of documents\.file have no row"
    ):
        await sweep_now(world, unreferenced=True)
    assert set(world.states().values()) == {State.LIVE}, "nothing is claimed of any column"
    assert (await sweep_now(world, unreferenced=True, force=True)).claimed == 13
    assert (await world.maintain("drain")).deleted == 13
    assert keys() == {kept}
    assert not {*lost, *pages} & keys()


async def test_ten_of_a_column_are_not_refused(world: World) -> None:
    world.add(*(b"%d" % number for number in range(10)))
    [kept] = world.add(b"kept", start=100)
    world.sql("DELETE FROM documents WHERE id <> 100")
    assert (await sweep_now(world, unreferenced=True)).claimed == 10
    await world.maintain("drain")
    assert keys() == {kept}


async def test_one_in_a_hundred_of_a_large_column_is_not_refused(database: World) -> None:
    [first] = database.add(b"kept")
    held_in = database.entry(first).held_in
    names = [f"x/{number}" for number in range(1099)]
    row = {"filename": "a.txt", "backend": "docs", "size": 1, "v": 1}
    entry = {"backend": "docs", "state": State.LIVE.value, "checked": True, "attempts": 0, "held_in": held_in}
    with database.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO documents (id, file, pages) VALUES (:id, :row, '[]')"),
            [
                {"id": number, "row": json.dumps({**row, "to_filename": name})}
                for number, name in enumerate(names, 2)
            ],
        )
        connection.execute(
            insert(TABLE).values(created_at=now_ms()), [{**entry, "key": name} for name in names]
        )
    database.sql("DELETE FROM documents WHERE id > 1089")
    with pytest.raises(MaintenanceRefusedError, match="12 of the 1100 live keys"):
        database.sql("DELETE FROM documents WHERE id = 1089")
        await sweep_now(database, unreferenced=True)
    database.sql(
        "INSERT INTO documents (id, file, pages) VALUES (1089, :row, '[]')",
        row=json.dumps({**row, "to_filename": names[1087]}),
    )
    assert (await sweep_now(database, unreferenced=True)).claimed == 11


async def test_an_empty_table_is_refused(world: World) -> None:
    """Its data may still be on its way, as in a restore of one table after the other."""
    [key] = world.add(b"one")
    lose_row(world, 1)
    with pytest.raises(MaintenanceRefusedError, match=r"documents\.file has no rows.*1 live keys"):
        await sweep_now(world, unreferenced=True)
    assert world.states() == {key: State.LIVE}
    assert (await sweep_now(world, unreferenced=True, force=True)).claimed == 1
    await world.maintain("drain")
    assert keys() == set()


async def test_a_row_that_comes_back_before_the_drain_keeps_its_file(world: World) -> None:
    lost, _ = world.add(b"one", b"two")
    world.sql("CREATE TABLE backup AS SELECT * FROM documents")
    lose_row(world, 1)
    assert (await sweep_now(world, unreferenced=True)).claimed == 1
    world.sql("INSERT INTO documents SELECT * FROM backup WHERE id = 1")
    report = await world.maintain("drain")
    assert (report.deleted, report.restored) == (0, 1)
    assert world.states()[lost] is State.LIVE
    assert world.entry(lost).unreferenced_since is None
    assert lost in keys()


async def test_it_is_claimed_in_a_place_of_several_writers_too(world: World) -> None:
    """The ledger knows that it was its own."""
    lay("theirs.txt")
    _, kept = world.add(b"one", b"two")
    lose_row(world, 1)
    assert (await sweep_now(world, unreferenced=True)).claimed == 1
    await world.maintain("drain")
    assert keys() == {"theirs.txt", kept}


async def test_with_triggers_nothing_is_unreferenced(database: World) -> None:
    first, second = database.add(b"one", b"two")
    install_triggers(database.engine, Base)
    lose_row(database, 1)
    assert database.states() == {first: State.DOOMED, second: State.LIVE}
    assert (await sweep_now(database)).unreferenced == 0


async def test_sweep_when_due_claims_them_only_if_asked(world: World) -> None:
    lost, kept = world.add(b"one", b"two")
    lose_row(world, 1)
    report = await world.maintain("sweep_when_due")
    assert (report.unreferenced, report.claimed) == (1, 0)
    assert await world.maintain("sweep_when_due") is None, "once a day"
    world.set_entries(unreferenced_since=1)
    world.sql("UPDATE filecolumn_meta SET value = '0' WHERE name = 'swept'")
    report = await world.maintain("sweep_when_due", unreferenced=True)
    assert report.claimed == 1
    assert world.states() == {lost: State.DOOMED, kept: State.LIVE}


# Undelete


async def test_what_waits_can_be_taken_back(world: World) -> None:
    lost, _ = world.add(b"one", b"two")
    lose_row(world, 1)
    await sweep_now(world, unreferenced=True)
    assert world.states()[lost] is State.DOOMED
    assert await world.maintain("undelete", key=lost) == "docs"
    entry = world.entry(lost)
    assert (entry.state, entry.due_at, entry.unreferenced_since) == (State.LIVE, None, None)
    assert (await world.maintain("drain")).deleted == 0
    assert lost in keys()


async def test_an_orphan_in_quarantine_can_be_taken_back(world: World, storage: StorageBackend) -> None:
    world.add(b"one")
    lay("lost/a.txt")
    await sweep_now(world, quarantine=QUARANTINE)
    assert await world.maintain("undelete", key="lost/a.txt", storage="docs") == "docs"
    world.make_due()
    await world.maintain("drain")
    assert "lost/a.txt" in keys()
    assert (await world.maintain("status")).quarantined == 0


async def test_what_does_not_wait_or_is_gone_cannot_be_taken_back(
    world: World, storage: StorageBackend
) -> None:
    live, lost = world.add(b"one", b"two")
    for key in (live, "unknown"):
        with pytest.raises(ObjectNotFoundError, match="is not waiting to be deleted"):
            await world.maintain("undelete", key=key)
    lose_row(world, 2)
    await sweep_now(world, unreferenced=True)
    storage.delete([lost])
    with pytest.raises(ObjectNotFoundError):
        await world.maintain("undelete", key=lost)
    assert world.states()[lost] is State.DOOMED


async def test_a_key_that_waits_in_two_storages_needs_the_name_of_one(world: World) -> None:
    storages.register_backend("memory://", key="other")
    [key] = world.add(b"one")
    world.set_entries(state=State.DOOMED.value, due_at=2**50)
    entry = {"state": State.DOOMED.value, "checked": False, "attempts": 0}
    with world.engine.begin() as connection:
        connection.execute(
            insert(TABLE).values(backend="other", key=key, created_at=now_ms(), due_at=2**50, **entry)
        )
    with pytest.raises(MaintenanceRefusedError, match="is waiting to be deleted in docs, other"):
        await world.maintain("undelete", key=key)
    assert await world.maintain("undelete", key=key, storage="docs") == "docs"
