"""Stores and queries of files by what rows say of them, under the names of Doqu."""

from filecolumn.errors import (
    DataProcessorDoesNotExist,
    InvalidConditionError,
    LookupAlreadyRegisteredError,
    LookupProcessorDoesNotExist,
    ProcessorDoesNotExist,
    QueryError,
    RecordNotFoundError,
    StoreConnectionError,
    UnknownFieldError,
)
from filecolumn.query.converters import Converter, ConverterManager
from filecolumn.query.lookups import LookupManager
from filecolumn.query.queries import FileQuery
from filecolumn.query.stores import FileStore
from filecolumn.query.twins import AsyncFileQuery, AsyncFileStore

__all__ = (
    "AsyncFileQuery",
    "AsyncFileStore",
    "Converter",
    "ConverterManager",
    "DataProcessorDoesNotExist",
    "FileQuery",
    "FileStore",
    "InvalidConditionError",
    "LookupAlreadyRegisteredError",
    "LookupManager",
    "LookupProcessorDoesNotExist",
    "ProcessorDoesNotExist",
    "QueryError",
    "RecordNotFoundError",
    "StoreConnectionError",
    "UnknownFieldError",
)
