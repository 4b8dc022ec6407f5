"""What is logged: a line each, of bounded length, without credentials, whatever a value quotes of others.

Names, paths and the answers of storages are written by strangers: one with a newline would be a line
of its own, one with an escape sequence a command to the terminal that shows the log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import cast

from filecolumn.errors import FileColumnError
from filecolumn.redaction import reason_of, redacted

__all__ = ("line_of", "note", "printable", "warn")

_log = logging.getLogger("filecolumn")

LONGEST = 1000
"""Characters of one value that are logged."""

START = 100
"""Characters of a longer value that is one word."""

MOST = 20
"""Members of a collection that are logged."""

# what `TokenSigner` makes: base64 of a version, and of more bytes than any other name has
_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])A[Q-Za-f][A-Za-z0-9_-]{80,}")


def warn(message: str, *values: object) -> None:
    """Log a warning; each of *values* as `line_of` has it, a collection by its first members."""
    _log.warning(message, *map(_shown, values), stacklevel=2)


def note(message: str, *values: object) -> None:
    """Log what is no warning, as `warn` does."""
    _log.info(message, *map(_shown, values), stacklevel=2)


def line_of(value: object) -> str:
    """Return *value* as one line that can be printed, without tokens and credentials, cut to `LONGEST` characters.

    Of an error that is not ours only the first line counts: drivers add the statement with its parameters.
    """
    if isinstance(value, BaseException) and not isinstance(value, FileColumnError):
        text = reason_of(value)
    else:
        text = str(value) or type(value).__name__
    if len(text) <= LONGEST:
        return printable(_without_secrets(text))
    # half of a secret would not be known for one
    words = text[:LONGEST].rpartition(" ")[0]
    # a path has no words; it is not to hide by its length
    start = _without_secrets(words) if words else _without_secrets(text[:LONGEST])[:START]
    return printable(f"{start} ...")


def printable(text: str) -> str:
    r"""Return *text* with an escape such as `\n` or `\u202e` for each character that is not printed as itself."""
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii") for mark in text
    )


def _without_secrets(text: str) -> str:
    return redacted(_TOKEN.sub("...", text))


def _shown(value: object) -> object:
    match value:
        case None | int() | float():
            return value
        case str() | BaseException():
            return line_of(value)
        case Mapping():
            pairs = cast("Mapping[object, object]", value)
            return _listed(pairs, (f"{line_of(key)}: {line_of(found)}" for key, found in pairs.items()))
        case Collection():
            members = cast("Collection[object]", value)
            return _listed(members, map(line_of, members))
        case _:
            return line_of(value)


def _listed(members: Collection[object], lines: Iterable[str]) -> str:
    more = [f"and {len(members) - MOST} more"] if len(members) > MOST else []
    return ", ".join([*islice(lines, MOST), *more])
