"""Foreign errors become ours at a backend's edge, by the backend's own table."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from filecolumn._threads import close
from filecolumn.backends.base import WhenStored, WholeObject
from filecolumn.errors import FileColumnError, ObjectNotFoundError, StorageError
from filecolumn.redaction import reason_of

__all__ = (
    "TAKEN",
    "ErrorTable",
    "ObjectsGuard",
    "SourceGuard",
    "TranslatedChunks",
    "is_panic",
    "translated",
    "write_guarded",
)

ErrorTable = Mapping[type[BaseException], type[FileColumnError]]
"""The first class that matches decides, so subclasses come first."""

TAKEN = "the key is taken, and objects are never overwritten"

_PANICS = ("PanicException", "RustPanic")  # in a call, which is a BaseException, and in an awaited one


class SourceGuard:
    """Counts the caller's content, and remembers an error of its own, so that it stays as it is."""

    __slots__ = ("_chunks", "error", "size")

    def __init__(self, chunks: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        self._chunks = chunks
        self.error: BaseException | None = None
        self.size: int = 0

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._chunks, Iterable)  # noqa: S101 - the caller chose the loop
        try:
            for chunk in self._chunks:
                counted = self._counted(chunk)
                try:
                    yield counted
                except GeneratorExit:
                    # no error of the content: the storage has failed, and reads no more
                    return
        except BaseException as error:
            self.error = error
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._chunks, AsyncIterable)  # noqa: S101 - the caller chose the loop
        try:
            async for chunk in self._chunks:
                counted = self._counted(chunk)
                try:
                    yield counted
                except GeneratorExit:
                    # as above
                    return
        except BaseException as error:
            self.error = error
            raise

    def _counted(self, chunk: object) -> bytes:
        # obstore takes a str for the path of a file to read
        if not isinstance(chunk, bytes):
            raise TypeError(f"content comes in chunks of bytes, not {type(chunk).__name__}")
        self.size += len(chunk)
        return chunk


@dataclass(slots=True, eq=False)
class ObjectsGuard:
    """Passes objects on, and remembers which was the last and an error of their own, as `SourceGuard` does."""

    _objects: Iterable[WholeObject]
    _count: int = 0
    _key: str = ""
    error: BaseException | None = None

    def __iter__(self) -> Iterator[WholeObject]:
        try:
            for whole in self._objects:
                self._count += 1
                self._key = whole.key
                try:
                    yield whole
                except GeneratorExit:
                    # as above
                    return
        except BaseException as error:
            self.error = error
            raise

    @property
    def doing(self) -> str:
        """What completes "cannot ..."."""
        return (
            f"store {self._key!r}"
            if self._count == 1
            else f"store {self._count} objects, the last {self._key!r}"
        )


def write_guarded(
    objects: Iterable[WholeObject],
    done: WhenStored,
    write: Callable[[Iterable[WholeObject], WhenStored], None],
    translating: Callable[[str, ObjectsGuard], AbstractContextManager[None]],
) -> None:
    """Let *write* store *objects*, and raise ours for its errors, but not for those of *objects*."""
    guard = ObjectsGuard(objects)
    try:
        write(guard, done)
    except BaseException:
        with translating(guard.doing, guard):
            raise
        raise


class TranslatedChunks(Iterator[bytes]):
    """Chunks whose errors become ours; `close` closes what gives them, also before the first one."""

    def __init__(
        self, chunks: Iterator[bytes], translating: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._chunks = chunks
        self._translating = translating

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException:
            # entered for an error only: it costs as much as to read a small file
            with self._translating():
                raise
            raise

    def close(self) -> None:
        """Close what gives the chunks."""
        close(self._chunks)


@contextmanager
def translated(
    table: ErrorTable, doing: str, source: SourceGuard | ObjectsGuard | None = None
) -> Generator[None]:
    """Raise ours for the errors in *table*; *doing* completes "cannot ...", and *source* is what is stored."""
    try:
        yield
    except BaseException as error:
        of_source = None if source is None else source.error
        if of_source is not None and of_source is not error:
            # the storage has made it one of its own, or failed to clean up after it
            raise of_source from of_source.__cause__
        if of_source is error or isinstance(error, FileColumnError):
            raise
        if (ours := _translation(table, error)) is None:
            raise
        if source is not None and issubclass(ours, ObjectNotFoundError):
            # what is missing while content is stored is not the object: a bucket, a folder, an upload
            ours = StorageError
        raise ours(f"cannot {doing}: {reason_of(error)}") from error


def _translation(table: ErrorTable, error: BaseException) -> type[FileColumnError] | None:
    for foreign, ours in table.items():
        if isinstance(error, foreign):
            return ours
    return StorageError if is_panic(error) else None


def is_panic(error: BaseException) -> bool:
    """Return whether an extension in Rust has panicked: pyo3's errors are of modules that cannot be imported."""
    return type(error).__name__ in _PANICS
