"""Files in SQLAlchemy columns, true to their rows whatever fails."""

from filecolumn.content import Content
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
from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList
from filecolumn.orm.events import install as _install
from filecolumn.orm.type import StoredObject
from filecolumn.registry import StorageRegistry, storages

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
