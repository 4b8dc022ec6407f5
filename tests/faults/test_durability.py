"""Content and its name are on the disk before the row is written, seen from outside of the process.

Small content gets its name first, and several files are made durable together; other content is durable before it
gets its name.  In both cases it is before the first write of the transaction.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from filecolumn.naming import RESERVED_FOLDER, is_stage_name
from tests.faults.system_calls import Call, traced
from tests.scenarios.models import Base
from tests.servers.databases import own_database

ROOT = Path(__file__).parents[2]
DRIVERS = {"sync": "sqlite", "async": "sqlite+aiosqlite"}

COMMITTING = """
import asyncio, sys
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from filecolumn import FileObject, storages
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.scenarios.models import Document

url, folder, library, fsync = sys.argv[1:]
if library == "obstore":
    storages.register_backend(ObstoreBackend("docs", f"file://{folder}/", fsync=fsync == "yes"))
else:
    storages.register_backend(FSSpecBackend("docs", "file", folder, fsync=fsync == "yes"))

def file(body):
    return FileObject("a.txt", content=body)

def add(session):
    session.add(Document(id=1, file=file(b"small"), pages=[file(b"large" * 2_000_000), file(b"")]))

def copy(session):
    session.add(Document(id=2, file=session.get_one(Document, 1).file))

def many(session):
    session.add_all(Document(id=number, file=file(b"%d" % number)) for number in range(10, 60))

async def commit_async():
    engine = create_async_engine(url)
    for work in (add, copy, many):
        async with AsyncSession(engine) as session:
            await session.run_sync(work)
            await session.commit()
    await engine.dispose()

if "aiosqlite" in url:
    asyncio.run(commit_async())
else:
    for work in (add, copy, many):
        with Session(create_engine(url)) as session:
            work(session)
            session.commit()
"""


def calls_of_commits(folder: Path, library: str, way: str, *, fsync: bool) -> list[Call]:
    """Return the calls of a process that commits a row with three new files, one with a copy, and fifty with one."""
    with own_database("sqlite", folder, Base.metadata) as engine:
        url = engine.url.set(drivername=DRIVERS[way]).render_as_string()
        command = [sys.executable, "-c", COMMITTING, url, str(folder / "made" / "docs"), library]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        return traced([*command, "yes" if fsync else "no"], folder, environment)


def leave_folders(root: Path) -> None:
    """Make the folders of today as another process does that is killed before they are durable."""
    for hours in (0, 1):
        name = datetime.now(UTC) + timedelta(hours=hours)
        root.joinpath(name.strftime("%Y%m%d"), name.strftime("%H")).mkdir(parents=True, exist_ok=True)


def stored(calls: list[Call], root: Path) -> list[Call]:
    """Return the calls that put content in its place."""
    return [
        call
        for call in calls
        if call.is_link
        and call.paths[-1].startswith(f"{root}/")
        and f"/{RESERVED_FOLDER}/" not in call.paths[-1]
        and not is_stage_name(os.path.basename(call.paths[-1]))
    ]


def violations(calls: list[Call], folder: Path) -> Iterator[str]:
    """Yield what is not durable when SQLite writes the first row of its transaction."""
    root = folder / "made" / "docs"
    journals = [
        call
        for call in calls
        if call.name == "openat"
        and "O_CREAT" in call.arguments
        and call.paths[0] == f"{folder}/test.db-journal"
    ]
    syncs = [call for call in calls if call.is_sync]
    for place in stored(calls, root):
        row = next(journal for journal in journals if place.comes_before(journal))
        if not any(sync.paths[0] in place.paths and sync.comes_before(row) for sync in syncs):
            yield f"the content of {place.paths[-1]}"
        path = Path(place.paths[-1])
        made = {call.paths[-1]: call for call in calls if call.name in {"mkdir", "mkdirat"}}
        for name in (path, *path.parents):
            since = place if name == path else made.get(str(name))
            if not any(
                sync.paths[0] == str(name.parent)
                and sync.comes_before(row)
                and (since is None or since.comes_before(sync))
                for sync in syncs
            ):
                yield f"the name {name}"
            if name == root.parent:
                break


@pytest.mark.server
@pytest.mark.parametrize("way", DRIVERS)
@pytest.mark.parametrize("library", ["obstore", "fsspec"])
def test_content_and_name_are_durable_before_the_row(tmp_path: Path, library: str, way: str) -> None:
    if way == "sync":
        leave_folders(tmp_path / "made" / "docs")
    calls = calls_of_commits(tmp_path, library, way, fsync=True)
    places = stored(calls, tmp_path / "made" / "docs")
    assert len(places) == 54
    assert list(violations(calls, tmp_path)) == []
    # what the row is committed by, so that the order means something
    commits = [call for call in calls if call.is_sync and call.paths[0] == f"{tmp_path}/test.db"]
    assert len(commits) >= 3
    # fifty files of one commit are in one folder, or in two if an hour ends meanwhile
    folders = {os.path.dirname(place.paths[-1]) for place in places}
    assert sum(call.is_sync and call.paths[0] in folders for call in calls) <= 10


@pytest.mark.server
def test_without_fsync_nothing_is(tmp_path: Path) -> None:
    calls = calls_of_commits(tmp_path, "fsspec", "sync", fsync=False)
    assert len(list(violations(calls, tmp_path))) >= 8
