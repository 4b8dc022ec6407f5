"""Storages behind one contract, and the registry that finds them by key.

A new storage is a module here: a subclass of `StorageBackend` in `base`, which says what each method must do, proved by
`filecolumn.testing.BackendSuite`.  `registry` makes it of a URL.
"""

from filecolumn.backends.base import (
    PUT_OPTIONS,
    Capabilities,
    PutMode,
    PutOptions,
    Stat,
    StorageBackend,
    WhenStored,
    WholeObject,
    check_folder,
    check_range,
    unknown_put_option,
)
from filecolumn.backends.registry import ObjectRef, StorageRegistry, storages
from filecolumn.backends.streams import batches

__all__ = (
    "PUT_OPTIONS",
    "Capabilities",
    "ObjectRef",
    "PutMode",
    "PutOptions",
    "Stat",
    "StorageBackend",
    "StorageRegistry",
    "WhenStored",
    "WholeObject",
    "batches",
    "check_folder",
    "check_range",
    "storages",
    "unknown_put_option",
)
