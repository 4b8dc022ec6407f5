"""`FileColumnPlugin`: everything that an application needs for files, by one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from typing import Protocol, cast

from click import Group
from litestar import Litestar, Request
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.plugins import CLIPlugin, InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from sqlalchemy.orm import configure_mappers

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.health import probe
from filecolumn.backends.registry import StorageRegistry, storages
from filecolumn.content.policy import ContentPolicy
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList
from filecolumn.http.caching import settle_caching, without_files
from filecolumn.litestar.background import BACKGROUND_STATE_KEY, Background
from filecolumn.litestar.cli import files_group
from filecolumn.litestar.config import FileColumnConfig
from filecolumn.litestar.exceptions import exception_handlers
from filecolumn.litestar.extraction import form_request, receive_forms
from filecolumn.litestar.receiving import SUBJECT_STATE_KEY, RequestBodies, type_decoders, type_encoders
from filecolumn.litestar.response import SERVING_STATE_KEY, FileObjectResponse
from filecolumn.litestar.routes import signed_routes
from filecolumn.litestar.schema import FileSchemaPlugin
from filecolumn.litestar.sessions import answer_failed_commit, flush_after_handler
from filecolumn.logs import warn
from filecolumn.orm.attributes import known_attributes
from filecolumn.signing import TokenSigner, UrlSigner

__all__ = ("FileColumnPlugin",)

# test clients and reloads start several applications in one process, over the same storages
_users: Counter[int] = Counter()

_LAST_HOOKS = (answer_failed_commit, settle_caching)


class _Settings(Protocol):
    """What Litestar's types leave half unknown of an `AppConfig`."""

    exception_handlers: Mapping[object, object]
    lifespan: list[object]
    request_class: type[Request[object, object, State]] | None


class FileColumnPlugin(InitPlugin, CLIPlugin, ReceiveRoutePlugin):
    """Registers storages, and makes an application receive, serve, sign and describe files.

    Order among plugins does not matter. What an application sets itself (encoders, exception
    handlers, a dependency `storages`) stays.
    """

    def __init__(self, config: FileColumnConfig | None = None) -> None:
        """Take the configuration; ValueError for a signing key that is too short, or a storage of another key."""
        self.config: FileColumnConfig = config or FileColumnConfig()
        ContentPolicy.of(self.config.max_upload_size, None)
        for key, backend in self.config.backends.items():
            if isinstance(backend, StorageBackend) and backend.key != key:
                raise ValueError(
                    f"backends[{key!r}] is a storage of the key {backend.key!r}; give both one name"
                )
        if self.config.background and (self.config.engine is None) != (not self.config.models):
            raise ValueError("the drain in the background needs both engine=... and models=[Base]")
        self.background: Background | None = None
        """The drain of this application, with its lag."""
        self._has_duties = True
        self._signer: UrlSigner | None = None
        if self.config.signing_key is not None:
            base_url = f"{self.config.base_url.rstrip('/')}{self.config.files_path.rstrip('/')}"
            self._signer = UrlSigner(TokenSigner(self.config.signing_key), base_url)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add everything to the application."""
        config = self.config
        app_config.type_encoders = {**type_encoders, **(app_config.type_encoders or {})}
        app_config.type_decoders = [*(app_config.type_decoders or ()), *type_decoders]
        settings = cast("_Settings", app_config)
        settings.exception_handlers = {
            **cast("Mapping[object, object]", exception_handlers),
            **settings.exception_handlers,
        }
        app_config.plugins.append(FileSchemaPlugin())
        app_config.middleware.insert(
            0, DefineMiddleware(RequestBodies, idle=config.body_idle, total=config.body_total)
        )
        settings.request_class = form_request(settings.request_class)
        # where nothing runs the lifespan these are here, if not the last
        app_config.before_send.extend(_LAST_HOOKS)
        cached = app_config.response_cache_config
        app_config.response_cache_config = replace(
            cached, cache_response_filter=without_files(cached.cache_response_filter)
        )
        app_config.dependencies.setdefault("storages", Provide(_provide_storages, sync_to_thread=False))
        app_config.signature_types = [
            *app_config.signature_types,
            FileObject,
            FileObjectList,
            FileObjectResponse,
            StorageRegistry,
        ]
        app_config.state[SERVING_STATE_KEY] = config.serving
        app_config.state[SUBJECT_STATE_KEY] = config.subject
        settings.lifespan.insert(0, self._lifespan)
        if config.background and config.engine is not None:
            self.background = Background(
                config.engine,
                config.models,
                config.drain_interval,
                sweep_unreferenced=config.sweep_unreferenced,
            )
            app_config.state[BACKGROUND_STATE_KEY] = self.background
            # last in, first out: it ends before engines are disposed of
            settings.lifespan.append(self._drained)
        if self._signer is not None:
            storages.signer = self._signer
            app_config.route_handlers.extend(signed_routes(config, self._signer))
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Let the handlers of *route* get the files of forms, and flush what they have of files."""
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                flush_after_handler(handler)
            receive_forms(route)

    def on_cli_init(self, cli: Group) -> None:
        """Add `litestar files`."""
        cli.add_command(files_group)

    @contextmanager
    def _without_duties(self) -> Generator[None]:
        """Let the application start without a look at its storages and a drain in the background.

        So do commands: they say themselves which storages cannot be reached, and delete nothing unasked.
        """
        before, self._has_duties = self._has_duties, False
        try:
            yield
        finally:
            self._has_duties = before

    def _drained(self, app: Litestar) -> AbstractAsyncContextManager[None]:
        return self.background.running() if self.background and self._has_duties else nullcontext()

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncGenerator[None]:
        registered = [self._register(key, value) for key, value in self.config.backends.items()]
        if self._signer is not None:
            storages.signer = self._signer
        # the last of all hooks, whatever the order of the plugins is
        others = [hook for hook in app.before_send if hook not in _LAST_HOOKS]
        app.before_send = [*others, *_LAST_HOOKS]
        try:
            if self._has_duties:
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

    def _register(self, key: str, value: str | StorageBackend) -> StorageBackend:
        if isinstance(value, StorageBackend):
            backend = storages.register_backend(value)
        else:
            backend = storages.register_backend(value, key)
        _users[id(backend)] += 1
        return backend


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
                "the column %s.%s accepts files of %d bytes, and Litestar refuses bodies of more than %d: "
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


async def _release(backend: StorageBackend) -> None:
    """Forget and close a storage, unless another application of this process has it too."""
    _users[id(backend)] -= 1
    if _users[id(backend)] > 0:
        return
    del _users[id(backend)]
    if storages.is_registered(backend.key) and storages.get(backend.key) is backend:
        storages.unregister_backend(backend.key)
    await backend.close_async()


def _provide_storages() -> StorageRegistry:
    return storages
