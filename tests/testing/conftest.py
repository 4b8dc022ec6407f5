"""A database of each kind, sync and async, and a storage that can be looked into."""

from tests.maintenance.world import database, storage, world

__all__ = ("database", "storage", "world")
