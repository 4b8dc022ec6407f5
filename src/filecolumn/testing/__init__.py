"""What tests of applications and of storages need."""

from filecolumn.testing.consistency import assert_consistent, assert_consistent_async

__all__ = ("assert_consistent", "assert_consistent_async")
