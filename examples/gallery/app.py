"""The application: advanced-alchemy for the rows, filecolumn for the files, plain files for the pages."""

from __future__ import annotations

from pathlib import Path

from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from advanced_alchemy.extensions.litestar.providers import create_service_provider
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import PermissionDeniedException
from litestar.openapi.config import OpenAPIConfig
from litestar.static_files import create_static_files_router

from filecolumn.litestar import FileColumnConfig, FileColumnPlugin

from .items import ItemController
from .models import Item, ItemService
from .settings import Settings
from .status import show_status

__all__ = ("create_app",)

OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
PAGES = Path(__file__).parent / "static"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def guarded(response: Response[object]) -> Response[object]:
    """Let a page load and run what comes from here only."""
    response.headers.update(PAGE_HEADERS)
    return response


async def refuse_other_sites(request: Request[object, object, State]) -> None:
    """Refuse what the page of another site sends, since nobody has to log in here.

    A page can also make its own name lead to this machine; then the name is not one of ours.
    """
    if request.url.hostname not in OWN_NAMES:
        raise PermissionDeniedException("The gallery is for this machine only")
    is_foreign = request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}
    if is_foreign and request.method not in {"GET", "HEAD", "OPTIONS"}:
        raise PermissionDeniedException("This comes from another site")


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
        path="/", directories=[PAGES], html_mode=True, name="pages", after_request=guarded
    )
    return Litestar(
        route_handlers=[ItemController, show_status, pages],
        plugins=[SQLAlchemyPlugin(config=alchemy), FileColumnPlugin(files)],
        dependencies={"items": Provide(create_service_provider(ItemService, config=alchemy))},
        # advanced-alchemy 1.12 closes the connections of the first application in a process only
        on_shutdown=[alchemy.get_engine().dispose],
        before_request=refuse_other_sites,
        openapi_config=OpenAPIConfig(title="Gallery", version="1", path="/schema"),
    )
