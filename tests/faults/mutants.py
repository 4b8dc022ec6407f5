"""The guards, each with what takes it out of the real code.

`test_mutants` and `test_guards` show for each that a history breaks a promise without it.  As a
program, `python -m tests.faults.mutants OPTIONS...` runs pytest once without each guard, and fails
if more than one in ten breaks nothing; as a pytest plugin it takes one guard away for the whole run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, update

from filecolumn import FileObject, storages
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.registry import ObjectRef
from filecolumn.files import transfer
from filecolumn.files.facts import FileFacts
from filecolumn.ledger import deletion, transitions
from filecolumn.ledger.table import Ledger, keys_in
from filecolumn.ledger.transitions import DueKey
from filecolumn.maintenance.lookup import KeyLookup
from filecolumn.orm import column as column_type
from filecolumn.orm import flush, rereading, transaction
from filecolumn.orm.transaction import Upload

# the package has the functions under the modules' names
drain_module = import_module("filecolumn.maintenance.drain")
sweep_module = import_module("filecolumn.maintenance.sweep")
Patch = pytest.MonkeyPatch

VARIABLE = "FILECOLUMN_TEST_MUTANT"
LIMIT = 600
"""Seconds for the run of one mutant."""

with_stat = transfer._with_stat
claim = transitions.claim
compare = transitions._compare


def forget_keys(connection: Connection, ledger: Ledger, places: Collection[ObjectRef], **_: object) -> None:
    if places:
        connection.execute(delete(ledger.table).where(keys_in(ledger, places)))


def row_of_anything(file: FileObject | None) -> dict[str, object]:
    return {"filename": "a.txt", "to_filename": "nowhere.txt", "backend": "docs"}


def believe_any_size(facts: FileFacts, backend: StorageBackend, stat: Stat) -> FileFacts:
    return with_stat(facts, backend, replace(stat, size=facts.size or 0))


def delete_at_once(_: Engine, __: Ledger, places: Sequence[ObjectRef], **___: object) -> list[ObjectRef]:
    storages.get("docs").delete([key for _, key in places])
    return list(places)


def claim_for_no_time(
    connection: Connection, ledger: Ledger, listed: Sequence[DueKey], **options: Any
) -> tuple[list[DueKey], list[DueKey]]:
    claimed = claim(connection, ledger, listed, **options)
    taken = keys_in(ledger, [each.ref for each in claimed[0]])
    connection.execute(update(ledger.table).where(taken).values(due_at=0))
    return claimed


def compare_nothing(
    connection: Connection, ledger: Ledger, listed: Sequence[DueKey]
) -> transitions._Compared:
    return compare(connection, ledger, listed)._replace(unchanged=list(listed))


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "kept keys are not counted": lambda patch: patch.setattr(transitions, "_assert_live", lambda *_: None),
    "removed keys are not counted": lambda patch: patch.setattr(
        transitions, "_doom_uncertain", lambda *_: set()
    ),
    "a drain does not look its keys up": lambda patch: patch.setattr(KeyLookup, "look", lambda *_: None),
    "a drain claims what has changed since it looked": lambda patch: patch.setattr(
        transitions, "_compare", compare_nothing
    ),
    "a sweep looks, then deletes": lambda patch: patch.setattr(sweep_module, "fence", delete_at_once),
    "a new key is not claimed": lambda patch: patch.setattr(
        transitions, "_insert_live", lambda *_, **__: None
    ),
    "any size is believed": lambda patch: patch.setattr(transfer, "_with_stat", believe_any_size),
    "whatever lies at the key is deleted": lambda patch: patch.setattr(
        Upload, "deletable", property(lambda _: True)
    ),
    "a lease ends at once": lambda patch: patch.setattr(drain_module, "claim", claim_for_no_time),
    "a commit does not ask whose the storage is": lambda patch: patch.setattr(
        deletion, "_withheld", lambda *_: {}
    ),
    "a drain does not ask whose the storage is": lambda patch: patch.setattr(
        drain_module._Drain, "_reason_against", lambda *_: ""
    ),
    "an unanswered COMMIT is not asked about": lambda patch: patch.setattr(
        transaction, "_ask", transaction._undo
    ),
    "pending content is written as a row": lambda patch: patch.setattr(
        column_type, "_row_of", row_of_anything
    ),
    "a drain does not look for references": lambda patch: patch.setattr(
        KeyLookup, "read", lambda *_, **__: None
    ),
    "rows are not read again after the flush": lambda patch: patch.setattr(
        rereading.Rereading, "read", lambda *_: None
    ),
    "keys that are gone are forgotten": lambda patch: patch.setattr(drain_module, "mark_gone", forget_keys),
    "a list is not compared with its row": lambda patch: patch.setattr(
        flush, "_is_unchanged", lambda *_: True
    ),
}


def pytest_configure() -> None:
    """Take away the guard that the environment names."""
    if name := os.environ.get(VARIABLE):
        MUTANTS[name](pytest.MonkeyPatch())


def main(options: Sequence[str]) -> int:
    """Say for each mutant which promise broke first; return 1 if more than one in ten broke none."""
    unnoticed = 0
    for name in MUTANTS:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.faults.mutants", *options],
            env={**os.environ, VARIABLE: name},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        _, _, broken = done.stdout.partition("promises that broke")
        # not the exit code: xdist ends with another one after `-x`, and so does a wrong option
        first = next((line for line in broken.splitlines() if " | " in line), None)
        unnoticed += first is None
        sys.stdout.write(f"{name}: {first or 'NOTHING BROKE'}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{unnoticed} of {len(MUTANTS)} were not noticed\n")
    return int(unnoticed > len(MUTANTS) // 10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
