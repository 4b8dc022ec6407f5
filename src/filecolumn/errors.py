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
    """A storage refused a call, or did not answer; `__cause__` is the storage's own error, if there is one."""


class ObjectNotFoundError(FileColumnError, FileNotFoundError):
    """No object is stored under the key."""


class ObjectExistsError(FileColumnError, FileExistsError):
    """The key is taken: filecolumn never overwrites an object with another file."""


class InvalidKeyError(FileColumnError, ValueError):
    """A key, a key template or a file name is not valid."""


class InvalidGrantError(FileColumnError, PermissionError):
    """A signed URL or grant is not valid, has expired, or is for something else."""


class BackendNotRegisteredError(FileColumnError, LookupError):
    """No storage is registered under the key; the message names those that are."""


class BackendAlreadyRegisteredError(FileColumnError, ValueError):
    """The storage key is registered already, for another location."""


class BackendMismatchError(FileColumnError, ValueError):
    """A file names a storage that its column does not use, or the storage is not the place that the database knows."""


class NotSupportedError(FileColumnError, NotImplementedError):
    """The storage or the database cannot do this, or a statement could give one object to two rows."""


class PendingContentError(FileColumnError, RuntimeError):
    """The file has no stored content: it cannot be read, and no row may reference it."""


class SourceConsumedError(FileColumnError, RuntimeError):
    """The content cannot be read: it could be read only once and was, or it is closed."""


class SourceReadError(FileColumnError, OSError):
    """The content cannot be read completely: it ended before its announced size, or cannot be read from its start."""


class ChecksumMismatchError(FileColumnError, OSError):
    """The stored bytes are not the bytes that the row describes."""


class CorruptFileMetadataError(FileColumnError, ValueError):
    """The value in the row does not describe a file; the message names class, attribute and primary key.

    Of a value that was selected without its instance, as by `select(Document.file)`, only what is wrong is known.
    """


class ContentRejectedError(FileColumnError, ValueError):
    """The content, or the metadata, is refused; nothing of it is stored.

    The column's policy does not accept it, the metadata is beyond its limits, or it is an upload without a file
    (its code is `no_file`).

    `field` is the name of the attribute, `code` a word for programs, and `params` has the numbers and names of
    the message, as JSON values.
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
    """The content has more bytes than `max_size`; its code is `too_large`."""


class ContentTypeRejectedError(ContentRejectedError):
    """The content is not of a type in the column's `accept`.

    Its code is `type_mismatch` if the name or the declared type disagrees with the bytes, else
    `type_not_accepted`.
    """


class OwnedFileError(FileColumnError, RuntimeError):
    """A row owns the file, so this call cannot change or delete it; assign or clear the attribute instead."""


class StaleUploadError(FileColumnError, RuntimeError):
    """The content was staged too long ago to be given to a row: a sweep has claimed it, or may have; store it again."""


class ConcurrentFileChangeError(FileColumnError, StaleDataError):
    """Another transaction changed or deleted the file of the row first; read the row again and repeat."""


class CommitOutcomeUnknownError(FileColumnError, ConnectionError):
    """COMMIT was sent and its answer was lost: the transaction has committed, or it never will.

    Nothing is deleted until the outcome is known.  The database is asked when the session is rolled back or
    closed, because its connection is free then; after that `committed` has the answer.
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
        """Whether the transaction has committed; None while that is not known.  This does not ask the database."""
        return self._committed()

    def resolve(self) -> bool:
        """Ask the database, and return whether the transaction has committed; if it has not, it may be repeated.

        Raises the database's own error if it does not answer, and NotSupportedError without a ledger.
        """
        return self._resolve()

    async def resolve_async(self) -> bool:
        """Call `resolve` asynchronously."""
        return await self._resolve_async()


class MaintenanceRefusedError(FileColumnError, RuntimeError):
    """Maintenance refuses a run that would probably delete content in use; the message says why, and what to do."""


class MissingLedgerError(FileColumnError, RuntimeError):
    """The ledger's tables are not in the database; the message says how to create them."""


class MissingDependencyError(FileColumnError, ImportError):
    """An optional package is not installed; the message has the command that installs it."""


class QueryError(FileColumnError):
    """A condition or an order that a client gave is not valid; the base of the errors below."""


class UnknownFieldError(QueryError, LookupError):
    """The store has no such field, or its `fields` do not allow it; the message names those that are allowed."""


class InvalidConditionError(QueryError, ValueError):
    """A value cannot be compared with its field, or converted to its type; the message names the condition."""


class ProcessorDoesNotExist(QueryError, LookupError):  # noqa: N818 - Doqu's name
    """A manager has no such lookup or converter; the base of the two errors below."""


class LookupProcessorDoesNotExist(ProcessorDoesNotExist):
    """There is no such lookup; the message names the known ones."""


class DataProcessorDoesNotExist(ProcessorDoesNotExist):
    """There is no converter for the type of a value."""


class LookupAlreadyRegisteredError(FileColumnError, RuntimeError):
    """A lookup or converter of this name is registered already, or there is a default lookup already."""


class StoreConnectionError(FileColumnError, RuntimeError):
    """The store is disconnected, or it is to be connected and is already."""


class RecordNotFoundError(FileColumnError, KeyError):
    """There is no row with this primary key."""

    def __str__(self) -> str:
        """Return the message as it is: KeyError quotes it."""
        return str(self.args[0])
