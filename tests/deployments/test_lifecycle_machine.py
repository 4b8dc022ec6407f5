"""Releases, operators, migrations, sessions and maintenance in any order: no object that a row names is ever gone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from filecolumn import maintenance
from tests.deployments.lifecycle import (
    BACKUP,
    NEIGHBOUR,
    NEWER,
    OTHER,
    PRODUCTION,
    STAGED,
    Acts,
    Lifecycle,
)
from tests.deployments.releases import RELEASES
from tests.profiles import NAME, SECONDS

RELEASE = st.sampled_from(sorted(RELEASES))
DATABASE = st.sampled_from([PRODUCTION, PRODUCTION, PRODUCTION, STAGED, NEIGHBOUR])
WHICH = st.integers(0, 11)
PROTECTIONS = ("triggers", "copy_files", "drains")
FOLDER = st.sampled_from([OTHER, "empty"])
SESSIONS = (
    *("save", "replace", "delete") * 3,
    *("clear", "delete_in_bulk", "savepoint", "rollback", "reinsert", "reinsert"),
)
RUNS = (*("sweep", "sweep_unreferenced", "drain") * 3, "repair")
MIGRATIONS = ("add_column", "add_table", "rename_table", "rename_column", "start", "drop_table")
REWRITES = (
    "copy_column",
    "move_column",
    "copy_rows",
    "move_rows",
    "duplicate",
    "list",
    "string",
    "mixed",
    "null",
)


class LifecycleMachine(RuleBasedStateMachine):
    """One history of an application."""

    kind = "sqlite"

    @initialize(protection=st.sampled_from(PROTECTIONS))
    def begin(self, protection: str) -> None:
        """Set the application up."""
        self.life = Lifecycle(self.kind, protection)
        self.has_backup = False
        self.has_newer = False
        self.has_staged = False

    def teardown(self) -> None:
        """Remove it."""
        if hasattr(self, "life"):
            self.life.close()

    # ---- sessions

    @rule(database=DATABASE, number=st.integers(0, 3), which=WHICH, what=st.sampled_from(SESSIONS))
    def session(self, database: str, number: int, which: int, what: str) -> None:
        """Let a release whose tables are there change rows in a session."""
        if not self._is_there(database):
            return
        able = self.life.able(database)
        if able:
            acts = Acts(self.life, which, able[number % len(able)])
            self.life.session(database, acts.release, getattr(acts, what))

    @rule(number=st.integers(0, 3), which=WHICH, what=st.sampled_from(SESSIONS))
    def production(self, number: int, which: int, what: str) -> None:
        """Do that in the production: it is what happens most."""
        self.session(PRODUCTION, number, which, what)

    # ---- maintenance

    @rule(database=DATABASE, release=RELEASE, what=st.sampled_from(RUNS), waits=st.booleans())
    def maintain(self, database: str, release: str, what: str, waits: bool) -> None:
        """Sweep, drain or repair by any release; without a wait, nothing is kept for its age."""
        if not self._is_there(database):
            return
        if not waits:
            self.life.let_be_due(database)
        run: dict[str, Callable[..., object]] = {
            "sweep": lambda engine, base: maintenance.sweep(engine, base, grace=0, quarantine=0),
            "sweep_unreferenced": lambda engine, base: maintenance.sweep(
                engine, base, grace=0, quarantine=0, unreferenced=True
            ),
            "drain": maintenance.drain,
            "repair": lambda engine, base: maintenance.check(engine, base, repair=True, grace=0),
        }
        self.life.maintain(database, release, run[what])

    @rule(release=RELEASE)
    def clean(self, release: str) -> None:
        """Sweep and drain the production, as every night."""
        self.maintain(PRODUCTION, release, "sweep_unreferenced", waits=False)
        self.maintain(PRODUCTION, release, "drain", waits=False)

    @rule()
    def restart(self) -> None:
        """End all processes."""
        self.life.restart()

    # ---- migrations

    @rule(what=st.sampled_from(MIGRATIONS), release=RELEASE)
    def migrate(self, what: str, release: str) -> None:
        """Change tables, where the tables are as the migration has to find them, and start the release for it."""
        there = self.life.there(PRODUCTION)
        doc, photo = there.get("doc", set()), there.get("photo", set())
        kind = "jsonb" if self.kind == "postgresql" else "JSON"
        # a release that is never started records no column, so that what SQL moves into it is only kept as
        # long as no sweep is asked to claim what is unreferenced
        match what:
            case "add_column" if doc and "attachment" not in doc:
                self.life.sql(f"ALTER TABLE doc ADD COLUMN attachment {kind}")
                self.life.migrated("wider")
            case "add_table" if not photo:
                self.life.migrated("wider")
            case "rename_table" if doc and "document" not in there:
                self.life.sql("ALTER TABLE doc RENAME TO document")
                self.life.migrated("renamed")
            case "rename_column" if "file" in photo:
                self.life.sql("ALTER TABLE photo RENAME COLUMN file TO image")
                self.life.migrated("renamed")
            case "drop_table" if photo:
                self.life.sql("DROP TABLE photo")
                self.life.look(PRODUCTION)
            case "start":
                self.life.migrated(release)
            case _:
                return

    @rule(what=st.sampled_from(REWRITES), which=WHICH)
    def rewrite(self, what: str, which: int) -> None:
        """Copy, move or change values by SQL."""
        there = self.life.there(PRODUCTION)
        doc = there.get("doc", set())
        column = next((name for name in ("file", "image") if name in there.get("photo", ())), None)
        insert = f"INSERT INTO photo ({column}) SELECT file FROM doc WHERE file IS NOT NULL"
        fill = "UPDATE doc SET attachment = file WHERE attachment IS NULL"
        match what:
            case "copy_column" if "attachment" in doc:
                self.life.copy_by_sql("doc.file", "doc.attachment", fill)
            case "move_column" if "attachment" in doc:
                empty = "UPDATE doc SET file = NULL WHERE attachment IS NOT NULL"
                self.life.copy_by_sql("doc.file", "doc.attachment", fill, empty)
            case "copy_rows" if doc and column:
                self.life.copy_by_sql("doc.file", f"photo.{column}", insert)
            case "move_rows" if doc and column:
                self.life.copy_by_sql(
                    "doc.file", f"photo.{column}", insert, "DELETE FROM doc WHERE file IS NOT NULL"
                )
            case "duplicate" if doc and len(self.life.rows("doc")) < 20:
                self.life.copy_by_sql("doc.file", "doc.file", "INSERT INTO doc (file) SELECT file FROM doc")
            case "list" | "string" | "mixed" | "null" if doc:
                self._reshape(what, which)
            case _:
                return

    def _reshape(self, shape: str, which: int) -> None:
        """Give a row's JSON another shape, or none."""
        rows = self.life.rows("doc")
        if not rows:
            return
        row = rows[which % len(rows)]
        value = self.life.value("doc", "file", row)
        if shape == "null":
            self.life.sql(f"UPDATE doc SET file = NULL WHERE id = {row}")
        elif isinstance(value, dict):
            made = {"list": [value], "string": json.dumps(value), "mixed": [json.dumps(value), None]}
            self.life.write("doc", "file", row, made[shape])
        self.life.look(PRODUCTION)

    # ---- operators

    @rule(
        names=st.sampled_from([("doc.file", "document.file"), ("photo.file", "photo.image")]), release=RELEASE
    )
    def say_renamed(self, names: tuple[str, str], release: str) -> None:
        """Say what was renamed."""
        if names[1].split(".")[1] in self.life.there(PRODUCTION).get(names[1].split(".")[0], ()):
            rename = maintenance.rename_file_column
            self.life.maintain(
                PRODUCTION, release, lambda engine, base: rename(engine, base, old=names[0], new=names[1])
            )

    @rule(
        name=st.sampled_from(["doc.file", "doc.attachment", "photo.file", "document.file"]), release=RELEASE
    )
    def forget(self, name: str, release: str) -> None:
        """Say that a column is gone for good, which is refused while it is there."""
        forget = maintenance.forget_file_column
        self.life.maintain(PRODUCTION, release, lambda engine, base: forget(engine, base, name=name))

    @rule(folder=FOLDER)
    def mount_another(self, folder: str) -> None:
        """Mount the neighbour's folder, or one that is empty at first."""
        self.life.mounted = folder
        self.life.folder(folder).mkdir(exist_ok=True)

    @precondition(lambda self: self.may("mount_home"))
    @rule()
    def mount_home(self) -> None:
        """Mount the right folder again."""
        self.life.mounted = self.life.home

    @rule(release=RELEASE, how=st.sampled_from(["", "", "new_place", "sole"]))
    def adopt(self, release: str, how: str) -> None:
        """Say that what is mounted is the production's."""
        # that it is all the production's is only true of a folder which nobody else uses
        if not (how == "sole" and self.life.mounted == OTHER):
            self.life.adopt(release, how)

    @precondition(lambda self: self.may("move"))
    @rule(release=RELEASE, with_marks=st.booleans(), number=st.integers(1, 2))
    def move(self, release: str, with_marks: bool, number: int) -> None:
        """Copy the content to another folder, mount it, and say so."""
        if self.life.mounted != f"moved{number}":
            self.life.copy_content(f"moved{number}", with_marks=with_marks)
            self.life.adopt(release, "moved")

    def _is_there(self, database: str) -> bool:
        return database != STAGED or self.has_staged

    def may(self, name: str) -> bool:
        """Return whether a step that has a precondition may be taken."""
        match name:
            case "mount_home":
                return self.life.mounted != self.life.home
            case "move":
                return not self.has_staged
            case "restore":
                return self.has_backup
            case "go_forward":
                return self.has_newer
            case "back_up" | "stage":
                return self.kind != "mariadb"
            case _:
                return True

    # ---- copies of the database; not on MariaDB, which has no statement that copies one

    @precondition(lambda self: self.may("back_up"))
    @rule()
    def back_up(self) -> None:
        """Make a backup."""
        self.life.back_up()
        self.has_backup = True

    @precondition(lambda self: self.may("restore"))
    @rule(in_place=st.booleans(), ends=st.booleans())
    def restore(self, in_place: bool, ends: bool) -> None:
        """Put the backup in the production's place; the storage stays as it is."""
        self.life.restore(BACKUP, in_place=in_place)
        self.has_newer = True
        if ends:
            self.life.restart()

    @precondition(lambda self: self.may("go_forward"))
    @rule(in_place=st.booleans())
    def go_forward(self, in_place: bool) -> None:
        """Put back what the last restore has replaced: it was a mistake."""
        self.life.restore(NEWER, in_place=in_place)
        self.has_newer = False

    @precondition(lambda self: self.may("stage"))
    @rule()
    def stage(self) -> None:
        """Copy the database for tests, over the same storage."""
        self.life.stage()
        self.has_staged = True


class PostgresqlMachine(LifecycleMachine):
    """The same on PostgreSQL."""

    kind = "postgresql"


class MariadbMachine(LifecycleMachine):
    """The same on MariaDB, without copies of the database."""

    kind = "mariadb"


HISTORIES = {"quick": (5, 20), "ci": (12, 30), "soak": (500, 60)}
ON_SERVERS = {"quick": (1, 15), "ci": (1, 20), "soak": (100, 60)}
WALKS = {"quick": (3, 30), "ci": (8, 50), "soak": (500, 60)}
"""Histories, and steps of each."""

WEIGHTS = {
    "production": 38,
    "session": 8,
    "maintain": 12,
    "clean": 8,
    "migrate": 6,
    "rewrite": 10,
    "restart": 2,
    "forget": 1,
    "say_renamed": 2,
    "mount_another": 2,
    "mount_home": 3,
    "adopt": 2,
    "move": 1,
    "back_up": 2,
    "restore": 2,
    "go_forward": 1,
    "stage": 1,
}
"""How often a walk takes a step; Hypothesis has no weights, and tries rare sequences of a few steps less often."""
NAMES = ("doc.file", "doc.attachment", "photo.file", "document.file")

Step = tuple[str, dict[str, Any]]


def step_of(random: Random) -> Step:
    """Choose a step and what it is given."""
    choices: dict[str, Any] = {
        "number": range(4),
        "which": range(12),
        "release": sorted(RELEASES),
        "database": [PRODUCTION, STAGED, NEIGHBOUR],
        "waits": [False, True],
        "in_place": [False, True],
        "ends": [False, True],
        "with_marks": [False, True],
        "folder": [OTHER, "empty"],
        "how": ["", "", "new_place", "sole"],
        "name": NAMES,
        "names": [("doc.file", "document.file"), ("photo.file", "photo.image")],
    }
    wanted: dict[str, tuple[str, ...]] = {
        "production": ("number", "which"),
        "session": ("database", "number", "which"),
        "maintain": ("database", "release", "waits"),
        "clean": ("release",),
        "migrate": ("release",),
        "rewrite": ("which",),
        "forget": ("name", "release"),
        "say_renamed": ("names", "release"),
        "mount_another": ("folder",),
        "adopt": ("release", "how"),
        "move": ("release", "with_marks"),
        "restore": ("in_place", "ends"),
        "go_forward": ("in_place",),
    }
    kinds_of = {
        "production": SESSIONS,
        "session": SESSIONS,
        "maintain": RUNS,
        "migrate": MIGRATIONS,
        "rewrite": REWRITES,
    }
    name = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    given = {each: random.choice(choices[each]) for each in wanted.get(name, ())}
    if name in kinds_of:
        given["what"] = random.choice(kinds_of[name])
    if name == "move":
        given["number"] = random.choice([1, 2])
    return name, given


def failure_of(
    machine: type[LifecycleMachine], protection: str, steps: Sequence[Step]
) -> tuple[int, BaseException] | None:
    """Take the steps, and return which of them failed and how."""
    made = machine()
    try:
        made.begin(protection=protection)
        for number, (name, given) in enumerate(steps):
            if made.may(name):
                try:
                    getattr(made, name)(**given)
                except Exception as error:
                    return number, error
    finally:
        made.teardown()
    return None


def shortest(
    machine: type[LifecycleMachine], protection: str, steps: Sequence[Step], seconds: float = 60
) -> list[Step]:
    """Leave out what a failure does not need."""
    kept, size, end = list(steps), max(len(steps) // 2, 1), time.monotonic() + seconds
    while size:
        start = 0
        while start < len(kept) and time.monotonic() < end:
            fewer = [*kept[:start], *kept[start + size :]]
            if failure_of(machine, protection, fewer):
                kept = fewer
            else:
                start += size
        size //= 2
    return kept


def walk(machine: type[LifecycleMachine], seed: int, count: int) -> None:
    """Take *count* steps at random."""
    random = Random(seed)
    protection = random.choice(PROTECTIONS)
    steps = [step_of(random) for _ in range(count)]
    failed = failure_of(machine, protection, steps)
    if failed is not None:
        needed = shortest(machine, protection, steps[: failed[0] + 1])
        lines = "\n".join(f"    {name} {given}" for name, given in needed)
        raise AssertionError(f"{failed[1]}\nseed {seed}, {protection}:\n{lines}") from failed[1]


def _run(machine: type[LifecycleMachine], sizes: dict[str, tuple[int, int]]) -> None:
    histories, steps = sizes[NAME]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.sized
@pytest.mark.timeout(SECONDS)
def test_no_object_that_a_row_names_is_gone_whatever_is_done() -> None:
    _run(LifecycleMachine, HISTORIES)


@pytest.mark.sized
@pytest.mark.timeout(SECONDS)
def test_no_object_that_a_row_names_is_gone_in_weighted_walks() -> None:
    histories, steps = WALKS[NAME]
    begin = Random().randrange(2**32) if NAME == "soak" else 0
    for seed in range(begin, begin + histories):
        walk(LifecycleMachine, seed, steps)


@pytest.mark.sized
@pytest.mark.server
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("machine", [PostgresqlMachine, MariadbMachine], ids=["postgresql", "mariadb"])
def test_no_object_that_a_row_names_is_gone_on_servers(machine: type[LifecycleMachine]) -> None:
    histories, steps = ON_SERVERS[NAME]
    for seed in range(histories):
        walk(machine, seed, steps)
    _run(machine, ON_SERVERS)
