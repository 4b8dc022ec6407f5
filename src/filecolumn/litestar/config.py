"""`FileColumnConfig`: the options of the plugin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from filecolumn.backends.base import StorageBackend
from filecolumn.http.serving import Serving
from filecolumn.litestar.background import EngineSource
from filecolumn.litestar.receiving import GetSubject
from filecolumn.maintenance import Models

__all__ = ("FileColumnConfig", "Guard")

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None] | None]
"""A guard of Litestar's, whose own name for it leaves half of its type unknown."""


@dataclass(slots=True, kw_only=True)
class FileColumnConfig:
    """The options of `FileColumnPlugin`; each has a default."""

    backends: Mapping[str, str | StorageBackend] = field(
        default_factory=dict[str, "str | StorageBackend"], repr=False
    )
    """Storages by key, as URLs or backends (of the same key); registered at start-up, closed at shutdown."""
    signing_key: str | bytes | Sequence[str | bytes] | None = field(default=None, repr=False)
    """Secret of at least 32 bytes, or several, newest first; without one, local storages cannot sign."""
    files_path: str = "/files"
    """The path of the routes behind signed URLs."""
    base_url: str = ""
    """Put in front of `files_path` in signed URLs, such as `https://files.example.org`."""
    check_on_startup: bool = True
    """Whether a storage that cannot be reached and written to stops the start."""
    response_defaults: Serving = field(default_factory=Serving)
    """How files are sent where a response does not say it."""
    redirect: bool = False
    """Whether signed URLs lead on to the storage's own where it signs."""
    x_accel: str | None = None
    """Path of nginx's `internal` location that the files of signed URLs are sent by; local storages only."""
    get_subject: GetSubject | None = None
    """Returns whose a request is; URLs and grants that name a subject are for that one only."""
    guards: Sequence[Guard] = ()
    """Litestar guards of the signed routes."""
    max_upload_size: int | None = 100 * 1024 * 1024
    """Bytes of an upload to `files_path` whose grant says no size, neither itself nor its column; None is any size."""
    engine: EngineSource | None = None
    """The database of the files, or what returns it, such as `alchemy.get_engine`; for the drain in the background."""
    models: Sequence[Models] = ()
    """The declarative bases (or `MetaData`) of all models in that database."""
    drain_in_background: bool = True
    """Whether this process drains; it needs `engine` and `models`."""
    drain_interval: float = 60.0
    """Seconds between two drains, give or take half of it."""
    sweep_unreferenced: bool = False
    """Whether a drain in the background also sweeps once a day, and deletes files that have had no row for a week.

    It is for databases whose cascades or other programs delete rows without triggers.
    """
    body_idle_timeout: float = 30.0
    """Seconds that a client may pause while it sends a body; then 408."""
    body_timeout: float = 3600.0
    """Seconds that a client may take to send a body; then 408."""
