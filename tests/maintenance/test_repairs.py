"""A check repairs page by page: hundreds of findings in one transaction, each told as repaired if it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import Engine, bindparam, event, text, update

from filecolumn import storages
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.ledger.table import State
from filecolumn.maintenance import CheckReport, Finding, FindingKind
from filecolumn.testing import WrappedBackend
from tests.maintenance.test_drain import doom
from tests.maintenance.world import TABLE, World, make_old

MANY = 2_000
K = FindingKind


def lay_many(storage: StorageBackend, *names: str) -> None:
    """Leave old objects in a folder, quickly."""
    folder = Path(storage.location.removeprefix("file://"))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    make_old(*names, backend=storage.key)


def put_rows(world: World, *names: str) -> None:
    """Write rows that no ledger knows, as another program does."""
    files = [
        {"filename": "a.txt", "to_filename": name, "backend": "docs", "size": 1, "v": 1} for name in names
    ]
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO documents (id, file, pages) VALUES (:id, :file, '[]')"),
            [{"id": number, "file": json.dumps(file)} for number, file in enumerate(files, 100)],
        )


def names(folder: str, number: int) -> list[str]:
    return [f"{folder}/{each:04}" for each in range(number)]


@contextmanager
def commits(engine: Engine) -> Iterator[list[None]]:
    """Give one item for each transaction that is committed."""
    counted: list[None] = []

    def count(*_: object) -> None:
        counted.append(None)

    event.listen(engine, "commit", count)
    try:
        yield counted
    finally:
        event.remove(engine, "commit", count)


async def repaired(world: World, **options: Any) -> CheckReport:
    report: CheckReport = await world.maintain("check", grace=-5, repair=True, **options)
    return report


async def test_a_repair_of_thousands_is_a_few_transactions(world: World, storage: StorageBackend) -> None:
    orphans, unrecorded = names("x", MANY), names("row", MANY)
    [known] = world.add(b"one")
    lay_many(storage, *orphans, *unrecorded)
    put_rows(world, *unrecorded)
    told: list[Finding] = []
    with commits(world.engine) as counted:
        report = await repaired(world, on_finding=told.append)
    assert (report.counts[K.ORPHAN], report.counts[K.UNRECORDED]) == (MANY, MANY)
    assert (report.repaired, report.faults) == (2 * MANY, MANY)
    assert [finding.repaired for finding in told] == [True] * 2 * MANY
    states = world.states()
    assert {states[key] for key in orphans} == {State.DOOMED}
    assert {states[key] for key in (known, *unrecorded)} == {State.LIVE}
    # without those that the number of findings has nothing to do with
    assert len(counted) <= 30 or world.way == "async"
    assert (await repaired(world)).findings == []


async def test_each_finding_of_a_page_is_told_as_what_became_of_it(
    world: World, storage: StorageBackend
) -> None:
    """Keys that are gone, doomed and unknown, with a row and without, in one page."""
    [first] = world.add(b"one")
    orphans, back, held, dead = ([*names(folder, 3)] for folder in ("orphan", "back", "held", "dead"))
    lay_many(storage, *orphans, *back, *held, *dead)
    doom(world, *back, *held, *dead)
    with world.engine.begin() as connection:
        gone = (
            update(TABLE).values(state=State.GONE.value, due_at=2**50).where(TABLE.c.key == bindparam("of"))
        )
        connection.execute(gone, [{"of": key} for key in (*back, *dead)])
    put_rows(world, *held, *dead, "new/1", "new/1")
    report = await repaired(world)
    wrong = {
        (finding.kind, finding.key)
        for finding in report.findings
        if finding.kind is not K.MISSING and finding.kind is not K.FOREIGN and not finding.repaired
    }
    assert wrong == set()
    assert (report.counts[K.ORPHAN], report.counts[K.LEDGER], report.counts[K.UNRECORDED]) == (6, 6, 2)
    states = world.states()
    assert {key for key in states if states[key] is State.LIVE} == {first, "new/1", *held}
    assert {key for key in states if states[key] is State.DOOMED} == {*orphans, *back, *dead}


async def test_a_key_that_another_has_taken_does_not_hold_up_its_page(
    world: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(b"one")
    lay_many(storage, *names("x", 20))
    taking = WrappedBackend(storages.get("docs"))

    def stat(key: str) -> Stat:
        # when the repair asks how old it is, it was confirmed before
        asked.append(key)
        if asked.count("x/0007") == 2 and "x/0007" not in world.states():
            doom(world, "x/0007")
        return storage.stat(key)

    asked: list[str] = []
    monkeypatch.setattr(taking, "stat", stat)
    with storages.override("docs", taking):
        report = await repaired(world)
    assert [finding.key for finding in report.findings if not finding.repaired] == ["x/0007"]
    assert (report.counts[K.ORPHAN], report.repaired) == (20, 19)


async def test_nothing_is_repaired_in_a_storage_that_is_lost_within_a_page(
    world: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    [known] = world.add(b"one")
    lay_many(storage, *names("x", 20))
    lost = WrappedBackend(storages.get("docs"))

    def stat(key: str) -> Stat:
        if key != "x/0007":
            return storage.stat(key)
        monkeypatch.setattr(lost, "list", fail)
        return fail()

    def fail() -> NoReturn:
        raise OSError("the network is down")

    monkeypatch.setattr(lost, "stat", stat)
    with storages.override("docs", lost):
        report = await repaired(world)
    assert (report.counts[K.UNREACHABLE], report.repaired) == (1, 0)
    assert list(world.states()) == [known]
