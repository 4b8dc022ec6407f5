"""Storages behind one contract, and the registry that finds them by key."""

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
