"""`Source`: content that waits to be stored, whatever it comes from.

A source is read in one pass, by `chunks` or by `chunks_async`; `replayable` says whether a second
pass starts again at the same place.  Nothing is taken for replayable that may be used up: bytes
lost that way are lost without an error.  The kinds are in `sync_sources` and `async_sources`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator
from functools import partial

from filecolumn.backends.threads import read_in_thread
from filecolumn.errors import SourceConsumedError, SourceReadError

__all__ = (
    "CHUNK_SIZE",
    "Source",
    "asynchronous",
    "bytes_in",
    "checked_chunk",
    "closed",
    "not_rewound",
    "spent",
)

CHUNK_SIZE = 1024 * 1024
"""Bytes read from a source at a time."""

NO_LOOP = "no running event loop"
"""What asyncio says in a thread without a loop."""


class Source(ABC):
    """Content that waits to be stored."""

    replayable: bool = True
    is_async: bool = False
    any_thread: bool = False
    """Whether another thread may read it while the caller's goes on."""
    in_memory: bool = False
    """Whether reading it does not block."""
    moves: object = None
    """What a pass moves along or uses up, for every other source of the same object too."""
    opened: bool = False
    """Whether a pass has begun."""

    @property
    def is_spent(self) -> bool:
        """Whether no other pass is possible."""
        return self.opened and not self.replayable

    def _open(self) -> None:
        """Begin a pass; SourceConsumedError if there can be none."""
        if self.is_spent:
            raise spent(self)
        self.opened = True

    def check(self) -> None:
        """Raise what reading would raise at once, before anything is stored."""

    def known_size(self) -> int | None:
        """Return the bytes that reading gives at least, if that is known without reading."""
        return None

    @abstractmethod
    def chunks(self) -> Generator[bytes]:
        """Read the content from its start."""

    async def chunks_async(self) -> AsyncGenerator[bytes]:
        """Read the content from its start, each blocking read in a worker thread."""
        chunks = self.chunks()
        while (chunk := await read_in_thread(partial(next, chunks, None))) is not None:
            yield chunk


def checked_chunk(chunk: object) -> bytes:
    """Return as `bytes` what foreign code gave for a chunk; TypeError if it is something else."""
    if isinstance(chunk, bytes):
        return chunk
    if (view := bytes_in(chunk)) is not None:
        return view.tobytes()
    raise TypeError(f"the content yielded a {type(chunk).__name__}; every chunk must be bytes")


def bytes_in(value: object) -> memoryview | None:
    """Return the memory of what has bytes, as a bytearray or the `Bytes` of obstore; None if *value* has none."""
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    # arrays of numbers are no bytes, though they have a memory
    return view if isinstance(value, memoryview) or view.itemsize == 1 else None


def spent(source: Source) -> SourceConsumedError:
    """Return the error for a source of which no pass is left."""
    return SourceConsumedError(
        f"this {_kind(source.moves)} can be read only once, and that is done; give the file fresh content"
    )


def closed(file: object) -> SourceConsumedError:
    """Return the error for a file that is closed."""
    return SourceConsumedError(
        f"this {_kind(file)} is closed: save or flush the file before that (a framework closes an upload when "
        "its request has been answered), or give it fresh content"
    )


def not_rewound(file: object, error: Exception) -> SourceReadError:
    """Return the error for a file that says it can seek, and does not go back to its beginning."""
    if isinstance(error, RuntimeError) and str(error) == NO_LOOP:
        return asynchronous(file)
    return SourceReadError(
        f"this {_kind(file)} cannot be set back to its beginning ({type(error).__name__}: {error}); "
        "to store what is left of it, pass iter(partial(file.read, 1 << 20), b'')"
    )


def asynchronous(file: object) -> SourceReadError:
    """Return the error for a file whose methods are asynchronous, and are no coroutine functions that would show it."""
    return SourceReadError(
        f"this {_kind(file)} can be read only by an event loop: pass an asynchronous generator that yields what "
        "`await file.read(1 << 20)` returns until that is empty, and save it by save_async() or an async session"
    )


def _kind(content: object) -> str:
    """Return what to call a caller's object: classes such as that of `NamedTemporaryFile` are private."""
    name = type(content).__name__
    return "file" if name.startswith("_") else name
