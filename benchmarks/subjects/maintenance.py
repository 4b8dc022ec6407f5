"""Sweeps, checks and drains of many keys: what each costs as they become more, and who waits for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from benchmarks.contenders.base import NotDoneError, Place
from benchmarks.measuring import Measure, Sample, sampled

if TYPE_CHECKING:
    from benchmarks.maintenance.filling import Filling, Others
    from benchmarks.maintenance.world import Run

SIZES = (50_000, 100_000, 200_000)
BESIDE_KEYS = 200_000
MILLION_KEYS = 1_000_000
SHARE_DUE = 10
"""Of a million keys one in so many is due."""
LIMIT = 600.0
"""Seconds that an operation may take, twice what it should for a million keys."""
ALONE = 20_000
"""Keys for which a writer works a second by itself."""

T = TypeVar("T")


class Maintained:
    """filecolumn, in a process that itself opens no database: each run has a fork of it."""

    name: ClassVar[str] = "filecolumn"
    can: ClassVar[frozenset[str]] = frozenset({"maintenance"})

    def __init__(self, place: Place) -> None:
        import benchmarks.maintenance.world  # noqa: F401, PLC0415 - imported here, no fork has to

        self.place = place
        self._filling: Filling | None = None
        """What the tables have."""

    def fill(self, filling: Filling) -> None:
        """Fill the tables, unless that is what they have."""
        from benchmarks.maintenance.world import make  # noqa: PLC0415 - other contenders must not have it

        if self._filling != filling:
            apart(make, self.place, filling)
            self._filling = filling

    def run(self, run: Run) -> Sample:
        """Do it on tables that are filled as it wants them."""
        self.fill(run.filling)
        sample = apart(run.measured, self.place)
        if run.changes:
            self.spent()
        return sample

    def spent(self) -> None:
        """Forget what the tables have: they are filled anew."""
        self._filling = None


def apart(work: Callable[..., T], *arguments: Any) -> T:
    """Call *work* in a fork of this process: its memory is new, and nothing that others know helps it."""
    forking = get_context("fork")
    receiving, sending = forking.Pipe(duplex=False)
    process = forking.Process(target=_answer, args=(os.getpid(), sending, work, arguments))
    process.start()
    sending.close()
    try:
        if not receiving.poll(LIMIT):
            raise NotDoneError(f"it takes longer than {LIMIT:.0f} s")
        outcome, error = receiving.recv()
    except EOFError as died:
        raise NotDoneError("the process that did it has died") from died
    finally:
        process.kill()
        process.join()
    if error:
        raise NotDoneError(error)
    return cast("T", outcome)


def _answer(
    parent: int, sending: Connection, work: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        answer = work(*arguments), ""
    except Exception as error:  # noqa: BLE001 - whatever it fails with is shown
        traceback.print_exc()
        answer = None, f"{type(error).__name__}: {error}"
    sending.send(answer)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, by whatever signal."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is measured with any number of keys."""

    name: str
    title: str
    call: str
    """The operation's name in `benchmarks.maintenance.world`."""
    others: Others = "none"
    has_orphans: bool = False

    def run(self, keys: int, *, journal: Literal["delete", "wal"] = "delete") -> Run:
        """Return it with as many rows as it has keys."""
        from benchmarks.maintenance.filling import Filling  # noqa: PLC0415 - see `Maintained.fill`
        from benchmarks.maintenance.world import Run  # noqa: PLC0415 - see `Maintained.fill`

        other_keys = 0 if self.others == "none" else keys
        filling = Filling(rows=keys, others=self.others, other_keys=other_keys, journal=journal)
        return Run(operation=self.call, filling=filling, keys=keys, has_orphans=self.has_orphans)


SWEEP = Operation(name="sweep", title="sweep", call="sweep")
CHECK = Operation(name="check", title="check", call="check")
DRAIN = Operation(
    name="drain", title="drain a backlog of checked keys beside as many rows", call="drain", others="checked"
)
DRAIN_UNCHECKED = Operation(
    name="drain-unchecked",
    title="drain a backlog of unchecked keys beside as many rows",
    call="drain",
    others="unchecked",
)
OPERATIONS = (
    SWEEP,
    CHECK,
    Operation(
        name="sweep-orphans",
        title="sweep, half of the objects being orphans",
        call="sweep-orphans",
        has_orphans=True,
    ),
    Operation(
        name="check-rowless",
        title="check, half of the live keys having no row",
        call="check-rowless",
        others="rowless",
    ),
    Operation(
        name="sweep-rowless",
        title="sweep, half of the live keys having no row",
        call="sweep-rowless",
        others="rowless",
    ),
    Operation(name="status", title="status of a backlog", call="status", others="unchecked"),
    DRAIN_UNCHECKED,
    DRAIN,
)


def work_of(operation: Operation) -> Callable[[Maintained, int, int], Sample]:
    """Return what measures an operation."""

    def work(contender: Maintained, _times: int, keys: int) -> Sample:
        return contender.run(operation.run(keys))

    return work


# --- a writer beside


def beside(operation: Operation | None, journal: Literal["delete", "wal"]) -> Callable[..., Sample]:
    """Return what measures a writer beside an operation, or by itself."""

    def work(contender: Maintained, _times: int, keys: int) -> Sample:
        run = (operation or SWEEP).run(keys, journal=journal)
        contender.fill(run.filling)
        writer = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.maintenance.writer", json.dumps(asdict(contender.place))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        try:
            writer.stdout.readline()
            sample = _alone(keys) if operation is None else apart(run.measured, contender.place)
            # ends its input, at which it says what it took
            said, _ = writer.communicate(timeout=120)
        finally:
            writer.kill()
            contender.spent()
        return sample | _waits(json.loads(said))

    return work


def _alone(keys: int) -> Sample:
    with sampled(1) as sample:
        time.sleep(keys / ALONE)
    return sample | {"wall s": sample["wall"]}


def _waits(said: dict[str, Any]) -> Sample:
    """Return how long the commits of a writer took, in milliseconds."""
    sample: Sample = {"failed": float(said["failed"]), "stalled ms": said["stalled"] * 1000}
    for name, seconds in said["waits"].items():
        sample |= {
            f"{name} p50 ms": median(seconds) * 1000,
            f"{name} p99 ms": quantiles(seconds, n=100, method="inclusive")[98] * 1000,
            f"{name} longest ms": max(seconds) * 1000,
            f"{name} commits": float(len(seconds)),
        }
    longest = (max(seconds) for seconds in said["waits"].values())
    return sample | {"longest ms": max(longest) * 1000}


# --- a million keys


def of_a_million(call: str) -> Callable[[Maintained, int, int], Sample]:
    """Return what measures an operation on a million rows, one in ten keys more being due."""

    def work(contender: Maintained, _times: int, keys: int) -> Sample:
        from benchmarks.maintenance.filling import Filling  # noqa: PLC0415 - see `Maintained.fill`
        from benchmarks.maintenance.world import Run  # noqa: PLC0415 - see `Maintained.fill`

        due = max(1, keys // SHARE_DUE)
        filling = Filling(rows=keys, others="unchecked", other_keys=due, has_triggers=True)
        run = Run(operation=call, filling=filling, keys=due if call == "drain" else keys)
        return contender.run(run)

    return work


CONTENDERS: dict[str, type[Any]] = {Maintained.name: Maintained}
# to fill the tables takes its time too
measure = partial(Measure, needs="maintenance", item="key", rounds=1, limit=2 * LIMIT)
MEASURES = tuple(
    measure(
        name=f"{operation.name}-{keys}",
        title=f"{operation.title}, {keys:,} keys",
        work=work_of(operation),
        amount=keys,
        quick=keys // 100,
        metrics=("cpu", "wall", "all cpu", "cpu s", "server cpu s", "wall s", "statements", "growth MiB"),
    )
    for keys in SIZES
    for operation in OPERATIONS
)
_WRITER = ("p50 ms", "p99 ms", "longest ms", "commits")
BESIDE = tuple(
    measure(
        name=f"{journal}-{name}",
        title=f"a writer beside {title} of {BESIDE_KEYS:,} keys, {journal} journal",
        work=beside(operation, journal),
        amount=BESIDE_KEYS,
        quick=BESIDE_KEYS // 100,
        metrics=(
            "longest ms",
            *(f"{writer} {figure}" for writer in ("session", "plain") for figure in _WRITER),
            "failed",
            "stalled ms",
            "wall s",
        ),
    )
    for journal in ("delete", "wal")
    for name, title, operation in (
        ("alone", "none, with a table", None),
        *(
            (operation.name, f"a {operation.name}", operation)
            for operation in (SWEEP, CHECK, DRAIN, DRAIN_UNCHECKED)
        ),
    )
)
MILLION = tuple(
    measure(
        name=call,
        title=f"{call}, {MILLION_KEYS:,} rows and {MILLION_KEYS // SHARE_DUE:,} keys that are due",
        work=of_a_million(call),
        amount=MILLION_KEYS,
        quick=MILLION_KEYS // 100,
        metrics=("wall s", "cpu s", "server cpu s", "all cpu", "statements", "growth MiB"),
    )
    for call in ("sweep", "check", "drain")
)
