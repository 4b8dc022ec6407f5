"""Statements that are built once: to build one costs more than a small database takes to run it.

SQLAlchemy keeps the key of its compiled form with the object, so that a statement that is run again
is neither built nor hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from sqlalchemy import MetaData
from sqlalchemy.sql.base import Executable

__all__ = ("prepared",)

S = TypeVar("S", bound=Executable)

_KEY = "filecolumn.prepared"


def prepared(metadata: MetaData, what: Hashable, build: Callable[[], S]) -> S:
    """Return the statement about tables of *metadata* that *what* names; *build* makes it the first time.

    It is kept with the metadata, which it refers to and should not outlive.
    """
    known: dict[Hashable, Any] = metadata.info.setdefault(_KEY, {})
    statement = known.get(what)
    if statement is None:
        statement = known[what] = build()
    return cast("S", statement)
