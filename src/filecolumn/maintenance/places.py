"""Storages under one name each: two names may be one storage, and one storage may lie inside another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from filecolumn.backends.base import StorageBackend
from filecolumn.errors import MaintenanceRefusedError
from filecolumn.orm.place import place_id
from filecolumn.orm.unit import Place
from filecolumn.registry import storages

__all__ = ("Places",)


class Places:
    """The registered storages, each location once."""

    def __init__(self, only: Collection[str] | None = None) -> None:
        """Take the storages *only*, by their keys; BackendNotRegisteredError for one that is not registered."""
        self._names: dict[str, str] = {}
        first: dict[str, str] = {}
        for backend in storages.all():
            # what is in the memory of one object is nowhere else, whatever its location says
            location = place_id(backend) or (
                backend.location if backend.capabilities.persistent else f"{backend.key}\n"
            )
            self._names[backend.key] = first.setdefault(location, backend.key)
        self._chosen = None if only is None else {self.name_of(storages.get(key).key) for key in only}
        self.names: list[str] = [name for name in first.values() if self.is_chosen(name)]
        self.is_complete: bool = only is None
        """Whether all storages are looked at."""

    def name_of(self, backend: str) -> str:
        """Return the one name of the storage that *backend* means; an unknown one keeps its own."""
        resolved = storages.resolve(backend)
        return self._names.get(resolved, resolved)

    def leave_out(self, names: Iterable[str]) -> None:
        """Look at the others only."""
        out = set(names)
        if out:
            self.names = [name for name in self.names if name not in out]
            self._chosen = set(self.names)
            self.is_complete = False

    def is_chosen(self, name: str) -> bool:
        """Return whether the storage *name* is to be looked at; one that is not registered is, if all are."""
        return self._chosen is None or name in self._chosen

    def spelled(self, places: Iterable[Place]) -> Iterator[Place]:
        """Yield each place under every key that its storage is registered with, which have aliases of their own."""
        keys: dict[str, list[str]] = {}
        for name, key in places:
            if name not in keys:
                keys[name] = [key for key, first in self._names.items() if first == name] or [name]
            for backend in keys[name]:
                yield backend, key

    def backends(self) -> Iterator[tuple[str, StorageBackend]]:
        """Yield name and storage."""
        for name in self.names:
            yield name, storages.get(name)

    def refuse_nested(self) -> None:
        """Raise MaintenanceRefusedError if one storage is a folder of another: its objects would be orphans there."""
        locations = sorted(
            (backend.location.rstrip("/") + "/", backend.key)
            for backend in storages.all()
            if backend.capabilities.persistent
        )
        for outer, outer_key in locations:
            for inner, inner_key in locations:
                if inner != outer and inner.startswith(outer):
                    raise MaintenanceRefusedError(
                        f"storage {inner_key!r} lies inside storage {outer_key!r} ({outer}), where its objects "
                        "look like orphans; give each a folder of its own"
                    )
