"""An application from start to stop: its storages registered and probed, its drain running, and all of it undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from sqlalchemy.orm import configure_mappers

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.health import probe
from filecolumn.backends.registry import storages
from filecolumn.litestar.background import Background
from filecolumn.litestar.config import FileColumnConfig
from filecolumn.litestar.response import limit_caching
from filecolumn.litestar.sessions import answer_failed_commit
from filecolumn.logs import warn
from filecolumn.orm.attributes import known_attributes
from filecolumn.signing import UrlSigner

__all__ = ("LAST_HOOKS", "LIFESPANS_STATE_KEY", "Lifespan", "lifespans_of")

LAST_HOOKS = (answer_failed_commit, limit_caching)
"""The `before_send` hooks that go after those of the application and of all other plugins."""

LIFESPANS_STATE_KEY = "filecolumn_lifespans"
"""Where an application's state has the `Lifespan` of each of its plugins."""

# test clients and reloads start several applications in one process, over the same storages
_users: Counter[int] = Counter()


class Lifespan:
    """What one plugin does from the start of an application to its stop."""

    def __init__(
        self, config: FileColumnConfig, signer: UrlSigner | None, background: Background | None
    ) -> None:
        self.config = config
        self._signer = signer
        self._background = background
        self._is_passive = False

    @contextmanager
    def passive(self) -> Generator[None]:
        """Let the application start without a probe of its storages and a drain in the background.

        So do commands: they say themselves which storages cannot be reached, and delete nothing unasked.
        """
        before, self._is_passive = self._is_passive, True
        try:
            yield
        finally:
            self._is_passive = before

    @asynccontextmanager
    async def storages(self, app: Litestar) -> AsyncGenerator[None]:
        """Register the storages, and probe them; the first of the application's lifespans."""
        registered = [_register(key, value) for key, value in self.config.backends.items()]
        if self._signer is not None:
            storages.signer = self._signer
        # the last of all hooks, whatever the order of the plugins is
        others = [hook for hook in app.before_send if hook not in LAST_HOOKS]
        app.before_send = [*others, *LAST_HOOKS]
        try:
            if not self._is_passive:
                if self.config.check_on_startup:
                    for backend in registered:
                        await probe(backend)
                warn_of_body_limits(app, self.config.backends)
            yield
        finally:
            for backend in registered:
                await _release(backend)
            if storages.signer is self._signer:
                storages.signer = None

    def drain(self, app: Litestar) -> AbstractAsyncContextManager[None]:
        """Drain in the background; the last of the lifespans, as it must end before engines are disposed of."""
        if self._background is None or self._is_passive:
            return nullcontext()
        return self._background.running()


def lifespans_of(app: Litestar) -> Sequence[Lifespan]:
    """Return the lifespans of the plugins of *app*."""
    found: Sequence[Lifespan] = app.state.get(LIFESPANS_STATE_KEY, ())
    return found


def _register(key: str, value: str | StorageBackend) -> StorageBackend:
    if isinstance(value, StorageBackend):
        backend = storages.register_backend(value)
    else:
        backend = storages.register_backend(value, key)
    _users[id(backend)] += 1
    return backend


async def _release(backend: StorageBackend) -> None:
    """Forget and close a storage, unless another application of this process has it too."""
    _users[id(backend)] -= 1
    if _users[id(backend)] > 0:
        return
    del _users[id(backend)]
    if storages.is_registered(backend.key) and storages.get(backend.key) is backend:
        storages.unregister_backend(backend.key)
    await backend.close_async()


def warn_of_body_limits(app: Litestar, backends: Collection[str]) -> None:
    """Log a warning for each column of *backends* that accepts larger files than any handler receives."""
    configure_mappers()
    limits = [handler.resolve_request_max_body_size() for handler in _receiving_handlers(app)]
    if not limits or None in limits:
        return
    largest = max(limit for limit in limits if isinstance(limit, int))
    for attribute in known_attributes():
        accepted = getattr(attribute.type, "max_size", None)
        if accepted is not None and accepted > largest and attribute.type.backend in backends:
            warn(
                "column %s.%s accepts files of %d bytes, but Litestar refuses bodies of more than %d bytes: "
                "raise request_max_body_size of its handler",
                attribute.table,
                attribute.key,
                accepted,
                largest,
            )


def _receiving_handlers(app: Litestar) -> Iterator[HTTPRouteHandler]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                is_ours = (handler.name or "").startswith("filecolumn:")
                if handler.http_methods & {"POST", "PUT", "PATCH"} and not is_ours:
                    yield handler
