"""A run whose time is over ends with what it has done, and the next one goes on there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, storages
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.ledger.table import State, ledger_of
from filecolumn.maintenance import CheckReport, Finding, FindingKind, SweepReport, check
from filecolumn.naming import RESERVED_FOLDER
from filecolumn.testing import WrappedBackend
from tests.maintenance.models import Base
from tests.maintenance.test_drain import doom
from tests.maintenance.test_repairs import lay_many, names, put_rows
from tests.maintenance.world import LEDGER, TABLE, World, keys, make_world

SHORT = 1e-9
"""Seconds: a run does as little as it may."""
MANY = 3_500
K = FindingKind


class InOrder(WrappedBackend):
    """A folder that lists its keys in order, as a bucket does."""

    def __init__(self, backend: StorageBackend, *, in_order: bool = True) -> None:
        super().__init__(backend)
        self.capabilities = replace(backend.capabilities, lists_in_order=in_order)
        self.listed: list[str] = []
        self.read: list[str] = []
        self.cleared = 0

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[Stat]:
        for stat in sorted(self.backend.list(prefix), key=lambda stat: stat.key):
            if after is None or stat.key > after:
                self.listed.append(stat.key)
                yield stat

    def get(self, key: str) -> Iterator[bytes]:
        if not key.startswith(RESERVED_FOLDER):
            self.read.append(key)
        return self.backend.get(key)

    def list_unfinished(self) -> Iterator[Stat]:
        self.cleared += 1
        return self.backend.list_unfinished()

    def take_listed(self) -> list[str]:
        """Return the keys that were listed since the last call."""
        listed, self.listed = self.listed, []
        return listed


@pytest.fixture
def ordered(storage: StorageBackend) -> Iterator[InOrder]:
    """The storage "docs", as one that lists in order."""
    backend = InOrder(storage)
    with storages.override("docs", backend):
        yield backend


def positions(world: World) -> dict[str, str]:
    """Return what the database has noted for the next runs."""
    columns = LEDGER.meta.c
    with world.engine.connect() as connection:
        return {
            name: value
            for name, value in connection.execute(select(columns.name, columns.value))
            if name.startswith("position:")
        }


async def runs(world: World, what: str, **options: Any) -> list[Any]:
    """Run until one comes to the end, ten times at most, and return the reports."""
    reports: list[Any] = []
    while not reports or not reports[-1].is_complete:
        assert len(reports) < 10
        reports.append(await world.maintain(what, **{"max_seconds": SHORT, **options}))
    return reports


def complete(reports: list[Any]) -> list[bool]:
    return [report.is_complete for report in reports]


# A drain


async def test_drains_with_little_time_finish_a_backlog(world: World, storage: StorageBackend) -> None:
    [kept] = world.add(b"one")
    world.set_entries(state=State.DOOMED.value, checked=False, due_at=1)
    doom(world, *names("x", 249), checked=False)
    reports = [await world.maintain("drain", max_seconds=SHORT) for _ in range(4)]
    done = [report.deleted + report.restored for report in reports]
    assert done == [100, 100, 50, 0]
    assert [report.left for report in reports] == [150, 50, 0, 0]
    assert world.states() == {kept: State.LIVE} | dict.fromkeys(names("x", 249), State.GONE)


async def test_a_drain_with_enough_time_leaves_nothing(world: World, storage: StorageBackend) -> None:
    doom(world, *names("x", 250))
    report = await world.maintain("drain", max_seconds=3600)
    assert (report.deleted, report.left) == (250, 0)


# A sweep


async def test_sweeps_with_little_time_claim_each_orphan_once(world: World, ordered: InOrder) -> None:
    [kept] = world.add(b"one")
    known, orphans = names("a", MANY - 41), [f"a/{number:04}-orphan" for number in range(50, 3_300, 82)]
    lay_many(ordered, *known, *orphans)
    put_rows(world, *known)
    reports = await runs(world, "sweep", grace=0)
    assert complete(reports) == [False, False, False, True]
    assert len(orphans) == sum(report.claimed for report in reports) == 40
    assert all(report.claimed for report in reports)
    assert [report.listed for report in reports] == [1000, 1000, 1000, 500]
    assert Counter(ordered.take_listed()) == Counter([kept, *known, *orphans])
    assert world.states() == {kept: State.LIVE} | dict.fromkeys(orphans, State.DOOMED)
    assert positions(world) == {}
    assert ordered.cleared == 1, "what uploads left is cleared at the end only"


async def test_a_sweep_notes_where_it_ended_and_one_without_a_limit_begins_anew(
    world: World, ordered: InOrder
) -> None:
    world.add(b"one")
    lay_many(ordered, *names("x", 1_050))
    put_rows(world, *names("x", 1_050))
    options = {"grace": 0, "max_seconds": SHORT}
    assert not (await world.maintain("sweep", **options)).is_complete
    noted = positions(world)
    [last] = noted.values()
    assert last == sorted(keys())[999]
    dry: SweepReport = await world.maintain("sweep", dry_run=True, **options)
    assert (dry.is_complete, dry.listed, positions(world)) == (True, 51, noted)
    whole: SweepReport = await world.maintain("sweep", grace=0)
    assert (whole.is_complete, whole.listed, positions(world)) == (True, 1_051, {})
    dry = await world.maintain("sweep", dry_run=True, **options)
    assert (dry.is_complete, dry.listed, positions(world)) == (False, 1_000, {})


class Both(DeclarativeBase):
    """Base of a model with files in two storages."""


class Pair(Both):
    """Two files, each in a storage of its own."""

    __tablename__ = "pairs"

    id: Mapped[int] = mapped_column(primary_key=True)
    one: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"))
    two: Mapped[FileObject | None] = mapped_column(StoredObject(backend="zoo"))


@pytest.fixture
def pair(world: World, ordered: InOrder, tmp_path: Path) -> Iterator[tuple[InOrder, InOrder]]:
    """Two storages that list in order, "docs" and "zoo", each with a file of a row."""
    storages.register_backend(f"file://{tmp_path}/zoo", key="zoo")
    with storages.override("zoo", InOrder(storages.get("zoo"))) as zoo:
        assert isinstance(zoo, InOrder)
        Both.metadata.create_all(world.engine, tables=[Pair.__table__])  # type: ignore[list-item]
        with Session(world.engine) as session:
            session.add(Pair(id=1, one=FileObject("a", content=b"1"), two=FileObject("a", content=b"2")))
            session.commit()
        yield ordered, zoo


async def test_storages_are_swept_in_turn_and_the_unfinished_one_first(
    world: World, pair: tuple[InOrder, InOrder]
) -> None:
    docs, zoo = pair
    lay_many(docs, *names("x", 1_500))
    lay_many(zoo, *names("y", 1_500))
    reports: list[SweepReport] = []
    listed: list[tuple[int, int]] = []
    while not reports or not reports[-1].is_complete:
        options = {"grace": 0, "force": True, "max_seconds": SHORT}
        reports.append(await world.maintain("sweep", Both, **options))
        listed.append((len(docs.take_listed()), len(zoo.take_listed())))
    assert listed == [(1000, 0), (501, 0), (0, 1000), (0, 501)]
    assert complete(reports) == [False, False, False, True]
    assert sum(report.claimed for report in reports) == 3_000
    assert Counter(world.states().values()) == {State.DOOMED: 3_000, State.LIVE: 2}
    assert positions(world) == {}
    assert (docs.cleared, zoo.cleared) == (1, 1)


async def test_a_storage_that_fails_is_taken_up_again_where_it_was(
    world: World, ordered: InOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(b"one")
    lay_many(ordered, *names("x", 1_050))
    put_rows(world, *names("x", 1_050))
    assert not (await world.maintain("check", max_seconds=SHORT)).is_complete
    noted = positions(world)

    def fail(*_: object, **__: object) -> None:
        raise OSError("the network is down")

    with monkeypatch.context() as patch:
        patch.setattr(ordered, "list", fail)
        report = await world.maintain("check", max_seconds=SHORT)
    assert report.counts[K.UNREACHABLE] == 1
    assert positions(world) == noted
    assert (await world.maintain("check", max_seconds=SHORT)).objects == 51


async def test_a_storage_without_order_is_listed_to_its_end(world: World, storage: StorageBackend) -> None:
    backend = InOrder(storage, in_order=False)
    with storages.override("docs", backend):
        world.add(b"one")
        lay_many(storage, *names("x", 1_050))
        swept: SweepReport = await world.maintain("sweep", grace=0, force=True, max_seconds=SHORT)
        checked: CheckReport = await world.maintain("check", max_seconds=SHORT)
    assert (swept.is_complete, swept.listed, swept.claimed) == (True, 1_051, 1_050)
    assert (checked.is_complete, checked.objects) == (True, 1_051)
    assert positions(world) == {}


# A check


def found(findings: list[Finding], kind: FindingKind) -> list[str]:
    return sorted(finding.key or "" for finding in findings if finding.kind is kind)


async def test_checks_with_little_time_report_each_thing_once(world: World, ordered: InOrder) -> None:
    [first] = world.add(b"one")
    known = names("a", MANY)
    orphans = [f"{key}-orphan" for key in known[::100]]
    missing = known[50::100]
    lay_many(ordered, *sorted({*known, *orphans} - {*missing}))
    put_rows(world, *known)
    findings: list[Finding] = []
    reports = await runs(world, "check", grace=-5, on_finding=findings.append)
    assert complete(reports) == [False, False, False, True]
    assert found(findings, K.MISSING) == missing
    assert found(findings, K.ORPHAN) == orphans
    assert sum(report.objects for report in reports) == MANY + 1 == len(keys())
    assert all(report.files == MANY + 1 for report in reports)
    assert first in keys()
    assert positions(world) == {}


async def test_a_check_of_two_storages_reports_nothing_of_the_one_that_waits(
    world: World, pair: tuple[InOrder, InOrder]
) -> None:
    docs, zoo = pair
    lay_many(docs, *names("x", 1_200))
    with world.engine.connect() as connection:
        [lost] = connection.scalars(select(TABLE.c.key).where(TABLE.c.backend == "zoo"))
    zoo.delete([lost])
    reports: list[CheckReport] = []
    while not reports or not reports[-1].is_complete:
        reports.append(await world.maintain("check", Both, grace=-5, max_seconds=SHORT))
    assert [report.counts[K.MISSING] for report in reports] == [0, 0, 1]
    assert reports[2].counts[K.ORPHAN] == 0
    assert sum(report.counts[K.ORPHAN] for report in reports) == 1_200


async def test_checks_with_little_time_verify_each_file_once(world: World, ordered: InOrder) -> None:
    known = world.add(*(b"%03d" % number for number in range(320)))
    spoilt = sorted(known)[5::50]
    for key in spoilt:
        ordered.put(key, [b"new"], mode="overwrite")
    lost = sorted(known)[7::50]
    ordered.delete(lost)
    findings: list[Finding] = []
    reports = await runs(world, "check", verify=True, on_finding=findings.append)
    assert complete(reports) == [False, False, False, True]
    assert sorted(ordered.read) == sorted({*known} - {*lost})
    assert found(findings, K.CORRUPT) == spoilt
    assert found(findings, K.MISSING) == lost
    assert positions(world) == {}


async def test_rows_of_one_key_are_verified_together(world: World, ordered: InOrder) -> None:
    """Also where the time is over between them."""
    added = world.add(*(b"%03d" % number for number in range(150)))
    known = sorted(added)
    with world.engine.begin() as connection:
        of_it = {"id": added.index(known[98]) + 1}
        [row] = connection.execute(text("SELECT file FROM documents WHERE id = :id"), of_it)
        file = row[0] if isinstance(row[0], str) else json.dumps(row[0])
        connection.execute(
            text("INSERT INTO documents (id, file, pages) VALUES (:id, :file, '[]')"),
            [{"id": 1_000 + number, "file": file} for number in range(5)],
        )
    ordered.put(known[98], [b"new"], mode="overwrite")
    reports = await runs(world, "check", verify=True)
    assert complete(reports) == [False, True]
    assert sorted(len(report.of(K.CORRUPT)) for report in reports) == [0, 6]
    assert Counter(ordered.read) == Counter(known) + Counter({known[98]: 5})


async def test_runs_that_verify_go_on_for_themselves(world: World, ordered: InOrder) -> None:
    known = sorted(world.add(*(b"%04d" % number for number in range(150))))
    assert not (await world.maintain("check", verify=True, max_seconds=SHORT)).is_complete
    assert (await world.maintain("check", max_seconds=SHORT)).is_complete
    assert list(positions(world).values()) == [known[99]]
    await world.maintain("check", verify=True, max_seconds=SHORT)
    assert ordered.read == known


async def test_a_check_with_enough_time_verifies_all(world: World, ordered: InOrder) -> None:
    known = world.add(*(b"%04d" % number for number in range(150)))
    report = await world.maintain("check", verify=True, max_seconds=3600)
    assert (report.is_complete, report.is_clean, len(ordered.read)) == (True, True, len(known))


@pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.server)], indirect=True)
def test_a_role_that_may_only_read_checks_and_is_warned(
    database: World, ordered: InOrder, caplog: pytest.LogCaptureFixture
) -> None:
    database.add(b"one")
    lay_many(ordered, *names("x", 1_050))
    put_rows(database, *names("x", 1_050))
    role = f"reader_{database.engine.url.database}"
    database.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'")
    database.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    engine = create_engine(database.engine.url.set(username=role, password="reads"))
    try:
        for _ in range(2):
            caplog.clear()
            report = check(engine, Base, max_seconds=SHORT)
            assert (report.is_complete, report.objects) == (False, 1_000)
            assert "the next run begins anew" in caplog.text
    finally:
        engine.dispose()
        database.sql(f"DROP OWNED BY {role}")
        database.sql(f"DROP ROLE {role}")
    assert positions(database) == {}


class Bare(DeclarativeBase):
    """Base of a model without a ledger."""


class Note(Bare):
    """A file that no ledger knows."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))


async def test_without_a_ledger_each_run_begins_anew(world: World, ordered: InOrder) -> None:
    assert ledger_of(Bare.metadata) is None
    Bare.metadata.create_all(world.engine)
    lay_many(ordered, *names("x", 1_050))
    for _ in range(2):
        report: CheckReport = await world.maintain("check", Bare, max_seconds=SHORT)
        assert (report.is_complete, report.objects) == (False, 1_000)
    report = await world.maintain("check", Bare)
    assert (report.is_complete, report.objects) == (True, 1_050)


# The command


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the command in a process of its own, and return its report."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "filecolumn", "--json", *arguments]
    result = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": f"{root / 'src'}:{root}:{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return report


@pytest.fixture
def project(tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """A project with 1,050 rows whose objects lie in a storage that lists in order."""
    with make_world("sqlite", "sync", tmp_path) as world:
        world.add(b"one")
        lay_many(storage, *names("x", 1_050))
        put_rows(world, *names("x", 1_050))
        (tmp_path / "project_storages.py").write_text(
            "from filecolumn import storages\n"
            "from filecolumn.backends.registry import backend_from_url\n"
            "from tests.maintenance.test_time_limit import InOrder\n\n\n"
            "def register():\n"
            f"    storages.register_backend(InOrder(backend_from_url({storage.location!r}, 'docs', {{}})))\n"
        )
        (tmp_path / "pyproject.toml").write_text(
            '[tool.filecolumn]\napp = "tests.maintenance.models:Base"\n'
            f'setup = "project_storages:register"\nurl = "{world.url()}"\n'
        )
        yield world


def test_the_command_ends_in_time_and_goes_on(project: World, tmp_path: Path) -> None:
    limit = ("--max-seconds", "0.000001")
    reports = [run(tmp_path, "check", *limit) for _ in range(2)]
    assert [(report["is_complete"], report["objects"]) for report in reports] == [(False, 1_000), (True, 51)]
    assert positions(project) == {}
    doom(project, *names("y", 250))
    reports = [run(tmp_path, "drain", "--yes", *limit) for _ in range(3)]
    assert [(report["deleted"], report["left"]) for report in reports] == [(100, 150), (100, 50), (50, 0)]


async def test_a_storage_that_does_not_answer_keeps_no_other_from_its_turn(
    world: World, ordered: InOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(b"one")
    lay_many(ordered, *names("x", 1_050))
    put_rows(world, *names("x", 1_050))
    assert not (await world.maintain("check", max_seconds=SHORT)).is_complete
    storages.register_backend(f"file://{tmp_path}/other", key="other").put("y/1", [b"y"])

    def fail(*_: object, **__: object) -> None:
        raise OSError("the network is down")

    monkeypatch.setattr(ordered, "list", fail)
    report = await world.maintain("check", max_seconds=SHORT)
    assert (report.counts[K.UNREACHABLE], report.objects) == (1, 1)
