"""`storages`: the storages of this process, by key; a backend from a URL."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from importlib import import_module
from threading import RLock
from typing import overload

from filecolumn.backends._local import check_system
from filecolumn.backends._options import AZURE_SCHEMES, S3_SCHEMES, given, local_folder, scheme_of
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.errors import BackendAlreadyRegisteredError, BackendNotRegisteredError
from filecolumn.redaction import without_secrets
from filecolumn.signing import UrlSigner

__all__ = (
    "ObjectRef",
    "StorageRegistry",
    "backend_from_url",
    "before_closing",
    "location_of_url",
    "names_of",
    "storages",
)

ObjectRef = tuple[str, str]
"""An object: the key of its storage (aliases resolved), and its key in it."""


class StorageRegistry:
    """Storages under their keys, looked up at the moment of use; safe to share between threads."""

    def __init__(self) -> None:
        self._backends: dict[str, StorageBackend] = {}
        self._aliases: dict[str, str] = {}
        self._default: str | None = None
        self._first: dict[str, str] = {}
        self._lock = RLock()
        self.signer: UrlSigner | None = None
        """Makes signed URLs for storages that cannot sign by themselves; the Litestar plugin sets it."""
        self.retention: float = 0.0
        """Seconds for which content is kept after its row has released it; above 0 only drains delete it."""
        self.inline_removal: bool = True
        """Whether a commit deletes the content that its transaction released; False leaves all of it to drains."""

    @overload
    def register_backend(
        self, backend: StorageBackend, *, replace: bool = False, new_place: bool = False
    ) -> StorageBackend: ...

    @overload
    def register_backend(
        self,
        backend: str,
        key: str,
        *,
        replace: bool = False,
        new_place: bool = False,
        **options: object,
    ) -> StorageBackend: ...

    def register_backend(
        self,
        backend: StorageBackend | str,
        key: str | None = None,
        *,
        replace: bool = False,
        new_place: bool = False,
        **options: object,
    ) -> StorageBackend:
        """Register a backend under its key, or make one from a URL and *key*, and return the registered backend.

        URLs with `file`, `memory`, `s3`, `gs`, `az` and `http` are for obstore, all others for fsspec; *options*
        are theirs.

        If the key is registered for the same location, the new backend replaces the old one; a storage in memory
        stays, with its content.  Another location raises BackendAlreadyRegisteredError, unless *replace* is true.
        With *new_place* a database that knows another place under this key may store here: for tests that use one
        database with a new folder each time.

        Raises ValueError for a URL or an option that is not valid, MissingDependencyError without fsspec, and
        NotSupportedError for a local folder on Windows.
        """
        made = self._made(backend, key, options, replace=replace)
        made.new_place = new_place
        with self._lock:
            self._check_free(made.key, made.location, replace=replace)
            known = self._backends.get(made.key)
            if known is not None and not replace and not known.capabilities.persistent:
                return known
            self._backends[made.key] = made
            self._first.pop(made.key, None)
            return made

    def get(self, key: str) -> StorageBackend:
        """Return the storage registered under *key*, or under the key that it is an alias for.

        Raises BackendNotRegisteredError if there is none.
        """
        try:
            return self._backends[self.resolve(key)]
        except KeyError:
            known = ", ".join(map(_quoted, self.registered_backends())) or "none yet"
            raise BackendNotRegisteredError(
                f"no storage is registered under {_quoted(key)}; registered: {known}. "
                "Call storages.register_backend(...) at start-up"
            ) from None

    def find(self, key: str) -> StorageBackend | None:
        """Return the storage as `get` does; None if there is none."""
        return self._backends.get(self.resolve(key))

    def get_backend(self, key: str) -> StorageBackend:
        """Call `get`, under the name that advanced-alchemy gives it."""
        return self.get(key)

    def all(self) -> list[StorageBackend]:
        """Return the registered storages."""
        return list(self._backends.values())

    def registered_backends(self) -> list[str]:
        """Return the keys of the registered storages."""
        return list(self._backends)

    def is_registered(self, key: str) -> bool:
        """Return whether a storage is registered under *key*, or under the key that it is an alias for."""
        return self.resolve(key) in self._backends

    def unregister_backend(self, key: str) -> None:
        """Remove a storage from the registry, without closing it; one that is not registered is no error."""
        with self._lock:
            self._backends.pop(self.resolve(key), None)

    def clear_backends(self) -> None:
        """Remove all storages, aliases, the default and the signer from the registry, without closing any storage."""
        with self._lock:
            self._backends.clear()
            self._aliases.clear()
            self._first.clear()
            self._default = None
            self.signer = None

    def close(self) -> None:
        """Close all storages and remove them; an error of one is raised after the others are closed."""
        for call, _ in _before_closing:
            call()
        with ExitStack() as stack:
            for backend in self._drop_all():
                stack.callback(backend.close)

    async def aclose(self) -> None:
        """Call `close` asynchronously."""
        for _, call_async in _before_closing:
            await call_async()
        async with AsyncExitStack() as stack:
            for backend in self._drop_all():
                stack.push_async_callback(backend.close_async)

    @property
    def default(self) -> str:
        """The key of the storage for files and columns that name none: the one that you set, or the only one there is.

        Reading it raises BackendNotRegisteredError if none was set, and not exactly one storage is registered.
        """
        if self._default is not None:
            return self._default
        if len(self._backends) == 1:
            return next(iter(self._backends))
        raise BackendNotRegisteredError(
            f"{len(self._backends)} storages are registered and none is the default; "
            "name one with backend=..., or set storages.default"
        )

    @default.setter
    def default(self, key: str | None) -> None:
        if key is not None and not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"storages.default is the key of a storage, not {_kind_of(key)}")
        self._default = key

    def alias(self, old: str, *, to: str) -> None:
        """Let *old*, the key in existing rows, mean the storage *to*; rows are not changed.

        Raises ValueError for a circle of aliases, BackendAlreadyRegisteredError if *old* is registered itself.
        """
        with self._lock:
            if old in self._backends:
                raise BackendAlreadyRegisteredError(
                    f"storage {_quoted(old)} is registered; unregister it before it is an alias"
                )
            if self.resolve(to) == old:
                raise ValueError(
                    f"{_quoted(old)} cannot be an alias for {_quoted(to)}, which is one for {_quoted(old)}"
                )
            self._aliases[old] = to

    def resolve(self, key: str) -> str:
        """Return the key that *key* is an alias for, or *key* itself; it need not be registered."""
        while (target := self._aliases.get(key)) is not None:
            key = target
        if self._first and key not in self._backends:
            return next((name for name, first in self._first.items() if first == key), key)
        return key

    def _names(self, key: str) -> list[str]:
        if not (self._aliases or self._first):
            return [key]
        first = self._first.get(key, key)
        keys = [key, *(each for each in {first, *self._first} if self._first.get(each, each) == first)]
        aliases = [old for old in self._aliases if self.resolve(old) in keys]
        return list(dict.fromkeys([*keys, *aliases]))

    def note_place(self, key: str, first: str) -> None:
        """Record that the storage *key* is the place that a ledger knows under the key *first*; filecolumn calls it."""
        if key != first or key in self._first:
            with self._lock:
                self._first[key] = first

    def name_in_ledger(self, key: str) -> str:
        """Return the key that ledgers record for the storage *key*: the first one of its place."""
        return self._first.get(key, key)

    @contextmanager
    def override(self, key: str, backend: StorageBackend | str) -> Generator[StorageBackend]:
        """Replace the storage *key* by another backend, or one made from a URL, for the length of a `with` block.

        It is for tests.  At the end the old storage is back, and a backend made from a URL, such as `memory://`,
        is closed.
        """
        target = self.resolve(key)
        # making one may wait for a server
        made = self._made(backend, target, {}, replace=True) if isinstance(backend, str) else backend
        with self._lock:
            before = self._backends.get(target)
            self._backends[target] = made
        try:
            yield made
        finally:
            with self._lock:
                if before is None:
                    self._backends.pop(target, None)
                else:
                    self._backends[target] = before
            if made is not backend:
                made.close()

    def _check_free(self, key: str, location: str | None, *, replace: bool) -> None:
        """Raise BackendAlreadyRegisteredError if the key is an alias, or belongs to another place than *location*."""
        with self._lock:
            if key in self._aliases:
                raise BackendAlreadyRegisteredError(
                    f"{_quoted(key)} is an alias for {_quoted(self.resolve(key))}; choose another key"
                )
            known = self._backends.get(key)
            if known is not None and not replace and location is not None and known.location != location:
                raise BackendAlreadyRegisteredError(
                    f"storage {_quoted(key)} is registered at {without_secrets(known.location)!r}, so it cannot be at "
                    f"{without_secrets(location)!r} too; choose another key, or pass replace=True"
                )

    def _made(
        self, backend: StorageBackend | str, key: str | None, options: dict[str, object], *, replace: bool
    ) -> StorageBackend:
        if isinstance(backend, StorageBackend):
            if key is not None or options:
                raise TypeError(
                    "a ready backend has its own key and options; pass key= and options with a URL"
                )
            return backend
        if not isinstance(backend, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"register_backend accepts a backend or a URL, not {_kind_of(backend)}; the URL of a folder is "
                "Path(...).absolute().as_uri()"
            )
        if key is None:
            raise TypeError("register_backend(url) needs key=...")
        # a folder that is refused must not be made
        self._check_free(key, location_of_url(backend, options), replace=replace)
        return backend_from_url(backend, key, options)

    def _drop_all(self) -> list[StorageBackend]:
        with self._lock:
            backends = self.all()
            self._backends.clear()
        return backends


storages: StorageRegistry = StorageRegistry()
"""The storages of this process."""


_before_closing: list[tuple[Callable[[], None], Callable[[], Awaitable[None]]]] = []


def before_closing(call: Callable[[], None], call_async: Callable[[], Awaitable[None]]) -> None:
    """Call *call*, or its asynchronous form, whenever the storages are about to be closed."""
    _before_closing.append((call, call_async))


def names_of(key: str) -> list[str]:
    """Return every name of the storage *key*, itself first: aliases, and other names of its place."""
    # no public method: applications have no use for it
    return storages._names(key)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


_OBSTORE_SCHEMES = frozenset({"file", "memory", *S3_SCHEMES, "gs", *AZURE_SCHEMES, "http", "https"})


def backend_from_url(url: str, key: str, options: Mapping[str, object]) -> StorageBackend:
    """Return a backend; ValueError for what is not a URL, MissingDependencyError without fsspec."""
    scheme = scheme_of(url)
    if scheme in _OBSTORE_SCHEMES:
        return ObstoreBackend(key, url, **given(options))  # type: ignore[arg-type]
    # fsspec is optional: it is imported when the first of its URLs is
    made: StorageBackend = import_module("filecolumn.backends.fsspec").FSSpecBackend(
        key, url, **given(options)
    )
    return made


def location_of_url(url: str, options: Mapping[str, object]) -> str | None:
    """Return where a local folder will be, which making the backend makes; None for other URLs.

    Raises NotSupportedError where a folder cannot be a storage.
    """
    if scheme_of(url) not in {"file", "local"}:
        return None
    check_system()
    below = options.get("prefix")
    parts = [local_folder(url), *([below] if isinstance(below, str) else [])]
    return f"file://{os.path.realpath('/'.join(parts))}"


def _quoted(key: object) -> str:
    """Return a key for a message; an address in its place may have credentials."""
    if isinstance(key, str) and set("@=?") & set(key):
        return "an address, which is not a key"
    return repr(key)


def _kind_of(value: object) -> str:
    """Return what *value* is, without what it says."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
