"""A sweep and a check pass a million objects in 64 MiB, with one query for each page of 1,000."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.maintenance.world import World, make_world
from tests.profiles import PROFILE

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
ALLOWED = 64 * MIB

SCRIPT = """
import json, sys, time
from sqlalchemy import create_engine, event
from filecolumn import storages
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.errors import ObjectNotFoundError
from filecolumn.maintenance import adopt, check, sweep
from tests.maintenance.models import Base

url, what, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
KEY = "20260101/00/{:032x}.txt"

class Listing(StorageBackend):
    "A storage that makes up its listing: every key, and ten that no row knows."
    location = "listing://"
    def __init__(self, key):
        super().__init__(key)
        self.marks = {}
    def put(self, key, chunks, **options): self.marks[key] = b"".join(chunks)
    def get(self, key, **options): raise NotImplementedError
    def get_bytes(self, key):
        if key not in self.marks:
            raise ObjectNotFoundError(key)
        return self.marks[key]
    def stat(self, key):
        if key.startswith(".filecolumn/") and key not in self.marks:
            raise ObjectNotFoundError(key)
        return Stat(key=key, size=7, last_modified=1.0)
    def delete(self, keys):
        for key in keys:
            del self.marks[key]
    def list(self, prefix="", after=None):
        for index in range(self.number + 10):
            yield Stat(key=KEY.format(index), size=7, last_modified=1.0)

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

backend = storages.register_backend(Listing("docs"))
queries = 0

def count(*_):
    global queries
    queries += 1

def run(url, number):
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    backend.marks.clear()
    backend.number = -10
    adopt(engine, Base)
    backend.number = number
    event.listen(engine, "before_cursor_execute", count)
    if what == "sweep":
        report = sweep(engine, Base)
        return report.listed, report.found
    report = check(engine, Base)
    return report.objects, report.faults

if url.startswith("postgresql"):
    create_engine(url).connect().close()
run(sys.argv[4], 0)
before, queries, started = peak(), 0, time.monotonic()
listed, found = run(url, number)
print(json.dumps([listed, found, queries, peak() - before, time.monotonic() - started]))
"""

FILL = {
    "sqlite": """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :last) INSERT INTO {into} FROM n""",
    "postgresql": "INSERT INTO {into} FROM generate_series(0, :last) AS n(i)",
}
DOCUMENTS = {
    "sqlite": """documents (id, file, pages) SELECT i, json_object('filename', 'a.txt', 'to_filename',
'20260101/00/' || printf('%032x', i) || '.txt', 'backend', 'docs', 'size', 7, 'v', 1), '[]'""",
    "postgresql": """documents (id, file, pages) SELECT i, jsonb_build_object('filename', 'a.txt', 'to_filename',
'20260101/00/' || lpad(to_hex(i), 32, '0') || '.txt', 'backend', 'docs', 'size', 7, 'v', 1), '[]'""",
}
ENTRIES = {
    "sqlite": """filecolumn_ledger (backend, key, state, checked, created_at, attempts)
SELECT 'docs', '20260101/00/' || printf('%032x', i) || '.txt', 1, 1, 2000, 0""",
    "postgresql": """filecolumn_ledger (backend, key, state, checked, created_at, attempts)
SELECT 'docs', '20260101/00/' || lpad(to_hex(i), 32, '0') || '.txt', 1, true, 2000, 0""",
}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A database with a million rows, each with an entry."""
    with make_world(request.param, "sync", tmp_path_factory.mktemp("million")) as world:
        kind = world.kind
        for into in (DOCUMENTS[kind], ENTRIES[kind]):
            world.sql(FILL[kind].format(into=into), last=NUMBERS[kind] - 1)
        yield world


NUMBERS = {"sqlite": 5 * PROFILE.objects, "postgresql": PROFILE.objects}


@pytest.mark.sized
@pytest.mark.timeout(500)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the VmHWM of Linux")
@pytest.mark.parametrize("what", ["check", "sweep"])  # a sweep claims what a check would find
def test_a_million_objects(full: World, what: str, tmp_path: Path) -> None:
    number = NUMBERS[full.kind]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, full.url(), what, str(number), f"sqlite:///{tmp_path}/small.db"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=490,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed, found, queries, growth, seconds = json.loads(done.stdout.splitlines()[-1])
    sys.stdout.write(f"{full.kind} {what}: {growth / MIB:.1f} MiB, {queries} queries, {seconds:.0f} s")
    assert (listed, found) == (number + 10, 10)
    assert growth <= ALLOWED
    # pages of rows of two columns and of the ledger, for a sweep those of the listing, and on SQLite the rows again
    pages = 3 + (what == "sweep") + 2 * (full.kind == "sqlite")
    assert queries <= pages * number / 1000 + 140
