"""The application: advanced-alchemy for the rows, filecolumn for the files, static files for the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from advanced_alchemy.extensions.litestar.providers import create_service_provider
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import InternalServerException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.static_files import create_static_files_router

from filecolumn.litestar import FileColumnConfig, FileColumnPlugin

from .guard import add_headers, refuse_other_sites
from .items import ItemController
from .models import Item, ItemService
from .settings import Settings
from .status import probe_storages, show_status

__all__ = ("create_app",)

PAGES = Path(__file__).parent / "static"


def page_not_found(_: Request[Any, Any, State], __: Exception) -> Response[dict[str, object]]:
    """Respond to what is not a name to the file system: too long, below a file, with a null character."""
    return Response({"status_code": 404, "detail": "Page not found"}, status_code=404)


def create_app(settings: Settings | None = None) -> Litestar:
    """Make the gallery; `Settings.from_environment` by default."""
    settings = settings or Settings.from_environment()
    alchemy = SQLAlchemyAsyncConfig(
        connection_string=settings.database, metadata=Item.metadata, create_all=True
    )
    files = FileColumnConfig(
        backends={"gallery": settings.backend()},
        signing_key=settings.signing_key(),
        engine=alchemy.get_engine,
        models=[Item.metadata],
    )
    pages = create_static_files_router(
        path="/",
        directories=[PAGES],
        html_mode=True,
        name="pages",
        exception_handlers={InternalServerException: page_not_found, ValueError: page_not_found},
    )
    return Litestar(
        route_handlers=[ItemController, show_status, probe_storages, pages],
        plugins=[SQLAlchemyPlugin(config=alchemy), FileColumnPlugin(files)],
        dependencies={"items": Provide(create_service_provider(ItemService, config=alchemy))},
        # advanced-alchemy 1.12 closes the connections of the first application in a process only
        on_shutdown=[alchemy.get_engine().dispose],
        guards=[refuse_other_sites],
        before_send=[add_headers],
        # as JSON only: the pages for people load scripts from other sites
        openapi_config=OpenAPIConfig(
            title="Gallery", version="1", path="/schema", render_plugins=[JsonRenderPlugin()]
        ),
    )
