"""The rules of deletion in an open world: releases, operators, SQL and other applications, in any order.

`protocol` tries every order of single statements in a closed world. Here each act is whole, a
transaction or a run, and what is tried is who acts: two releases with different columns, sessions that
are not alone, raw SQL, triggers of others, restores, copies of the database, other places under a
storage's name, other applications in the same place.

A drain is whole too, or two acts: it looks, and later deletes what it found in no row. Anything may
happen in between, but raw SQL puts a row back there only where triggers see it. What a drain does after
its last comparison, the claim and the deletion, is one act: that raw SQL comes between these is a limit.

One promise: nobody removes an object that a row names, or will name again when an operator has put
the latest state back. `explore` returns the first history that breaks it. Without any one of `Rules`
there must be one, else the model proves nothing. Two limits are built in, as the guide has them: a
backup is older than a day, and no drain runs while a load has emptied a table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tests.faults.protocol import State

LIVE, DOOMED, _ = State

MAIN, COPY, OTHER = "main", "copy", "other"
"""The application's database, a copy of it, and another application's."""
HOME, ELSEWHERE = "home", "elsewhere"
"""The places: where the application stores, and what its storage may come to name."""
RELEASES = {"old": ("a",), "new": ("a", "b", "renamed")}
"""The file columns that the models of a release know."""
CHOSEN = "L"
"""A key that applications choose, and several may."""
BEFORE = "X"
"""What lay in the place before, with a row of an application that keeps no ledger."""


class Entry(NamedTuple):
    """A key's row in the ledger."""

    state: State
    checked: bool
    born: int
    version: int = 0
    """How often it was written while, or so that, it was doomed."""


class Row(NamedTuple):
    """A row that names a file."""

    column: str
    key: str
    is_list: bool = False
    """Whether SQL has made a list of what was a single file."""


class Database(NamedTuple):
    """What one database holds."""

    rows: frozenset[Row] = frozenset()
    ledger: frozenset[tuple[str, Entry]] = frozenset()
    recorded: frozenset[str] = frozenset()
    """The columns that have taken keys."""
    floor: int = 0
    """When the newest of them was recorded."""
    place: str | None = None
    """Where its storage was when it first stored there."""
    generation: int = 0


class Look(NamedTuple):
    """What a drain has found, before it deletes anything."""

    name: str
    """The database."""
    absent: frozenset[tuple[str, Entry]]
    """The entries, as they were listed, of keys that no row has."""
    found: frozenset[tuple[str, Entry]]


class World(NamedTuple):
    """Everything."""

    databases: frozenset[tuple[str, Database]] = frozenset({(MAIN, Database())})
    objects: frozenset[tuple[str, str]] = frozenset()
    """Places and keys."""
    writers: frozenset[tuple[str, str]] = frozenset()
    """The places, and the databases that are known to store there."""
    generations: int = 0
    """The highest that is marked at home."""
    mount: str = HOME
    """What the application's storage is now."""
    backups: tuple[Database, ...] = ()
    """The older one to be restored, and the latest state once it was."""
    loading: frozenset[Row] = frozenset()
    """Rows that an operator has yet to load."""
    gone: frozenset[str] = frozenset()
    """Keys that a backup's rows name, of objects that were removed since."""
    plain: frozenset[str] = frozenset()
    """Keys at home that rows without a ledger name."""
    look: Look | None = None
    done: frozenset[str] = frozenset()
    """What operators and developers have done: each once."""
    clock: int = 0
    lost: str = ""


@dataclass(frozen=True)
class Rules:
    """The rules of deletion; each is there."""

    absence_condemns_nothing_live: bool = True
    rereads_rows: bool = True
    one_owner: bool = True
    looks_before_deleting: bool = True
    claims_unchanged: bool = True
    triggers_write_doomed: bool = True
    distrusts_other_statements: bool = True
    distrusts_other_triggers: bool = True
    distrusts_new_columns: bool = True
    reads_recorded_columns: bool = True
    reads_any_shape: bool = True
    missing_column_withholds: bool = True
    hidden_rows_withhold: bool = True
    limits_runs: bool = True
    knows_its_place: bool = True
    knows_other_writers: bool = True
    knows_what_lay_there: bool = True
    counts_generations: bool = True
    knows_copies: bool = True
    knows_folding: bool = True
    verifies_copies: bool = True
    refuses_tables_without_transactions: bool = True
    claims_chosen_keys: bool = True


REAL = Rules()

ACTS = (
    "add column",
    "copy column",
    "make lists",
    "rename column",
    "put back",
    "put back under triggers",
    "keep with trigger",
    "archive with trigger",
    "hide rows",
    "load rows",
    "back up",
    "copy database",
    "mount elsewhere",
    "other application",
    "earlier application",
    "fold names",
    "damage copies",
    "tables without transactions",
)
"""What else may happen beside sessions and runs: each at most once in a history, in any order."""


class Outcome(NamedTuple):
    """What was explored."""

    worlds: int
    violation: tuple[str, ...] | None
    """The shortest history that breaks the promise, and what it removes."""


def explore(acts: Collection[str], rules: Rules = REAL, *, steps: int = 6) -> Outcome:
    """Try every history of at most *steps* in which of the `ACTS` these occur, the short ones first."""
    model = Model(frozenset(acts), rules)
    start = World()
    if "earlier application" in acts:
        start = start._replace(
            objects=frozenset({(HOME, BEFORE)}), plain=frozenset({BEFORE}), done=frozenset({"earlier"})
        )
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    waiting = deque([(start, 0)])
    while waiting:
        world, depth = waiting.popleft()
        if world.lost:
            return Outcome(len(came_from), (*_history(world, came_from), world.lost))
        if depth == steps:
            continue
        for label, after in model.steps(world):
            if after not in came_from:
                came_from[after] = world, label
                waiting.append((after, depth + 1))
    return Outcome(len(came_from), None)


def _history(world: World, came_from: Mapping[World, tuple[World, str] | None]) -> tuple[str, ...]:
    labels: list[str] = []
    while (origin := came_from[world]) is not None:
        world, label = origin
        labels.append(label)
    return tuple(reversed(labels))


class Model:
    """The acts that are possible."""

    def __init__(self, acts: frozenset[str], rules: Rules) -> None:
        self._acts = acts
        self._rules = rules

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Yield each act that somebody can do now, and the world after it."""
        for name, _ in world.databases:
            yield from self._sessions(world, name)
            yield from self._runs(world, name)
        yield from self._migrations(world)
        yield from self._operators(world)

    # Sessions

    def _sessions(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        if name == MAIN and world.loading:
            return
        database = dict(world.databases)[name]
        if world.clock < 2:
            for column in self._open_columns(world):
                yield from self._saves(world, name, column, f"K{world.clock}")
        if {"other application", "fold names", "tables without transactions"} & self._acts:
            yield from self._saves(world, name, "a", CHOSEN)
        for row in database.rows:
            if row.column in self._open_columns(world) and not row.is_list:
                yield from self._replaces(world, name, row)
        if not self._rules.one_owner:
            for row in database.rows:
                if "b" in self._open_columns(world) and row.column == "a":
                    yield (
                        f"{name} inserts {row.key} by Core",
                        self._added(world, name, row._replace(column="b")),
                    )

    def _open_columns(self, world: World) -> list[str]:
        first = "renamed" if "rename column" in world.done else "a"
        return [first, "b"] if "add column" in world.done else [first]

    def _saves(self, world: World, name: str, column: str, key: str) -> Iterator[tuple[str, World]]:
        database = dict(world.databases)[name]
        place = _place(world, name)
        known = dict(database.ledger)
        if self._is_elsewhere(world, name) and any(entry.state is LIVE for entry in known.values()):
            return
        if key == CHOSEN and key in known:
            if not self._rules.claims_chosen_keys:
                # the put replaces what is there, the ledger refuses, and what was put is withdrawn
                yield f"{name} stores {key} again", self._removed(world, name, key)
            return
        if (place, key) in world.objects:
            return
        row = Row(column, key)
        stored = world._replace(objects=world.objects | {(place, key)}, clock=world.clock + (key != CHOSEN))
        floor = database.floor if column in database.recorded else world.clock
        after = database._replace(
            rows=database.rows | {row},
            ledger=frozenset({**known, key: Entry(LIVE, checked=True, born=world.clock)}.items()),
            recorded=database.recorded | {column},
            floor=floor,
            place=database.place or place,
        )
        registered = _with(stored, name, after)._replace(writers=stored.writers | {(place, name)})
        yield f"{name} saves {key} in {column}", registered
        if (
            "tables without transactions" in self._acts
            and not self._rules.refuses_tables_without_transactions
        ):
            kept = _with(stored, name, database._replace(rows=database.rows | {row}))
            yield f"{name} rolls {key} back, not its row", self._removed(kept, name, key)

    def _replaces(self, world: World, name: str, row: Row) -> Iterator[tuple[str, World]]:
        """Take a file away, in a transaction of its own, or of one that also copies it by SQL."""
        yield f"{name} takes {row.key} from {row.column}", self._given_up(world, name, row, copies=False)
        if "add column" in world.done and row.column == "a" and "copy column" in self._acts:
            yield (
                f"{name} copies {row.key} and takes it away",
                self._given_up(world, name, row, copies=True),
            )
        if "damage copies" in self._acts:
            yield from self._moves(world, name, row)

    def _moves(self, world: World, name: str, row: Row) -> Iterator[tuple[str, World]]:
        """Give the row a copy that comes out damaged, and remove the first one."""
        if not self._rules.verifies_copies:
            yield f"{name} moves {row.key} damaged", world._replace(lost=f"the content of {row.key}")

    def _given_up(self, world: World, name: str, row: Row, *, copies: bool) -> World:
        database = dict(world.databases)[name]
        entry = dict(database.ledger).get(row.key)
        rows = set(database.rows)
        if copies:
            rows.add(row._replace(column="b"))
        if "keep with trigger" not in world.done:
            rows.discard(row)
        if "archive with trigger" in world.done:
            rows.add(row._replace(column="b"))
        database = database._replace(rows=frozenset(rows))
        if entry is None or entry.state is not LIVE:
            return _with(world, name, database if entry is None else _rewritten(database, row.key, entry))
        if row in rows and self._rules.rereads_rows:
            return _with(world, name, _noted(database, row.key, entry))
        doomed = entry._replace(state=DOOMED, version=entry.version + 1)
        after = _with(world, name, _noted(database, row.key, doomed))
        if self._has_licence(world, database, entry, copies=copies):
            return self._removed_and_noted(after, name, row.key)
        return after

    def _has_licence(self, world: World, database: Database, entry: Entry, *, copies: bool) -> bool:
        """Return whether the end of the transaction may remove the object without a look."""
        rules = self._rules
        return (
            entry.checked
            and not (copies and rules.distrusts_other_statements)
            and not ("archive with trigger" in world.done and rules.distrusts_other_triggers)
            and (entry.born >= database.floor or not rules.distrusts_new_columns)
        )

    def _added(self, world: World, name: str, row: Row) -> World:
        database = dict(world.databases)[name]
        return _with(world, name, database._replace(rows=database.rows | {row}))

    # Runs

    def _runs(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        for release in RELEASES if name == MAIN else ("new",):
            if not world.loading:
                yield f"{name} drains ({release})", self._drained(world, name, release)
                yield from self._looks(world, name, release)
            yield f"{name} sweeps ({release})", self._swept(world, name, release)
            asked = self._condemned(world, name, release, asked=True)
            yield f"{name} sweeps ({release}) --unreferenced", asked
        if world.look is not None and world.look.name == name:
            yield f"{name} deletes what it found in no row", self._concluded(world, world.look)

    def _seen(self, world: World, database: Database, release: str) -> frozenset[str] | None:
        """Return the keys that a run finds in rows; None if it cannot see all."""
        columns = set(RELEASES[release])
        missing: set[str] = set()
        if self._rules.reads_recorded_columns:
            columns |= database.recorded
        if "rename column" in world.done:
            missing = columns & database.recorded & {"a"}
            columns -= {"a"}
        if missing and self._rules.missing_column_withholds:
            return None
        if "hide rows" in world.done:
            return None if self._rules.hidden_rows_withhold else frozenset()
        return frozenset(
            row.key
            for row in database.rows
            if row.column in columns and (self._rules.reads_any_shape or not row.is_list)
        )

    def _drained(self, world: World, name: str, release: str) -> World:
        """Delete what tombstones name, unless a row has it."""
        database = dict(world.databases)[name]
        seen = self._seen(world, database, release)
        for key, entry in sorted(database.ledger):
            if entry.state is not DOOMED:
                continue
            if not self._rules.looks_before_deleting and entry.checked:
                world = self._removed_and_noted(world, name, key)
            elif seen is None:
                continue
            elif key in seen:
                world = _restored(world, name, key)
            else:
                world = self._removed_and_noted(world, name, key)
        return world

    def _looks(self, world: World, name: str, release: str) -> Iterator[tuple[str, World]]:
        """Let a drain list what is doomed and look for it, and go on later."""
        database = dict(world.databases)[name]
        doomed = frozenset(item for item in database.ledger if item[1].state is DOOMED)
        seen = self._seen(world, database, release)
        if doomed and seen is not None and world.look is None:
            found = frozenset(item for item in doomed if item[0] in seen)
            yield f"{name} looks ({release})", world._replace(look=Look(name, doomed - found, found))

    def _concluded(self, world: World, look: Look) -> World:
        """Delete what the look found in no row, and restore what it found, if nobody has written the entry since."""
        world = world._replace(look=None)
        ledger = dict(dict(world.databases)[look.name].ledger)
        for key, listed in sorted(look.absent | look.found):
            entry = ledger.get(key)
            if (
                entry is None
                or entry.state is not DOOMED
                or (entry != listed and self._rules.claims_unchanged)
            ):
                continue
            if (key, listed) in look.found:
                world = _restored(world, look.name, key)
            else:
                world = self._removed_and_noted(world, look.name, key)
        return world

    def _swept(self, world: World, name: str, release: str) -> World:
        """Delete objects that neither the ledger nor a row knows; raise the generation."""
        database = dict(world.databases)[name]
        seen = self._seen(world, database, release)
        if seen is None or not self._may_conclude(world, name):
            return world
        place, known = _place(world, name), dict(database.ledger)
        folds = "fold names" in world.done
        for at, key in sorted(world.objects):
            listed = key.lower() if folds else key
            if at != place or listed in known or listed in seen:
                continue
            if folds and self._rules.knows_folding and listed in {each.lower() for each in (*known, *seen)}:
                continue
            world = self._removed(world, name, key)
        if not self._rules.absence_condemns_nothing_live:
            world = self._condemned(world, name, release, asked=False)
        return self._raised(world, name)

    def _condemned(self, world: World, name: str, release: str, *, asked: bool) -> World:
        """Delete live keys that no row has; only if an operator has asked, and not all of a table's."""
        database = dict(world.databases)[name]
        seen = self._seen(world, database, release)
        if seen is None or not self._may_remove(world, name):
            return world
        live = {key for key, entry in database.ledger if entry.state is LIVE}
        if asked and self._rules.limits_runs and live.isdisjoint(row.key for row in database.rows):
            return world
        for key in sorted(live - seen):
            world = self._removed_and_noted(world, name, key)
        return world

    def _raised(self, world: World, name: str) -> World:
        database = dict(world.databases)[name]
        if name != MAIN or database.generation >= 2:
            return world
        raised = database._replace(generation=database.generation + 1)
        marked = max(world.generations, raised.generation)
        return _with(world, name, raised)._replace(generations=marked)

    # What a database may do in a place

    def _is_elsewhere(self, world: World, name: str) -> bool:
        known = dict(world.databases)[name].place
        return self._rules.knows_its_place and known is not None and known != _place(world, name)

    def _may_remove(self, world: World, name: str) -> bool:
        if self._is_elsewhere(world, name):
            return False
        if name == COPY and self._rules.knows_copies:
            return False
        is_restored = name == MAIN and dict(world.databases)[name].generation < world.generations
        return not (is_restored and self._rules.counts_generations)

    def _may_conclude(self, world: World, name: str) -> bool:
        """Return whether the absence of a row says something of an object there."""
        known = dict(world.databases)[name].place
        others = {writer for place, writer in world.writers if place == _place(world, name)} - {name}
        is_sole = not others or not self._rules.knows_other_writers
        was_empty = not world.plain or not self._rules.knows_what_lay_there
        return self._may_remove(world, name) and known is not None and is_sole and was_empty

    def _removed_and_noted(self, world: World, name: str, key: str) -> World:
        if not self._may_remove(world, name):
            return world
        database = dict(world.databases)[name]
        ledger = frozenset((each, entry) for each, entry in database.ledger if each != key)
        return self._removed(_with(world, name, database._replace(ledger=ledger)), name, key)

    def _removed(self, world: World, name: str, key: str) -> World:
        """Delete an object, and note if a row names it."""
        place = _place(world, name)
        if (place, key) not in world.objects:
            return world
        after = world._replace(objects=world.objects - {(place, key)})
        if key in _named(after, place):
            return after._replace(lost=f"{key} in {place}")
        is_backed_up = any(row.key == key for backup in world.backups[:1] for row in backup.rows)
        return after._replace(gone=world.gone | {key}) if is_backed_up else after

    # SQL and operators

    def _migrations(self, world: World) -> Iterator[tuple[str, World]]:
        main = dict(world.databases)[MAIN]
        if self._may(world, "add column"):
            after = main._replace(recorded=main.recorded | {"b"}, floor=world.clock)
            yield "the new release adds column b", _done(_with(world, MAIN, after), "add column")
        if self._may(world, "copy column") and "add column" in world.done:
            copied = frozenset(row._replace(column="b") for row in main.rows if row.column == "a")
            keys = {row.key for row in copied}
            # as `copy_files` and triggers do, for keys that are younger than the column
            ledger = frozenset(
                (key, entry._replace(checked=entry.checked and (key not in keys or entry.born < main.floor)))
                for key, entry in main.ledger
            )
            after = main._replace(rows=main.rows | copied, ledger=ledger)
            yield "SQL copies column a to b", _done(_with(world, MAIN, after), "copy column")
        if self._may(world, "make lists"):
            after = main._replace(rows=frozenset(row._replace(is_list=True) for row in main.rows))
            yield "SQL makes lists of the files", _done(_with(world, MAIN, after), "make lists")
        if self._may(world, "rename column"):
            renamed = (row._replace(column="renamed") if row.column == "a" else row for row in main.rows)
            after = main._replace(rows=frozenset(renamed))
            yield "SQL renames column a", _done(_with(world, MAIN, after), "rename column")
        # what no trigger sees is not done while a drain runs
        if world.look is None:
            yield from self._puts_back(world, "put back")
        yield from self._puts_back(world, "put back under triggers")

    def _puts_back(self, world: World, act: str) -> Iterator[tuple[str, World]]:
        if not self._may(world, act):
            return
        main = dict(world.databases)[MAIN]
        for key, entry in main.ledger:
            if entry.state is not DOOMED or (HOME, key) not in world.objects:
                continue
            after = main
            if act == "put back under triggers" and self._rules.triggers_write_doomed:
                after = _rewritten(main, key, entry)
            after = after._replace(rows=after.rows | {Row(self._open_columns(world)[0], key)})
            yield f"SQL puts a row of {key} back", _done(_with(world, MAIN, after), act)

    def _operators(self, world: World) -> Iterator[tuple[str, World]]:
        main = dict(world.databases)[MAIN]
        for act in ("keep with trigger", "hide rows", "fold names"):
            if self._may(world, act):
                yield act, _done(world, act)
        if self._may(world, "archive with trigger") and "add column" in world.done:
            yield "archive with trigger", _done(world, "archive with trigger")
        if self._may(world, "load rows") and main.rows:
            emptied = _with(world, MAIN, main._replace(rows=frozenset()))
            yield "a load empties the table", _done(emptied._replace(loading=main.rows), "load rows")
        if world.loading:
            loaded = _with(world, MAIN, main._replace(rows=main.rows | world.loading))
            yield "the load ends", loaded._replace(loading=frozenset())
        if self._may(world, "copy database"):
            copied = frozenset({*world.databases, (COPY, main)})
            yield "copies the database", _done(world._replace(databases=copied), "copy database")
        if self._may(world, "mount elsewhere"):
            yield "mounts another place", _done(world._replace(mount=ELSEWHERE), "mount elsewhere")
        if self._may(world, "other application"):
            there = frozenset({*world.databases, (OTHER, Database())})
            yield "another application comes", _done(world._replace(databases=there), "other application")
        yield from self._restores(world, main)

    def _restores(self, world: World, main: Database) -> Iterator[tuple[str, World]]:
        if self._may(world, "back up"):
            yield "backs up", _done(world._replace(backups=(main,)), "back up")
        # a day has passed: a clone that is younger cannot be told
        if len(world.backups) == 1 and world.backups[0].generation < world.generations:
            restored = _with(world, MAIN, world.backups[0])
            after = restored._replace(backups=(*world.backups, main), loading=frozenset())
            yield "restores the backup", after
        if len(world.backups) == 2 and "forward" not in world.done:
            forward = _with(world, MAIN, world.backups[1])._replace(backups=(), loading=frozenset())
            yield "restores the latest state", _done(forward, "forward")

    def _may(self, world: World, act: str) -> bool:
        return act in self._acts and act not in world.done


def _place(world: World, name: str) -> str:
    """Return where a database's storage is: another application is where both may be, by its own choice."""
    if name == OTHER:
        return ELSEWHERE if "mount elsewhere" in world.done else HOME
    return world.mount


def _named(world: World, place: str) -> set[str]:
    """Return the keys in a place that rows name, or will name again; a copy's rows are no one's."""
    databases = dict(world.databases)
    named = set(world.plain) if place == HOME else set()
    if OTHER in databases and databases[OTHER].place == place:
        named |= {row.key for row in databases[OTHER].rows}
    latest = world.backups[1].rows if len(world.backups) == 2 else frozenset()
    if databases[MAIN].place in {None, place}:
        named |= {row.key for row in (*databases[MAIN].rows, *world.loading, *latest)} - world.gone
    return named


def _with(world: World, name: str, database: Database) -> World:
    return world._replace(databases=frozenset({**dict(world.databases), name: database}.items()))


def _noted(database: Database, key: str, entry: Entry) -> Database:
    return database._replace(ledger=frozenset({**dict(database.ledger), key: entry}.items()))


def _rewritten(database: Database, key: str, entry: Entry) -> Database:
    """Write an entry as it is: who has listed it before can tell."""
    return _noted(database, key, entry._replace(version=entry.version + 1))


def _restored(world: World, name: str, key: str) -> World:
    """Let a doomed key live again, for a row that has it."""
    database = dict(world.databases)[name]
    entry = dict(database.ledger)[key]
    return _with(world, name, _noted(database, key, entry._replace(state=LIVE, checked=False)))


def _done(world: World, act: str) -> World:
    return world._replace(done=world.done | {act})
