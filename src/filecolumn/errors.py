"""The error tree: each error is ours and the builtin that a caller would catch.

All derive from `FileColumnError`, which inherits SQLAlchemy's
[`DontWrapMixin`](https://docs.sqlalchemy.org/en/21/core/exceptions.html): an error raised
while a value is bound reaches the caller by its own name, not inside a `StatementError`.
Messages say what to do next and carry no credentials.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm.exc import StaleDataError

__all__ = (
    "BackendAlreadyRegisteredError",
    "BackendMismatchError",
    "BackendNotRegisteredError",
    "ChecksumMismatchError",
    "CommitOutcomeUnknownError",
    "ConcurrentFileChangeError",
    "ContentRejectedError",
    "ContentTypeRejectedError",
    "CorruptFileMetadataError",
    "DataProcessorDoesNotExist",
    "FileColumnError",
    "FileTooLargeError",
    "InvalidConditionError",
    "InvalidGrantError",
    "InvalidKeyError",
    "LookupAlreadyRegisteredError",
    "LookupProcessorDoesNotExist",
    "MaintenanceRefusedError",
    "MissingDependencyError",
    "MissingLedgerError",
    "NotSupportedError",
    "ObjectExistsError",
    "ObjectNotFoundError",
    "OwnedFileError",
    "PendingContentError",
    "ProcessorDoesNotExist",
    "QueryError",
    "RecordNotFoundError",
    "SourceConsumedError",
    "SourceReadError",
    "StaleUploadError",
    "StorageError",
    "StoreConnectionError",
    "UnknownFieldError",
)

ResolveAsync = Callable[[], Awaitable[bool]]


class FileColumnError(DontWrapMixin, Exception):
    """The base of every error that filecolumn raises."""


class StorageError(FileColumnError, OSError):
    """A storage refused or did not answer; `__cause__` is its own error, if it gave one."""


class ObjectNotFoundError(FileColumnError, FileNotFoundError):
    """No object is stored under the key."""


class ObjectExistsError(FileColumnError, FileExistsError):
    """The key is taken: an object is never overwritten by a save."""


class InvalidKeyError(FileColumnError, ValueError):
    """A storage key, a key template or a file name cannot be used."""


class InvalidGrantError(FileColumnError, PermissionError):
    """A signed URL or grant is not valid, has expired, or is for something else."""


class BackendNotRegisteredError(FileColumnError, LookupError):
    """No storage is registered under the key; the message names those that are."""


class BackendAlreadyRegisteredError(FileColumnError, ValueError):
    """The key belongs to a storage at another location."""


class BackendMismatchError(FileColumnError, ValueError):
    """A file names a storage that its column does not use."""


class NotSupportedError(FileColumnError, NotImplementedError):
    """The storage has no such ability, or a statement cannot keep each row's content its own."""


class PendingContentError(FileColumnError, RuntimeError):
    """The content is not stored yet, so there is nothing to read and no row to write."""


class SourceConsumedError(FileColumnError, RuntimeError):
    """The source could be read only once, and was; or it is closed."""


class SourceReadError(FileColumnError, OSError):
    """The source cannot be read whole: it ended before the size that it had said, or does not go back to its start."""


class ChecksumMismatchError(FileColumnError, OSError):
    """The stored bytes are not the bytes that the row describes."""


class CorruptFileMetadataError(FileColumnError, ValueError):
    """The value in the row does not describe a file; the message names class, attribute and primary key.

    Of a value that was selected without its instance, as by `select(Document.file)`, only what is wrong is known.
    """


class ContentRejectedError(FileColumnError, ValueError):
    """The column does not take the content; nothing of it is stored.

    Its policy refuses it, metadata is beyond its limits, or it is an upload without a file (the code is `no_file`).

    `field` is the attribute, `code` a word for programs, `params` the numbers and names in the
    message, fit for JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        code: str = "rejected",
        params: Mapping[str, str | int | Sequence[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.field: str | None = field
        self.code: str = code
        self.params: dict[str, str | int | Sequence[str]] = dict(params or {})


class FileTooLargeError(ContentRejectedError):
    """The content has more bytes than the column's `max_size`; the code is `too_large`."""


class ContentTypeRejectedError(ContentRejectedError):
    """The content is not of a type in the column's `accept`.

    The code is `type_mismatch` if name or declared type say one thing and the bytes another, else
    `type_not_accepted`.
    """


class OwnedFileError(FileColumnError, RuntimeError):
    """A row owns the file: assign or clear its attribute instead."""


class StaleUploadError(FileColumnError, RuntimeError):
    """The content was stored too long ago to be given to a row: a sweep has given it up, or may have."""


class ConcurrentFileChangeError(FileColumnError, StaleDataError):
    """Another transaction changed or deleted the row's file first."""


class CommitOutcomeUnknownError(FileColumnError, ConnectionError):
    """COMMIT was sent and its answer was lost: the transaction has committed, or it never will.

    Nothing is deleted before that is known.  The database is asked when the session is rolled back or
    closed, which gives its connection back; from then on `committed` says it.
    """

    def __init__(
        self,
        message: str,
        resolve: Callable[[], bool],
        resolve_async: ResolveAsync,
        committed: Callable[[], bool | None] = lambda: None,
    ) -> None:
        super().__init__(message)
        self._resolve = resolve
        self._resolve_async = resolve_async
        self._committed = committed

    @property
    def committed(self) -> bool | None:
        """Whether the transaction has committed; None while nobody can tell.  Asks nobody."""
        return self._committed()

    def resolve(self) -> bool:
        """Ask the database, and return whether the transaction has committed; if not, it may be repeated.

        Raises the database's own error while it does not answer, and NotSupportedError without a ledger.
        """
        return self._resolve()

    async def resolve_async(self) -> bool:
        """Call `resolve` asynchronously."""
        return await self._resolve_async()


class MaintenanceRefusedError(FileColumnError, RuntimeError):
    """Maintenance would delete what is probably wanted; the message says why, and what to do instead."""


class MissingLedgerError(FileColumnError, RuntimeError):
    """The ledger's table is not in the database; the message has the ways to create it."""


class MissingDependencyError(FileColumnError, ImportError):
    """An optional package is not installed; the message has the command."""


class QueryError(FileColumnError):
    """What was asked of a store cannot be asked: one of the three kinds below."""


class UnknownFieldError(QueryError, LookupError):
    """A store has no such field, or its `fields` do not allow it; the message names those that may be asked for."""


class InvalidConditionError(QueryError, ValueError):
    """A value cannot be compared with its field, or read or written as its type; the message names the condition."""


class ProcessorDoesNotExist(QueryError, LookupError):  # noqa: N818 - Doqu's name
    """A manager has no processor: of one of the two kinds below."""


class LookupProcessorDoesNotExist(ProcessorDoesNotExist):
    """There is no such lookup; the message names those that there are."""


class DataProcessorDoesNotExist(ProcessorDoesNotExist):
    """There is no converter for the type of a value."""


class LookupAlreadyRegisteredError(FileColumnError, RuntimeError):
    """A lookup or converter is registered under the name already, or there is another default lookup."""


class StoreConnectionError(FileColumnError, RuntimeError):
    """A store is disconnected, or connected already."""


class RecordNotFoundError(FileColumnError, KeyError):
    """There is no row under the key."""

    def __str__(self) -> str:
        """Return the message as it is: KeyError quotes it."""
        return str(self.args[0])
