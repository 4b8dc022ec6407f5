"""Make a process fail at a named place: die, raise, wait, or do whatever a test says.

`failing("commit.before", kill)` does so in this process; `install_from_environment` in one that a
test starts, which finds in `FILECOLUMN_FAILPOINTS` what it is to do, such as
`commit.before=kill@2` (at the second hit), `put.after_part=sleep:0.1` or `flush.after_ledger=raise`,
separated by `;`.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial

from filecolumn._failpoints import set_hook

__all__ = ("FAILPOINTS", "VARIABLE", "FailpointError", "failing", "install_from_environment", "kill")

VARIABLE = "FILECOLUMN_FAILPOINTS"
"""Name of the environment variable that `install_from_environment` reads."""

FAILPOINTS = (
    "put.before",
    "put.after_part",
    "put.before_complete",
    "put.after_complete",
    "flush.before_ledger",
    "flush.after_ledger",
    "flush.after_row",
    "commit.before",
    "commit.after",
    "rollback.before_eager",
    "rollback.after_eager",
    "drain.before_claim",
    "drain.after_claim",
    "drain.before_delete",
    "drain.after_delete",
    "drain.before_gone",
    "sweep.after_list",
    "sweep.before_claim",
    "sweep.after_claim",
)
"""The names of all places, in the order in which a file passes them."""

Action = Callable[[], object]


class FailpointError(RuntimeError):
    """What the action `raise` raises."""


def kill() -> None:
    """End this process at once, without any clean-up, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def failing(name: str, action: Action, *, hit: int = 1) -> Generator[None]:
    """Call *action* when this process reaches the place *name* for the *hit*-th time, within a `with` block.

    Raises ValueError for an unknown place.
    """
    _install({name: (action, hit)})
    try:
        yield
    finally:
        set_hook(None)


def install_from_environment() -> None:
    """Do what the environment variable `FILECOLUMN_FAILPOINTS` says, if it is set."""
    text = os.environ.get(VARIABLE, "")
    _install(dict(map(_parsed, filter(None, text.split(";")))))


def _install(actions: Mapping[str, tuple[Action, int]]) -> None:
    if unknown := actions.keys() - set(FAILPOINTS):
        raise ValueError(f"there is no failpoint {min(unknown)!r}; there are {', '.join(FAILPOINTS)}")
    hits: Counter[str] = Counter()

    def come_to(name: str) -> None:
        if name not in actions:
            return
        hits[name] += 1
        action, hit = actions[name]
        if hits[name] == hit:
            action()

    set_hook(come_to)


def _parsed(text: str) -> tuple[str, tuple[Action, int]]:
    name, _, rest = text.partition("=")
    action, _, hit = rest.partition("@")
    return name, (_action(action), int(hit or 1))


def _action(text: str) -> Action:
    match text.partition(":"):
        case ("kill", _, _):
            return kill
        case ("raise", _, _):
            return _raise
        case ("sleep", _, seconds):
            return partial(time.sleep, float(seconds))
        case _:
            raise ValueError(f"a failpoint can kill, raise or sleep:SECONDS, not {text!r}")


def _raise() -> None:
    raise FailpointError("a test said so")
