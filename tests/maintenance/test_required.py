"""What is refused before anything is done, and what is only a finding: storages that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, create_engine, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import BackendNotRegisteredError, FileObject, MissingLedgerError, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.errors import StorageError
from filecolumn.litestar.background import Background
from filecolumn.maintenance import (
    FindingKind,
    TriggerChange,
    adopt,
    check,
    drain,
    install_triggers,
    migrate,
    remove_triggers,
    status,
    sweep,
    sweep_when_due,
)
from filecolumn.testing import Fault, FaultyBackend
from tests.maintenance.models import Base
from tests.maintenance.world import LEDGER, TABLE, World, keys, lay, make_world
from tests.servers.process import Endpoint

K = FindingKind

RUNS: dict[str, Callable[[Engine], object]] = {
    "check": lambda engine: check(engine, Base),
    "check, repairing": lambda engine: check(engine, Base, repair=True),
    "sweep": lambda engine: sweep(engine, Base),
    "sweep, dry": lambda engine: sweep(engine, Base, dry_run=True),
    "sweep when due": lambda engine: sweep_when_due(engine, Base),
    "drain": lambda engine: drain(engine, Base),
    "adopt": lambda engine: adopt(engine, Base),
}


@pytest.fixture
def local(tmp_path: Path, storage: StorageBackend) -> Iterator[World]:
    """A database of SQLite, for what is the same in all."""
    with make_world("sqlite", "sync", tmp_path) as made:
        yield made


def everything(world: World) -> list[Any]:
    with world.engine.connect() as connection:
        assert LEDGER is not None
        return [*connection.execute(select(TABLE)), *connection.execute(select(LEDGER.meta))]


@pytest.mark.parametrize("run", RUNS)
def test_a_run_without_the_storages_that_the_ledger_names_does_nothing(local: World, run: str) -> None:
    local.add(b"one")
    local.set_entries(state=2, due_at=1)
    before, files = everything(local), keys()
    backend = storages.get("docs")
    storages.unregister_backend("docs")
    storages.register_backend("memory://", key="another")
    with pytest.raises(BackendNotRegisteredError, match=r"'docs' is not registered.*--setup"):
        RUNS[run](local.engine)
    storages.register_backend(backend)
    assert (everything(local), keys()) == (before, files)


def test_a_row_that_no_ledger_knows_names_its_storage_too(database: World) -> None:
    row = json.dumps({"filename": "a.txt", "backend": "docs"})
    database.sql("INSERT INTO documents (id, file, pages) VALUES (1, NULL, :row)", row=f"[{row}]")
    storages.unregister_backend("docs")
    for run in ("check", "sweep", "adopt"):
        with pytest.raises(BackendNotRegisteredError, match="'docs'"):
            RUNS[run](database.engine)
    assert status(database.engine, Base).live == 0


def test_what_is_asked_for_is_enough(local: World) -> None:
    [key] = local.add(b"one")
    local.sql("UPDATE documents SET file = NULL")
    local.set_entries(backend="gone", state=2, due_at=1)
    assert "not registered" in status(local.engine, Base).places["gone"]
    assert check(local.engine, Base, storages=["docs"], grace=0).counts[K.MISSING] == 0
    assert drain(local.engine, Base, storages=["docs"]).refused == 0
    assert local.entry(key).attempts == 0, "the keys of others are left to those who have their storage"
    with pytest.raises(BackendNotRegisteredError, match="'elsewhere'"):
        drain(local.engine, Base, storages=["elsewhere"])


def test_storages_that_hold_nothing_any_more_need_not_be_there(local: World, tmp_path: Path) -> None:
    """What is deleted, and what stayed in a place that was left for another one."""
    local.add(b"one", b"two")
    storages.register_backend(f"file://{tmp_path}/new/", key="docs", replace=True)
    adopt(local.engine, Base, new_place=True)
    local.sql("UPDATE documents SET file = NULL")
    for run in RUNS.values():
        run(local.engine)
    local.set_entries(backend="gone", state=3)
    for run in RUNS.values():
        run(local.engine)


@pytest.mark.parametrize("operation", ["list", "stat"])
def test_a_storage_that_cannot_be_reached_is_one_finding_and_the_check_goes_on(
    local: World, operation: Any
) -> None:
    keys_of_docs = local.add(b"one", b"two")
    other = storages.register_backend("memory://", key="other")
    other.put("lost", [b"x"])
    backend = storages.get("docs")
    backend.delete(keys_of_docs)
    refusal = lambda: StorageError("no route to host")  # noqa: E731 - it makes the error
    faults = [Fault("list", "fail_before", times=None, error=refusal, call=1 if operation == "list" else 2)]
    if operation == "stat":
        faults.append(Fault("stat", "fail_before", times=None, error=refusal))
    with storages.override("docs", FaultyBackend(backend, *faults)):
        report = check(local.engine, Base, grace=-5, repair=True)
    found = [(finding.kind, finding.storage, finding.key) for finding in report.findings]
    assert (K.UNREACHABLE, "docs", None) in found
    assert report.counts[K.UNREACHABLE] == 1
    assert report.counts[K.MISSING] == 0
    assert (report.is_clean, report.objects) == (False, 1)
    assert "no route to host" in report.of(K.UNREACHABLE)[0].detail
    [missing, _] = check(local.engine, Base).of(K.MISSING)
    assert missing.storage == "docs", "when it answers, the rows' objects are missing"


@pytest.mark.parametrize("operation", ["list", "list_unfinished"])
def test_a_sweep_leaves_out_a_storage_that_does_not_answer(
    local: World, storage: StorageBackend, operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages.register_backend(f"file://{tmp_path}/other/", key="other")
    [key] = local.add(b"one")
    # from now on it stores there
    sweep(local.engine, Base)
    for name in ("docs", "other"):
        lay("lost", backend=name)
    local.sql("UPDATE documents SET file = NULL")
    unbroken = getattr(type(storage), operation)

    def breaking(self: StorageBackend) -> Iterator[Any]:
        yield from unbroken(self)
        if self.key == "docs":
            raise StorageError("no route to host")

    with monkeypatch.context() as patched:
        patched.setattr(type(storage), operation, breaking)
        dry = sweep(local.engine, Base, grace=-5, dry_run=True)
        report = sweep(local.engine, Base, grace=-5)
    assert report.unreachable == dry.unreachable == {"docs": "no route to host"}
    assert (report.orphans, report.claimed) == ((1, 1) if operation == "list" else (2, 2))
    assert local.entry(key).unreferenced_since is not None, "rows and ledger are enough for that"
    assert sweep(local.engine, Base, grace=-5).unreachable == {}


def test_the_background_looks_after_the_registered_storages(local: World) -> None:
    """Several services may share a database, each with storages of its own."""
    [key] = local.add(b"one")
    local.sql("UPDATE documents SET file = NULL")
    local.set_entries(state=2, due_at=1)
    ledger = LEDGER
    assert ledger is not None
    foreign = {"backend": "elsewhere", "key": "theirs.txt", "state": 2, "due_at": 1, "attempts": 0}
    with local.engine.begin() as connection:
        [entry] = connection.execute(select(ledger.table)).mappings()
        connection.execute(ledger.table.insert().values({**entry, **foreign}))
    background = Background(local.engine, [Base], 0.01, sweep_unreferenced=True)

    async def run_once() -> None:
        async with background.running():
            with anyio.fail_after(30):
                while background.last is None and background.error is None:  # noqa: ASYNC110 - it tells nobody
                    await anyio.sleep(0.01)

    anyio.run(run_once)
    assert background.error is None
    assert key not in keys()
    assert local.entry("theirs.txt").state == 2
    assert local.entry("theirs.txt").attempts == 0


def test_a_bucket_that_is_not_there_is_unreachable(local: World, moto: Endpoint) -> None:
    """Not another place: it has no mark either."""
    local.add(b"one")
    options = {"access_key_id": "a", "secret_access_key": "b", "client_options": {"allow_http": True}}
    storages.register_backend(
        "s3://nowhere/", "docs", replace=True, endpoint=moto.url, region="us-east-1", **options
    )
    report = check(local.engine, Base, repair=True)
    assert [(each.kind, each.storage) for each in report.findings] == [(K.UNREACHABLE, "docs")]


def test_an_object_that_cannot_be_read_is_unreachable_and_not_missing(
    local: World, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = local.add(b"one", b"two")
    get = type(storage).get

    def refusing(self: StorageBackend, wanted: str, *arguments: Any, **options: Any) -> Any:
        if wanted == key:
            raise StorageError("403 Forbidden")
        return get(self, wanted, *arguments, **options)

    monkeypatch.setattr(type(storage), "get", refusing)
    [finding] = check(local.engine, Base, verify=True, grace=-5).findings
    assert (finding.kind, finding.storage, finding.key) == (K.UNREACHABLE, "docs", key)
    assert "403 Forbidden" in finding.detail


def test_a_database_without_a_ledger_is_said_in_one_sentence(tmp_path: Path, storage: StorageBackend) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/empty.db")
    for run in (*RUNS.values(), lambda it: status(it, Base), lambda it: install_triggers(it, Base)):
        with pytest.raises(MissingLedgerError, match="create_all"):
            run(engine)
    assert len(migrate(engine, Base, dry_run=True)) == 2
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_triggers_are_reported_as_created_unchanged_replaced_and_removed(
    database: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(act: Callable[..., object]) -> set[tuple[str, str]]:
        changes: list[TriggerChange] = []
        act(database.engine, Base, on_trigger=changes.append)
        return {(change.column, change.done) for change in changes}

    def each(done: str) -> set[tuple[str, str]]:
        return {(column, done) for column in ("documents.file", "documents.pages", "items.file")}

    assert outcome(remove_triggers) == set()
    assert outcome(install_triggers) == each("created")
    assert outcome(install_triggers) == each("unchanged")
    monkeypatch.setattr(storages, "retention", 60.0)
    assert outcome(install_triggers) >= each("replaced")
    assert outcome(remove_triggers) == each("removed")


class Bare(DeclarativeBase):
    """Base of models without a ledger."""


class Note(Bare):
    """A file of the default storage."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(ledger=False))


def test_rows_without_a_ledger_name_their_storages(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/notes.db")
    Bare.metadata.create_all(engine)
    assert check(engine, Bare).is_clean, "no row names a storage"
    storages.register_backend("memory://", key="notes")
    with Session(engine) as session:
        session.add(Note(id=1, file=FileObject("a.txt", content=b"x")))
        session.commit()
    storages.unregister_backend("notes")
    for run in (check, sweep):
        with pytest.raises(BackendNotRegisteredError, match="'notes'"):
            run(engine, Bare)
    engine.dispose()


def test_a_dry_sweep_says_what_a_run_would_change(database: World) -> None:
    key, _ = database.add(b"one", b"two")
    lay("lost")
    database.sql("DELETE FROM documents WHERE id = 1")
    assert sweep(database.engine, Base, grace=-5, dry_run=True).pending == 2
    assert sweep(database.engine, Base, grace=-5).pending == 0
    again = sweep(database.engine, Base, grace=-5, dry_run=True)
    assert (again.pending, again.unreferenced) == (0, 1), "it is noted already"
    assert database.entry(key).unreferenced_since is not None
    options = {"grace": -5, "unreferenced": True, "quarantine": 0}
    assert sweep(database.engine, Base, dry_run=True, **options).pending == 1  # type: ignore[arg-type]
