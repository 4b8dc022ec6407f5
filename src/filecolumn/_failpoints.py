"""Named places at which a test can make the process fail; nothing happens at them otherwise.

`filecolumn.testing.failpoints` sets what is done there.  While nothing is set, a place costs one
call and one comparison.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = (
    "failpoint",
    "set_hook",
)

Hook = Callable[[str], None]

_hook: Hook | None = None


def failpoint(name: str) -> None:
    """Tell the hook, if there is one, that the code has come to *name*."""
    if _hook is not None:
        _hook(name)


def set_hook(hook: Hook | None) -> None:
    """Call *hook* at each failpoint from now on; None ends it."""
    global _hook  # noqa: PLW0603 - the one switch of the process
    _hook = hook
