"""Files in SQLAlchemy columns, true to their rows whatever fails."""

from filecolumn.backends.registry import StorageRegistry, storages
from filecolumn.content.sources import Content
from filecolumn.errors import (
    BackendAlreadyRegisteredError,
    BackendMismatchError,
    BackendNotRegisteredError,
    ChecksumMismatchError,
    CommitOutcomeUnknownError,
    ConcurrentFileChangeError,
    ContentRejectedError,
    ContentTypeRejectedError,
    CorruptFileMetadataError,
    FileColumnError,
    FileTooLargeError,
    InvalidGrantError,
    InvalidKeyError,
    MaintenanceRefusedError,
    MissingDependencyError,
    MissingLedgerError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    OwnedFileError,
    PendingContentError,
    SourceConsumedError,
    SourceReadError,
    StaleUploadError,
    StorageError,
)
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList
from filecolumn.orm.column import StoredObject
from filecolumn.orm.events import install as _install

__all__ = (
    "BackendAlreadyRegisteredError",
    "BackendMismatchError",
    "BackendNotRegisteredError",
    "ChecksumMismatchError",
    "CommitOutcomeUnknownError",
    "ConcurrentFileChangeError",
    "Content",
    "ContentRejectedError",
    "ContentTypeRejectedError",
    "CorruptFileMetadataError",
    "FileColumnError",
    "FileObject",
    "FileObjectList",
    "FileTooLargeError",
    "InvalidGrantError",
    "InvalidKeyError",
    "MaintenanceRefusedError",
    "MissingDependencyError",
    "MissingLedgerError",
    "NotSupportedError",
    "ObjectExistsError",
    "ObjectNotFoundError",
    "OwnedFileError",
    "PendingContentError",
    "SourceConsumedError",
    "SourceReadError",
    "StaleUploadError",
    "StorageError",
    "StorageRegistry",
    "StoredObject",
    "storages",
)

_install()
