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
    """The storages by key, each as a URL or as a backend of the same key.

    They are registered when the application starts and closed when it stops.
    """
    signing_key: str | bytes | Sequence[str | bytes] | None = field(default=None, repr=False)
    """The secret that signs URLs and grants, at least 32 bytes; or several, the newest first.

    The first one signs, and all of them verify.  Without a secret only storages that sign by themselves give
    URLs, and there are no upload grants.
    """
    files_path: str = "/files"
    """The path of the plugin's routes for signed URLs."""
    base_url: str = ""
    """What signed URLs begin with, before `files_path`, such as `https://files.example.org`."""
    check_on_startup: bool = True
    """Whether the application refuses to start if a storage cannot be reached or written to."""
    response_defaults: Serving = field(default_factory=Serving)
    """The headers of responses with files, where a response has none of its own."""
    redirect: bool = False
    """Whether the plugin's routes redirect to the storage's own signed URL, where the storage signs."""
    x_accel: str | None = None
    """The path of nginx's `internal` location that sends the files of signed URLs; for local storages only."""
    get_subject: GetSubject | None = None
    """A function that returns the subject of a request, such as a user's id, or None.

    A URL or grant with a subject works in requests of that subject only.
    """
    guards: Sequence[Guard] = ()
    """Litestar guards of the plugin's routes for signed URLs."""
    max_upload_size: int | None = 100 * 1024 * 1024
    """Bytes at most of an upload to the plugin's route; by default 100 MiB, and None for any size.

    It counts where neither the grant nor its column has a `max_size`.
    """
    engine: EngineSource | None = None
    """The engine of the database with the files, or a function that returns it, such as `alchemy.get_engine`.

    The drain in the background and `litestar files` use it.
    """
    models: Sequence[Models] = ()
    """The declarative bases (or `MetaData`) of all models in that database."""
    drain_in_background: bool = True
    """Whether this process runs a drain in the background; that needs `engine` and `models`."""
    drain_interval: float = 60.0
    """Seconds between two drains; each is varied by up to half of it, so that processes do not drain in step."""
    sweep_unreferenced: bool = False
    """Whether the background also sweeps once a day, and deletes files that have had no row for a week.

    It is for databases whose cascades or other programs delete rows without triggers.
    """
    body_idle_timeout: float = 30.0
    """Seconds for which a client may pause while it sends a body; after that the answer is 408."""
    body_timeout: float = 3600.0
    """Seconds in which a client has to send a whole body; after that the answer is 408."""
