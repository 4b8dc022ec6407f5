"""`FileColumnPlugin`: puts everything that an application needs for files into Litestar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, cast

from click import Group
from litestar import Request
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.plugins import CLIPlugin, InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import StorageRegistry, storages
from filecolumn.content.policy import ContentPolicy
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList
from filecolumn.litestar.background import BACKGROUND_STATE_KEY, Background
from filecolumn.litestar.cli import files_group
from filecolumn.litestar.config import FileColumnConfig
from filecolumn.litestar.exceptions import exception_handlers
from filecolumn.litestar.extraction import form_request, receive_forms
from filecolumn.litestar.lifespan import LAST_HOOKS, LIFESPANS_STATE_KEY, Lifespan
from filecolumn.litestar.receiving import (
    GET_SUBJECT_STATE_KEY,
    RequestBodies,
    type_decoders,
    type_encoders,
)
from filecolumn.litestar.response import RESPONSE_DEFAULTS_STATE_KEY, FileObjectResponse, without_files
from filecolumn.litestar.routes import signed_routes
from filecolumn.litestar.schema import FileSchemaPlugin
from filecolumn.litestar.sessions import flush_after_handler
from filecolumn.signing import TokenSigner, UrlSigner

__all__ = ("FileColumnPlugin",)


class _Settings(Protocol):
    """What Litestar's types leave half unknown of an `AppConfig`."""

    exception_handlers: Mapping[object, object]
    lifespan: list[object]
    request_class: type[Request[object, object, State]] | None


class FileColumnPlugin(InitPlugin, CLIPlugin, ReceiveRoutePlugin):
    """Registers storages, and makes an application receive, serve, sign and describe files.

    The order of plugins does not matter.  What the application sets itself stays: encoders, exception handlers,
    a dependency called `storages`.

    Raises ValueError for a signing key of less than 32 bytes, or a backend under another key than its own.
    """

    def __init__(self, config: FileColumnConfig | None = None) -> None:
        """Take the configuration; ValueError for a signing key that is too short, or a storage of another key."""
        self.config: FileColumnConfig = config or FileColumnConfig()
        _check(self.config)
        self.background: Background | None = None
        """The drain of this application, with its lag."""
        self._signer = _signer(self.config)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add everything to the application."""
        self._receive(app_config)
        self._respond(app_config)
        app_config.dependencies.setdefault("storages", Provide(_provide_storages, sync_to_thread=False))
        app_config.signature_types = [
            *app_config.signature_types,
            FileObject,
            FileObjectList,
            FileObjectResponse,
            StorageRegistry,
        ]
        self.background = _background(self.config)
        lifespan = Lifespan(self.config, self._signer, self.background)
        app_config.state[LIFESPANS_STATE_KEY] = [*app_config.state.get(LIFESPANS_STATE_KEY, ()), lifespan]
        lifespans = cast("_Settings", app_config).lifespan
        lifespans.insert(0, lifespan.storages)
        if self.background is not None:
            app_config.state[BACKGROUND_STATE_KEY] = self.background
            # last in, first out
            lifespans.append(lifespan.drain)
        if self._signer is not None:
            storages.signer = self._signer
            app_config.route_handlers.extend(signed_routes(self.config, self._signer))
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Let the handlers of *route* receive the files of forms, and flush the files of their sessions."""
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                flush_after_handler(handler)
            receive_forms(route)

    def on_cli_init(self, cli: Group) -> None:
        """Add `litestar files`."""
        cli.add_command(files_group())

    def _receive(self, app_config: AppConfig) -> None:
        """Let the application take files from requests."""
        config = self.config
        app_config.type_decoders = [*(app_config.type_decoders or ()), *type_decoders]
        app_config.middleware.insert(
            0,
            DefineMiddleware(
                RequestBodies, idle_timeout=config.body_idle_timeout, timeout=config.body_timeout
            ),
        )
        settings = cast("_Settings", app_config)
        settings.request_class = form_request(settings.request_class)
        app_config.state[GET_SUBJECT_STATE_KEY] = config.get_subject

    def _respond(self, app_config: AppConfig) -> None:
        """Let the application respond with files, and describe them."""
        app_config.type_encoders = {**type_encoders, **(app_config.type_encoders or {})}
        settings = cast("_Settings", app_config)
        settings.exception_handlers = {
            **cast("Mapping[object, object]", exception_handlers),
            **settings.exception_handlers,
        }
        app_config.plugins.append(FileSchemaPlugin())
        # where nothing runs the lifespan these are here, if not the last
        app_config.before_send.extend(LAST_HOOKS)
        cached = app_config.response_cache_config
        app_config.response_cache_config = replace(
            cached, cache_response_filter=without_files(cached.cache_response_filter)
        )
        app_config.state[RESPONSE_DEFAULTS_STATE_KEY] = self.config.response_defaults


def _check(config: FileColumnConfig) -> None:
    """Raise ValueError for options that contradict each other."""
    ContentPolicy.of(config.max_upload_size, None)
    for key, backend in config.backends.items():
        if isinstance(backend, StorageBackend) and backend.key != key:
            raise ValueError(
                f"backends[{key!r}] is a storage of the key {backend.key!r}; give both the same name"
            )
    if config.drain_in_background and (config.engine is None) != (not config.models):
        raise ValueError("the background drain needs both engine=... and models=[Base]")


def _background(config: FileColumnConfig) -> Background | None:
    if not config.drain_in_background or config.engine is None:
        return None
    return Background(
        config.engine, config.models, config.drain_interval, sweep_unreferenced=config.sweep_unreferenced
    )


def _signer(config: FileColumnConfig) -> UrlSigner | None:
    if config.signing_key is None:
        return None
    base_url = f"{config.base_url.rstrip('/')}{config.files_path.rstrip('/')}"
    return UrlSigner(TokenSigner(config.signing_key), base_url)


def _provide_storages() -> StorageRegistry:
    return storages
