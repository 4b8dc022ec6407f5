"""Storages behind one contract, and the registry that finds them by key.

A new storage is a module here: a subclass of `StorageBackend` in `base`, which says what each method must do, proved by
`filecolumn.testing.BackendSuite`.  `registry` makes it of a URL.
"""

from filecolumn.backends.base import Capabilities, PutMode, PutOptions, Stat, StorageBackend
from filecolumn.backends.registry import ObjectRef, StorageRegistry, storages

__all__ = (
    "Capabilities",
    "ObjectRef",
    "PutMode",
    "PutOptions",
    "Stat",
    "StorageBackend",
    "StorageRegistry",
    "storages",
)
