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
    DataProcessorDoesNotExist,
    FileColumnError,
    FileTooLargeError,
    InvalidConditionError,
    InvalidGrantError,
    InvalidKeyError,
    LookupAlreadyRegisteredError,
    LookupProcessorDoesNotExist,
    MaintenanceRefusedError,
    MissingDependencyError,
    MissingLedgerError,
    NotSupportedError,
    ObjectExistsError,
    ObjectNotFoundError,
    OwnedFileError,
    PendingContentError,
    ProcessorDoesNotExist,
    RecordNotFoundError,
    SourceConsumedError,
    SourceReadError,
    StaleUploadError,
    StorageError,
    StoreConnectionError,
    UnknownFieldError,
)
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList
from filecolumn.orm.column import StoredObject
from filecolumn.orm.facts_sql import FactColumn, fact

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
<<<<<<< HEAD
    "DataProcessorDoesNotExist",
=======
    "FactColumn",
>>>>>>> 908b4a9ce4ea9f53e319ef9bf49043603d0b0055
    "FileColumnError",
    "FileObject",
    "FileObjectList",
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
    "RecordNotFoundError",
    "SourceConsumedError",
    "SourceReadError",
    "StaleUploadError",
    "StorageError",
    "StorageRegistry",
    "StoreConnectionError",
    "StoredObject",
<<<<<<< HEAD
    "UnknownFieldError",
=======
    "fact",
>>>>>>> 908b4a9ce4ea9f53e319ef9bf49043603d0b0055
    "storages",
)
