"""A storage that fails, or is slow, when a test tells it to."""

from __future__ import annotations

from collections.abc import Callable

from filecolumn import StorageError
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import Fault, FaultyBackend, SlowBackend


class FailingStorage(FaultyBackend):
    """The memory of this process, with faults; all is well until a test sets one of them."""

    def __init__(self, key: str = "docs") -> None:
        self.refusal: Callable[[], Exception] = _refused
        """Makes what is raised when deleting is refused."""
        self._slow = SlowBackend(ObstoreBackend(key, "memory://"), 0.0)
        super().__init__(self._slow)

    @property
    def puts(self) -> int:
        """How often an upload was begun."""
        return self.calls["put"]

    @property
    def delay(self) -> float:
        """Seconds that a call takes."""
        return self._slow.latency

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._slow.latency = seconds

    @property
    def fail_puts_after(self) -> int | None:
        """How many objects it still takes; None is no limit."""
        raise AttributeError("only to be set")

    @fail_puts_after.setter
    def fail_puts_after(self, count: int | None) -> None:
        self.clear()
        if count is not None:
            # in the middle of the content, as a disk that is full does
            self.schedule(Fault("put", "fail_inside", call=count + 1, times=None, error=_full))

    @property
    def fail_deletes(self) -> bool:
        """Whether it refuses to delete."""
        raise AttributeError("only to be set")

    @fail_deletes.setter
    def fail_deletes(self, refused: bool) -> None:
        self.clear()
        if refused:
            self.schedule(Fault("delete", "fail_before", times=None, error=self.refusal))


def _full() -> Exception:
    return StorageError("no space left")


def _refused() -> Exception:
    return StorageError("deleting is refused")
