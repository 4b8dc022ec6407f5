"""A storage that refuses uploads, or deletions, when told to."""

from __future__ import annotations

from collections.abc import Iterable

from filecolumn import StorageError
from filecolumn.backends.obstore import ObstoreBackend


class RefusingStorage(ObstoreBackend):
    """Refuses uploads, or deletions, when told to."""

    puts_left: int | None = None
    refuses_deletions = False

    def _fail_put(self) -> None:
        if self.puts_left is not None:
            self.puts_left -= 1
            if self.puts_left < 0:
                raise StorageError("no space left")

    def put(self, key, chunks, **options):  # type: ignore[no-untyped-def]
        self._fail_put()
        return super().put(key, chunks, **options)

    async def put_async(self, key, chunks, **options):  # type: ignore[no-untyped-def]
        self._fail_put()
        return await super().put_async(key, chunks, **options)

    def delete(self, keys: Iterable[str]) -> None:
        if self.refuses_deletions:
            raise StorageError("refused")
        super().delete(keys)

    async def delete_async(self, keys: Iterable[str]) -> None:
        if self.refuses_deletions:
            raise StorageError("refused")
        await super().delete_async(keys)
