"""The protocol of ledger, rows and objects, small enough to try every order of its steps.

Two sessions, drains, a check that repairs and a sweep work on two or three rows, each a step at a
time: one statement or one request to the storage.  Between any two steps anybody else may do one, a
process may be killed, a statement may fail, and a COMMIT may be lost, applied or not.  Time does not
occur: no promise may rest on a grace period.

Where the code looks more often than it has to, the model does not: a sweep claims without a look, and
a drain does not look for a key that is checked.  A drain reads one row at a time, as it does in a
database without snapshots; a snapshot is one of these orders.

`explore` returns the first history that breaks a promise.  `Rules` are the guards of the protocol;
without any one of them there must be such a history, else the model proves nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import NamedTuple


class State(Enum):
    """What the ledger says of a key."""

    LIVE = "live"
    DOOMED = "doomed"
    GONE = "gone"


class Entry(NamedTuple):
    """A key's row in the ledger."""

    state: State
    checked: bool


Row = tuple[str, ...] | None
"""The files of a row, a list, by key; `~K` is K as a row of advanced-alchemy names it. None: no row."""
Rows = tuple[Row, ...]
Step = tuple[str, str]
"""What is done, and to which key."""


class Session(NamedTuple):
    """One transaction, and what its process does after it."""

    todo: tuple[Step, ...] = (("load", ""),)
    seen: Rows = ()
    """What it read when it began."""
    rows: Rows = ()
    """What it writes."""
    entries: frozenset[tuple[str, Entry]] = frozenset()
    """What it writes into the ledger."""
    stored: frozenset[str] = frozenset()
    """What it uploaded, to be deleted if it rolls back."""
    recorded: frozenset[str] = frozenset()
    """What it put into the ledger as new."""
    deletable: frozenset[str] = frozenset()
    """What it deletes after the commit."""


class Drain(NamedTuple):
    """What one drain does with one key."""

    key: str
    step: str
    row: int = 0
    """Which row it reads next."""
    is_stale: bool = False
    """Whether somebody else has written the key's entry since it was listed."""


class Repair(NamedTuple):
    """A doomed key that a check has found in a row."""

    key: str
    is_stale: bool = False
    """Whether somebody has written the key's entry since it was read."""


class World(NamedTuple):
    """Everything."""

    rows: Rows
    ledger: frozenset[tuple[str, Entry]]
    objects: frozenset[str]
    sessions: tuple[Session, ...] = (Session(), Session())
    locks: frozenset[tuple[str, int]] = frozenset()
    """Rows and ledger keys, and the session that has written them."""
    drains: tuple[Drain | None, ...] = (None,)
    repair: Repair | None = None
    sweep: Step | None = None
    condemns: bool = False
    """Whether the sweep will doom a live key, once: an operator has asked, and it looked long ago."""
    lost: bool = False
    """Whether a session removed a file that it never saw."""


@dataclass(frozen=True)
class Rules:
    """The guards of the protocol; each is there."""

    uploads_before_rows: bool = True
    deletes_after_commit: bool = True
    keeps_content_of_unknown: bool = True
    tells_sweep_from_commit: bool = True
    compares_rows: bool = True
    locks_rows: bool = True
    asserts_kept: bool = True
    never_revives: bool = True
    keeps_fence: bool = True
    sweeps_by_fence: bool = True
    looks_up_unchecked: bool = True
    doubts_foreign_rows: bool = True
    looks_after_listing: bool = True
    claims_unchanged: bool = True
    restores_unchanged: bool = True
    repairs_unchanged: bool = True
    rewrites_doomed: bool = True
    locks_found_restored: bool = True


class Operation(NamedTuple):
    """What a session does to rows, by their number."""

    written: tuple[int, ...]
    change: Callable[[Rows, str], Mapping[int, Row]]
    """Makes of the rows as they are, and of a new key, those to be written."""
    new: str = ""
    """How its new content comes: by a put before the rows are read, a copy after it, or staged long ago."""


OPERATIONS = {
    "replace": Operation((0,), lambda rows, key: {0: (key,)}, "put"),
    "append": Operation((0,), lambda rows, key: {0: (*_files(rows[0]), key)}, "put"),
    "pop": Operation((0,), lambda rows, key: {0: _files(rows[0])[1:]}),
    "touch": Operation((0,), lambda rows, key: {0: rows[0]}),
    "touch other": Operation((1,), lambda rows, key: {1: rows[1]}),
    "delete": Operation((0,), lambda rows, key: {0: None}),
    "delete other": Operation((1,), lambda rows, key: {1: None}),
    "delete third": Operation((2,), lambda rows, key: {2: None}),
    "move": Operation((0, 1), lambda rows, key: {0: (), 1: rows[0]}),
    "swap": Operation((0, 1), lambda rows, key: {0: rows[1], 1: rows[0]}),
    "copy": Operation((1,), lambda rows, key: {1: (key,)}, "copy"),
    "attach": Operation((0,), lambda rows, key: {0: ("S",)}, "staged"),
}

LIVE, DOOMED, GONE = State
SURE, UNSURE = True, False

WORLDS = {
    "owned": World(
        (("A", "B"), ("C",)), frozenset((key, Entry(LIVE, SURE)) for key in "ABC"), frozenset("ABC")
    ),
    # written without a ledger, and shared by two rows
    "adopted": World((("F",), ("F",)), frozenset(), frozenset("F")),
    # a row of advanced-alchemy names what another row owns
    "foreign": World((("A",), ("~A",)), frozenset({("A", Entry(LIVE, SURE))}), frozenset("A")),
    # written without a ledger, shared by three rows, and one of them has let go of it
    "doomed": World(
        ((), ("F",), ("F",)),
        frozenset({("F", Entry(DOOMED, UNSURE))}),
        frozenset("F"),
        drains=(None, None),
        condemns=True,
    ),
}


class Violation(NamedTuple):
    """A broken promise, and the steps to it."""

    what: str
    history: tuple[str, ...]


class Outcome(NamedTuple):
    """What was explored."""

    worlds: int
    ends: int
    """Worlds in which nobody has anything left to do."""
    violation: Violation | None


DANGLES = "a row refers to nothing"
LOST = "a file was removed that nobody saw"
WAITS = "everybody waits"
STAYS = "an object stays for ever"
RECORDED = "the ledger holds a key for ever"
PROMISES = frozenset({DANGLES, LOST, WAITS, STAYS, RECORDED})
"""None of it ever happens."""

REAL = Rules()

IN_TRANSACTION = frozenset(
    {"put", "lock", "copy", "insert", "doom", "doom2", "doom3", "keep", "keep2", "commit"}
)


def explore(
    start: World,
    operations: tuple[str, str],
    rules: Rules = REAL,
    promises: frozenset[str] = PROMISES,
) -> Outcome:
    """Try every order of steps, the short histories first, until one breaks one of *promises*."""
    model = Model(operations, rules)
    if any(OPERATIONS[name].new == "staged" for name in operations):
        start = start._replace(objects=start.objects | {"S"})
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    waiting = deque([start])
    ends = 0
    while waiting:
        world = waiting.popleft()
        following = list(model.steps(world))
        ends += not following
        if (what := _broken(world, is_end=not following)) in promises:
            return Outcome(len(came_from), ends, Violation(what, _history(world, came_from)))
        for label, after in following:
            if after not in came_from:
                came_from[after] = world, label
                waiting.append(after)
    return Outcome(len(came_from), ends, None)


def _broken(world: World, *, is_end: bool) -> str | None:
    """Return which promise *world* breaks."""
    referenced = _referenced(world.rows)
    if not referenced <= world.objects:
        return DANGLES
    if world.lost:
        return LOST
    if not is_end:
        return None
    if any(session.todo for session in world.sessions):
        return WAITS
    if world.objects - referenced:
        return STAYS
    if {key for key, entry in world.ledger if entry.state is LIVE} - referenced:
        return RECORDED
    return None


class Model:
    """The steps that can be done."""

    def __init__(self, operations: tuple[str, str], rules: Rules) -> None:
        self._operations = [OPERATIONS[name] for name in operations]
        self._rules = rules

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Yield each step that somebody can do now, and the world after it."""
        for who, session in enumerate(world.sessions):
            if not session.todo:
                continue
            (step, key), *_ = session.todo
            for label, after in self._session_step(world, who, session, step, key):
                yield f"{who} {label} {key}".strip(), after
            if step not in {"load", "sent"}:
                yield f"{who} is killed", _with(_released(world, who), who, Session(todo=()))
            # without an upload a rollback leaves what a kill leaves
            if session.stored and step in IN_TRANSACTION:
                yield f"{who} rolls back", self._rolled_back(world, who)
        for who, drain in enumerate(world.drains):
            yield from self._drain_lists(world, who) if drain is None else self._drain_step(world, who, drain)
        yield from self._repair_step(world)
        yield from self._sweep_step(world)

    # A session

    def _session_step(
        self, world: World, who: int, session: Session, step: str, key: str
    ) -> Iterator[tuple[str, World]]:
        if step == "load":
            if all(world.rows[number] is not None for number in self._operations[who].written):
                yield "loads", _with(world, who, self._loaded(world, who))
            else:
                yield "finds no row", _with(world, who, Session(todo=()))
        elif step in {"put", "late put"}:
            after = session._replace(todo=session.todo[1:], stored=session.stored | {key})
            yield "puts", _with(world, who, after)._replace(objects=world.objects | {key})
        elif step == "copy":
            yield from self._copy(world, who, session, key)
        elif step == "early delete":
            gone = world._replace(objects=world.objects - session.deletable)
            yield "deletes early", _with(gone, who, session._replace(todo=session.todo[1:]))
        elif step == "lock":
            yield from self._lock(world, who, session, key)
        elif step in {"insert", "doom", "doom2", "doom3", "keep", "keep2"}:
            yield from self._write_ledger(world, who, session, step, key)
        elif step in {"commit", "sent"}:
            yield from self._commit(world, who, session, step)
        else:
            yield from self._conclude(world, who, session, step)

    def _loaded(self, world: World, who: int) -> Session:
        operation = self._operations[who]
        puts = [("put", _new(who))] if operation.new == "put" and self._rules.uploads_before_rows else []
        locks = [("lock", str(number)) for number in operation.written]
        return Session(todo=(*puts, *locks), seen=world.rows)

    def _copy(self, world: World, who: int, session: Session, key: str) -> Iterator[tuple[str, World]]:
        """Copy row 0's file as the session saw it, if it is still there."""
        origins = _keys(session.seen[0])
        if not origins or origins[0] not in world.objects:
            yield "finds nothing to copy", self._rolled_back(world, who)
            return
        after = session._replace(todo=session.todo[1:], stored=session.stored | {key})
        yield "copies to", _with(world, who, after)._replace(objects=world.objects | {key})

    def _lock(self, world: World, who: int, session: Session, row: str) -> Iterator[tuple[str, World]]:
        """Lock the rows, compare them with what was seen, and decide."""
        locked = world
        if self._rules.locks_rows:
            if _is_locked(world, row, who):
                return
            locked = world._replace(locks=world.locks | {(row, who)})
        if len(session.todo) > 1 and session.todo[1][0] == "lock":
            yield "locks row", _with(locked, who, session._replace(todo=session.todo[1:]))
            return
        written = self._operations[who].written
        is_changed = any(world.rows[number] != session.seen[number] for number in written)
        if is_changed and (
            self._rules.compares_rows or any(world.rows[number] is None for number in written)
        ):
            yield "finds another's change in row", self._rolled_back(world, who)
        else:
            yield "locks row", _with(locked, who, self._planned(world, who, session))

    def _planned(self, world: World, who: int, session: Session) -> Session:
        operation, new = self._operations[who], _new(who)
        change = operation.change(session.seen, new)
        before = {ref for number in operation.written for ref in _files(world.rows[number])}
        after = {ref for row in change.values() for ref in _files(row)}
        held, wanted = {_key(ref) for ref in before}, {_key(ref) for ref in after}
        # a row of advanced-alchemy is written as it is: its form says nothing of the object
        doubted = (
            {_key(ref) for ref in before if ref.startswith("~")} if self._rules.doubts_foreign_rows else set()
        )
        todo: list[Step] = []
        if operation.new == "copy":
            todo.append(("copy", new))
        todo += [("insert", key) for key in sorted(wanted - held)]
        todo += [("doom2" if key in doubted else "doom", key) for key in sorted(held - wanted)]
        if self._rules.asserts_kept:
            todo += [("keep", key) for key in sorted(held & wanted)]
        if not self._rules.deletes_after_commit:
            todo.append(("early delete", ""))
        todo.append(("commit", ""))
        if operation.new == "put" and not self._rules.uploads_before_rows:
            todo.append(("late put", new))
        rows = tuple(change.get(number, ("",)) for number in range(len(world.rows)))
        return session._replace(todo=tuple(todo), rows=rows)

    def _write_ledger(
        self, world: World, who: int, session: Session, step: str, key: str
    ) -> Iterator[tuple[str, World]]:
        if step != "doom2" and _is_locked(world, key, who):
            return
        entry = dict(world.ledger).get(key)
        is_live = entry is not None and entry.state is LIVE
        match step:
            case "insert":
                if entry is not None:
                    yield "is fenced off", self._rolled_back(world, who)
                else:
                    yield "inserts", self._written(world, who, key, Entry(LIVE, SURE), is_new=True)
            case "doom":
                if entry == Entry(LIVE, SURE):
                    yield "dooms", self._written(world, who, key, Entry(DOOMED, SURE), deletes=True)
                else:
                    yield "dooms nothing", _then(world, who, session, ("doom2", key))
            case "doom2":
                # SELECT: waits for nobody, and what it says may be over by the next statement
                yield from self._doubt(world, who, session, key, entry)
            case "doom3":
                yield from self._doom_doubted(world, who, session, key, entry)
            case "keep":
                if is_live or (entry is not None and not self._rules.never_revives):
                    yield "keeps", self._written(world, who, key, Entry(LIVE, entry.checked))  # type: ignore[union-attr]
                else:
                    yield "keeps nothing", _then(world, who, session, ("keep2", key))
            case _:
                if entry is None:
                    yield "adopts", self._written(world, who, key, Entry(LIVE, UNSURE))
                elif is_live:
                    again = (("keep", key),) if self._rules.locks_found_restored else ()
                    yield "finds restored", _then(world, who, session, *again)
                else:
                    yield "finds doomed", self._rolled_back(world, who)

    def _doubt(
        self, world: World, who: int, session: Session, key: str, entry: Entry | None
    ) -> Iterator[tuple[str, World]]:
        if entry is None:
            if not _is_locked(world, key, who):
                deletes = not self._rules.looks_up_unchecked
                after = self._written(world, who, key, Entry(DOOMED, UNSURE), deletes=deletes)
                yield "dooms unknown", after
        elif entry.state is GONE:
            yield "finds gone", _then(world, who, session)
        else:
            yield "looks up", _then(world, who, session, ("doom3", key))

    def _doom_doubted(
        self, world: World, who: int, session: Session, key: str, entry: Entry | None
    ) -> Iterator[tuple[str, World]]:
        """Doom a key that rows may share; one that is doomed already is written again, so that a drain sees it."""
        is_foreign = any(ref == f"~{key}" for row in session.seen for ref in _files(row))
        is_doomed = entry is not None and entry.state is DOOMED
        is_sure = is_doomed and entry.checked and not is_foreign  # type: ignore[union-attr]
        if entry is None or entry.state is GONE:
            yield "dooms nothing", _then(world, who, session)
        elif is_doomed and not self._rules.rewrites_doomed:
            more = frozenset({key}) if is_sure else frozenset[str]()
            yield "finds doomed", _then(world, who, session._replace(deletable=session.deletable | more))
        else:
            deletes = is_sure or not self._rules.looks_up_unchecked
            yield (
                "dooms again" if is_doomed else "dooms unchecked",
                self._written(world, who, key, Entry(DOOMED, is_sure), deletes=deletes),
            )

    def _written(
        self, world: World, who: int, key: str, entry: Entry, *, is_new: bool = False, deletes: bool = False
    ) -> World:
        session = world.sessions[who]
        after = session._replace(
            todo=session.todo[1:],
            entries=session.entries | {(key, entry)},
            recorded=session.recorded | {key} if is_new else session.recorded,
            deletable=session.deletable | {key} if deletes else session.deletable,
        )
        return _with(world._replace(locks=world.locks | {(key, who)}), who, after)

    def _rolled_back(self, world: World, who: int) -> World:
        session = world.sessions[who]
        todo: tuple[Step, ...] = (("undo", ""),) if session.stored else ()
        return _with(_released(world, who), who, Session(todo=todo, stored=session.stored))

    def _commit(self, world: World, who: int, session: Session, step: str) -> Iterator[tuple[str, World]]:
        after = session.todo[1:]
        ask: tuple[Step, ...] = (("ask", ""),) if session.recorded else ()
        if not self._rules.keeps_content_of_unknown:
            ask = (("undo", ""),) if session.stored else ()
        if step == "commit":
            rest: tuple[Step, ...] = (("unlink", ""),) if session.deletable else ()
            yield "commits", _with(self._committed(world, who), who, session._replace(todo=(*after, *rest)))
            yield (
                "loses the answer to COMMIT",
                _with(world, who, session._replace(todo=(("sent", ""), *after))),
            )
        else:
            known = session._replace(todo=(*after, *ask))
            yield "has committed", _with(self._committed(world, who), who, known)
            yield "has not committed", _with(_released(world, who), who, known)

    def _committed(self, world: World, who: int) -> World:
        session = world.sessions[who]
        rows = tuple(
            new if number in self._operations[who].written else old
            for number, (old, new) in enumerate(zip(world.rows, session.rows, strict=True))
        )
        dropped = _referenced(world.rows) - _referenced(rows)
        return self._update(_released(world, who), dict(session.entries))._replace(
            rows=rows,
            lost=world.lost or not dropped <= _referenced(session.seen),
        )

    def _conclude(self, world: World, who: int, session: Session, step: str) -> Iterator[tuple[str, World]]:
        """Do what is left when the transaction has ended."""
        ledger = dict(world.ledger)
        match step:
            case "undo":
                gone = world._replace(objects=world.objects - session.stored)
                yield "deletes its own", _with(gone, who, Session(todo=()))
            case "ask":
                entry = ledger.get(min(session.recorded))
                is_there = entry is not None and (entry.checked or not self._rules.tells_sweep_from_commit)
                if is_there:
                    rest: tuple[Step, ...] = (("unlink", ""),) if session.deletable else ()
                    yield "hears yes", _with(world, who, session._replace(todo=rest))
                else:
                    yield "hears no", self._rolled_back(world, who)
            case "unlink":
                gone = world._replace(objects=world.objects - session.deletable)
                yield "deletes", _with(gone, who, session._replace(todo=(("note", ""),)))
            case _:
                if not any(_is_locked(world, key, who) for key in session.deletable):
                    noted = {
                        key: self._gone(entry) for key, entry in ledger.items() if key in session.deletable
                    }
                    yield "notes", _with(self._update(world, noted), who, Session(todo=()))

    def _gone(self, entry: Entry) -> Entry | None:
        return Entry(GONE, entry.checked) if self._rules.keeps_fence else None

    # The workers

    def _update(self, world: World, entries: Mapping[str, Entry | None]) -> World:
        """Write entries: what drains and checks have seen of these keys is over."""
        ledger: dict[str, Entry | None] = {**dict(world.ledger), **entries}
        changed = frozenset((key, entry) for key, entry in ledger.items() if entry is not None)
        drains, repair = world.drains, world.repair
        for who, drain in enumerate(drains):
            if drain is not None and drain.key in entries:
                drains = (*drains[:who], self._outdated(drain), *drains[who + 1 :])
        if repair is not None and repair.key in entries:
            repair = None if self._rules.repairs_unchanged else repair._replace(is_stale=True)
        return world._replace(ledger=changed, drains=drains, repair=repair)

    def _outdated(self, drain: Drain) -> Drain | None:
        """Return a drain whose key somebody else has written; None if it can only leave the key alone now."""
        rules = self._rules
        compares = {
            "look": rules.looks_after_listing and rules.claims_unchanged and rules.restores_unchanged,
            "claim": rules.claims_unchanged,
            "restore": rules.restores_unchanged,
        }
        if drain.step not in compares:
            return drain
        return None if compares[drain.step] else drain._replace(is_stale=True)

    def _drain_lists(self, world: World, who: int) -> Iterator[tuple[str, World]]:
        """List one key that is due, without any lock.

        In one step with what follows: had the entry been written in between, the drain could do nothing.
        """
        for key, entry in world.ledger:
            if not self._rules.looks_after_listing:
                if entry.state is not GONE:
                    yield f"drain looks early for {key}", _draining(world, who, Drain(key, "look"))
            elif entry.state is not DOOMED:
                continue
            elif entry.checked or not self._rules.looks_up_unchecked:
                yield from self._drain_claims(world, who, Drain(key, "claim"))
            else:
                looked = self._looked(world, Drain(key, "look"))
                yield f"drain lists and reads row 0 for {key}", _draining(world, who, looked)

    def _drain_step(self, world: World, who: int, drain: Drain) -> Iterator[tuple[str, World]]:
        key = drain.key
        yield f"drain leaves {key}", _draining(world, who, None)
        match drain.step:
            case "look":
                looked = self._looked(world, drain)
                yield f"drain reads row {drain.row} for {key}", _draining(world, who, looked)
            case "claim":
                yield from self._drain_claims(world, who, drain)
            case "restore":
                if self._may_write(world, drain, unchanged=self._rules.restores_unchanged):
                    restored = self._update(world, {key: Entry(LIVE, UNSURE)})
                    yield f"drain restores {key}", _draining(restored, who, None)
            case "delete":
                deleted = world._replace(objects=world.objects - {key})
                yield f"drain deletes {key}", _draining(deleted, who, Drain(key, "note"))
            case _:
                if not _is_locked(world, key):
                    entry = dict(world.ledger).get(key)
                    noted = {key: self._gone(entry)} if entry is not None and entry.state is DOOMED else {}
                    yield f"drain notes {key}", _draining(self._update(world, noted), who, None)

    def _drain_claims(self, world: World, who: int, drain: Drain) -> Iterator[tuple[str, World]]:
        key = drain.key
        if self._may_write(world, drain, unchanged=self._rules.claims_unchanged):
            # as before, and yet written: the lease ends later
            leased = self._update(world, {key: dict(world.ledger)[key]})
            yield f"drain claims {key}", _draining(leased, who, Drain(key, "delete"))

    def _looked(self, world: World, drain: Drain) -> Drain:
        """Return the drain after it has read one row."""
        is_found = drain.key in _keys(world.rows[drain.row])
        if not is_found and drain.row + 1 < len(world.rows):
            return drain._replace(row=drain.row + 1)
        is_stale = drain.is_stale and self._rules.looks_after_listing
        return Drain(drain.key, "restore" if is_found else "claim", is_stale=is_stale)

    def _may_write(self, world: World, seen: Drain | Repair, *, unchanged: bool) -> bool:
        """Return whether a key is as it was seen; what others have locked is passed over."""
        entry = dict(world.ledger).get(seen.key)
        is_doomed = entry is not None and entry.state is DOOMED
        return is_doomed and not (unchanged and seen.is_stale) and not _is_locked(world, seen.key)

    def _repair_step(self, world: World) -> Iterator[tuple[str, World]]:
        """Let a check find a doomed key in a row, and later restore it."""
        if (repair := world.repair) is not None:
            yield f"check leaves {repair.key}", world._replace(repair=None)
            if self._may_write(world, repair, unchanged=self._rules.repairs_unchanged):
                restored = self._update(world, {repair.key: Entry(LIVE, UNSURE)})
                yield f"check restores {repair.key}", restored._replace(repair=None)
            return
        for key, entry in world.ledger:
            if entry.state is DOOMED and key in _referenced(world.rows):
                yield f"check finds {key}", world._replace(repair=Repair(key))

    def _sweep_step(self, world: World) -> Iterator[tuple[str, World]]:
        if world.sweep is not None:
            _, key = world.sweep
            yield "sweep is killed", world._replace(sweep=None)
            yield f"sweep deletes {key}", world._replace(objects=world.objects - {key}, sweep=None)
            return
        known = dict(world.ledger)
        for key in world.objects:
            entry = known.get(key)
            if entry is not None and entry.state is GONE:
                yield f"sweep deletes late {key}", world._replace(objects=world.objects - {key})
            elif entry is not None and world.condemns and entry.state is LIVE and not _is_locked(world, key):
                condemned = self._update(world, {key: Entry(DOOMED, UNSURE)})
                yield f"sweep condemns {key}", condemned._replace(condemns=False)
            elif entry is None and not _is_locked(world, key):
                if self._rules.sweeps_by_fence:
                    yield f"sweep claims {key}", self._update(world, {key: Entry(DOOMED, UNSURE)})
                elif key not in _referenced(world.rows):
                    yield f"sweep finds {key}", world._replace(sweep=("delete", key))


def _new(who: int) -> str:
    return f"N{who}"


def _key(ref: str) -> str:
    return ref.removeprefix("~")


def _files(row: Row) -> tuple[str, ...]:
    return row or ()


def _keys(row: Row) -> list[str]:
    return [_key(ref) for ref in _files(row)]


@cache
def _referenced(rows: Rows) -> frozenset[str]:
    return frozenset(key for row in rows for key in _keys(row))


def _is_locked(world: World, what: str, who: int | None = None) -> bool:
    """Return whether somebody else has written *what* and not committed."""
    return any(locked == what and holder != who for locked, holder in world.locks)


def _released(world: World, who: int) -> World:
    return world._replace(locks=frozenset(lock for lock in world.locks if lock[1] != who))


def _with(world: World, who: int, session: Session) -> World:
    if not session.todo:
        # what it knew does not matter any more
        session = Session(todo=())
    sessions = (*world.sessions[:who], session, *world.sessions[who + 1 :])
    return world._replace(sessions=sessions)


def _then(world: World, who: int, session: Session, *first: Step) -> World:
    return _with(world, who, session._replace(todo=(*first, *session.todo[1:])))


def _draining(world: World, who: int, drain: Drain | None) -> World:
    return world._replace(drains=(*world.drains[:who], drain, *world.drains[who + 1 :]))


def _history(world: World, came_from: Mapping[World, tuple[World, str] | None]) -> tuple[str, ...]:
    labels: list[str] = []
    while (origin := came_from[world]) is not None:
        world, label = origin
        labels.append(label)
    return tuple(reversed(labels))
