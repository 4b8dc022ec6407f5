"""What is done to rows with files; each says what is left where rows and files agree."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from benchmarks.behaviour.base import KILLED, Library, Undo

FILE, OLD, NEW = (f"the content of the {name}\n".encode() for name in ("file", "old file", "new file"))
LARGE = FILE * 100_000
"""More than a process may write into one file where its storage is to fail."""
LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that happens to a model with a file."""

    group: str
    title: str
    left: str
    """What is left if rows and files agree."""
    act: Callable[[Library], object]
    """Does it; an answer that is text is what is told, instead of what is left."""
    is_async: bool


def _save(library: Library, *contents: bytes) -> None:
    with library.transaction():
        for content in contents:
            library.add(content)


@contextmanager
def _undone() -> Iterator[None]:
    """Let a block end with a rollback of what is inside."""
    with suppress(Undo):
        yield


def rollback_of_a_save(library: Library) -> None:
    with _undone(), library.transaction():
        library.add(FILE)
        raise Undo


def rollback_of_a_replacement(library: Library) -> None:
    _save(library, OLD)
    with _undone(), library.transaction():
        library.replace(NEW)
        raise Undo


def rollback_of_a_deletion(library: Library) -> None:
    _save(library, FILE)
    with _undone(), library.transaction():
        library.remove()
        raise Undo


def replacement(library: Library) -> None:
    _save(library, OLD)
    with library.transaction():
        library.replace(NEW)


def deletion(library: Library) -> None:
    _save(library, FILE)
    with library.transaction():
        library.remove()


def savepoint_undone(library: Library) -> None:
    with library.transaction(), _undone(), library.savepoint():
        library.add(FILE)
        raise Undo


def save_released_then_undone(library: Library) -> None:
    with _undone(), library.transaction():
        with library.savepoint():
            library.add(FILE)
        raise Undo


def deletion_released_then_undone(library: Library) -> None:
    _save(library, FILE)
    with _undone(), library.transaction():
        with library.savepoint():
            library.remove()
        raise Undo


def save_beside_undone_savepoint(library: Library) -> None:
    with library.transaction():
        library.add(FILE)
        with _undone(), library.savepoint():
            raise Undo


def deletion_beside_undone_savepoint(library: Library) -> None:
    _save(library, FILE)
    with library.transaction():
        library.remove()
        with _undone(), library.savepoint():
            raise Undo


def closed_without_commit(library: Library) -> None:
    library.leave(FILE)


def made_and_forgotten(library: Library) -> None:
    library.make(FILE)


def bulk_deletion(library: Library) -> None:
    _save(library, FILE)
    with library.transaction():
        library.remove_all()


def raw_deletion(library: Library) -> None:
    _save(library, FILE)
    with library.transaction():
        library.remove_raw()


def one_name_twice(library: Library) -> None:
    with library.transaction():
        library.add(OLD, "a.bin")
    with library.transaction():
        library.add(NEW, "a.bin")


def replacement_of_one_name(library: Library) -> None:
    with library.transaction():
        library.add(OLD, "a.bin")
    with library.transaction():
        library.replace(NEW, "a.bin")


def shared_then_deleted(library: Library) -> None:
    _save(library, FILE)
    with library.transaction():
        library.share()
    with library.transaction():
        library.remove()


def _limit() -> None:
    """Let every file that is larger than the limit fail, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def _told_whether_it_raises(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:
        raise RaisedError from error


class RaisedError(Exception):
    """The library told that something went wrong."""


def full_disk(library: Library) -> None:
    _limit()
    _told_whether_it_raises(lambda: _save(library, LARGE))


def full_disk_async(library: Library) -> None:
    _limit()
    _told_whether_it_raises(lambda: asyncio.run(library.add_async(LARGE)))


def killed_before_commit(library: Library) -> None:
    _save(library, OLD)
    with library.transaction():
        library.add(NEW, "b.bin")
        library.kill(committed=False)


def killed_after_commit(library: Library) -> None:
    _save(library, OLD)
    with library.transaction():
        library.add(NEW, "b.bin")
        library.kill(committed=True)


def killed_after_commit_of_a_deletion(library: Library) -> None:
    _save(library, FILE)
    with library.transaction():
        library.remove()
        library.kill(committed=True)


def killed_after_async_commit(library: Library) -> None:
    asyncio.run(library.add_async(LARGE, lambda: os._exit(KILLED)))


def who_writes(library: Library) -> str:
    loop = threading.current_thread()
    written: set[bool] = set()

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            written.add(threading.current_thread() is loop)

    sys.addaudithook(look)
    asyncio.run(library.add_async(FILE))
    return "the event loop's thread" if True in written else "another thread"


GROUPS: dict[str, tuple[tuple[str, str, Callable[[Library], object]], ...]] = {
    "transactions": (
        ("a replacement, committed", "row with new file", replacement),
        ("a deletion, committed", "nothing", deletion),
        ("a save, rolled back", "nothing", rollback_of_a_save),
        ("a replacement, rolled back", "row with old file", rollback_of_a_replacement),
        ("a deletion, rolled back", "row with file", rollback_of_a_deletion),
        ("a save, then the session is closed without a commit", "nothing", closed_without_commit),
        ("an object with a file, never added to a session", "nothing", made_and_forgotten),
    ),
    "savepoints": (
        ("a save in a savepoint that is rolled back; commit", "nothing", savepoint_undone),
        ("a save in a savepoint that is released; rollback", "nothing", save_released_then_undone),
        (
            "a deletion in a savepoint that is released; rollback",
            "row with file",
            deletion_released_then_undone,
        ),
        ("a save, then another savepoint rolled back; commit", "row with file", save_beside_undone_savepoint),
        (
            "a deletion, then another savepoint rolled back; commit",
            "nothing",
            deletion_beside_undone_savepoint,
        ),
    ),
    "failures": (
        ("a second save, killed before its COMMIT", "row with old file", killed_before_commit),
        (
            "a second save, killed after its COMMIT",
            "row with old file, row with new file",
            killed_after_commit,
        ),
        ("a deletion, killed after its COMMIT", "nothing", killed_after_commit_of_a_deletion),
        (
            "an async save, killed when `await commit()` has returned",
            "row with file",
            killed_after_async_commit,
        ),
        ("a save, while the disk is full", "raises; nothing", full_disk),
        ("an async save, while the disk is full", "raises; nothing", full_disk_async),
    ),
    "statements": (
        ("a bulk delete by the ORM", "nothing", bulk_deletion),
        ("a `DELETE` as text", "nothing", raw_deletion),
        ("two rows, both with a file `a.bin`", "row with old file, row with new file", one_name_twice),
        ("`a.bin` replaced by another `a.bin`", "row with new file", replacement_of_one_name),
        ("one file given to two rows, the first of them deleted", "row with file", shared_then_deleted),
        ("an async save: who writes the file", "another thread", who_writes),
    ),
}
"""What is done, what is left if rows and files agree, and who does it."""
ASYNC = frozenset({full_disk_async, killed_after_async_commit, who_writes})
SCENARIOS = {
    act.__name__: Scenario(group, title, left, act, act in ASYNC)
    for group, scenarios in GROUPS.items()
    for title, left, act in scenarios
}
