"""Storages behind one contract, and the registry that finds them by key."""

from filecolumn.backends.base import (
    Capabilities,
    PutMode,
    PutOptions,
    Stat,
    StorageBackend,
    check_folder,
    check_put_options,
    check_range,
)
from filecolumn.backends.registry import ObjectRef, StorageRegistry, storages
from filecolumn.backends.streams import batches

__all__ = (
    "Capabilities",
    "ObjectRef",
    "PutMode",
    "PutOptions",
    "Stat",
    "StorageBackend",
    "StorageRegistry",
    "batches",
    "check_folder",
    "check_put_options",
    "check_range",
    "storages",
)
