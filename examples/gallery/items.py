"""The API of the gallery."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Request, delete, get, post, put, route
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, MultipartBody

from filecolumn import FileObject
from filecolumn.litestar import FileObjectResponse

from .models import FILE, Item, ItemService
from .thumbnails import look_at

__all__ = ("ItemController",)

AnyRequest = Request[Any, Any, State]
ItemNumber = FromPath[int]
Items = NamedDependency[ItemService]

FORM_OVERHEAD = 64 * 1024
"""Bytes of a form besides its file, at most."""
BODY_LIMIT = (FILE.max_size or 0) + FORM_OVERHEAD
THUMBNAIL_CACHE = "private, max-age=31536000, immutable"
"""The address of a thumbnail changes with its picture."""


class Upload(msgspec.Struct):
    """A form with one file."""

    file: FileObject


class ItemOut(msgspec.Struct):
    """An item, as the page shows it."""

    id: int
    name: str
    content_type: str
    size: int | None
    checksum: str | None
    added_at: float
    width: int | None
    height: int | None
    content: str
    """Address of the content, shown in place where that is safe."""
    download: str
    thumbnail: str | None


class Policy(msgspec.Struct):
    """What the column accepts, so that the page can say so before an upload."""

    max_size: int | None
    accept: list[str]


class Refusal(msgspec.Struct):
    """Litestar's JSON of an error."""

    status_code: int
    detail: str
    extra: Any = None


def refusals(*codes: int) -> dict[int, ResponseSpec]:
    """Describe errors for OpenAPI."""
    texts = {
        400: "Malformed request",
        404: "Not found",
        413: "Too large",
        415: "Not accepted",
        416: "No such range",
    }
    return {code: ResponseSpec(Refusal, description=texts[code], generate_examples=False) for code in codes}


def shown(item: Item) -> ItemOut:
    """Describe an item; its addresses change with its content, so that a browser never shows the old one."""
    file, metadata = item.file, item.file.metadata
    version = (file.checksum or "").removeprefix("sha256:")[:16]
    base = f"/api/items/{item.id}"
    width, height = metadata.get("width"), metadata.get("height")
    return ItemOut(
        id=item.id,
        name=file.filename,
        content_type=file.content_type.partition(";")[0],
        size=file.size,
        checksum=file.checksum,
        added_at=item.created_at.timestamp(),
        width=width if isinstance(width, int) else None,
        height=height if isinstance(height, int) else None,
        content=f"{base}/content?v={version}",
        download=f"{base}/download?v={version}",
        thumbnail=f"{base}/thumbnail?v={version}" if item.thumbnail is not None else None,
    )


async def picture(item: Item) -> None:
    """Set the thumbnail and the dimensions of a stored item, if it is a picture."""
    seen = await look_at(item.file)
    if seen is None:
        item.thumbnail = None
        return
    item.thumbnail = FileObject("thumbnail.webp", content=seen.thumbnail)
    item.file.update_metadata({"width": seen.width, "height": seen.height})


async def found(items: ItemService, number: int) -> Item:
    """Return an item, or answer 404."""
    item = await items.get_one_or_none(id=number) if 0 < number < 2**63 else None
    if item is None:
        raise NotFoundException("File not found")
    return item


class ItemController(Controller):
    """Files: upload, list, view, replace, delete."""

    path = "/api/items"
    tags = ("items",)

    @get(summary="List the newest files first")
    async def list_items(self, items: Items) -> list[ItemOut]:
        return [shown(item) for item in await items.get_many(order_by=[(Item.id, True)])]

    @get("/policy", summary="Return what may be uploaded")
    async def show_policy(self) -> Policy:
        return Policy(FILE.max_size, sorted(FILE.accept or ()))

    @post(request_max_body_size=BODY_LIMIT, summary="Upload a file", responses=refusals(400, 413, 415))
    async def add_item(self, data: MultipartBody[Upload], items: Items) -> ItemOut:
        # stored here: what the column refuses is an error response, and no row
        item = await items.create(Item(file=data.file))
        await picture(item)
        return shown(await items.update(item, auto_commit=True))

    @put(
        "/{number:int}",
        request_max_body_size=BODY_LIMIT,
        summary="Put another file in its place",
        responses=refusals(400, 404, 413, 415),
    )
    async def replace_item(self, number: ItemNumber, data: MultipartBody[Upload], items: Items) -> ItemOut:
        item = await found(items, number)
        item.file = data.file
        await items.repository.session.flush()
        await picture(item)
        return shown(await items.update(item, auto_commit=True))

    @delete("/{number:int}", summary="Delete a file", responses=refusals(404))
    async def delete_item(self, number: ItemNumber, items: Items) -> None:
        await found(items, number)
        await items.delete(number, auto_commit=True)

    @route(
        "/{number:int}/content",
        http_method=["GET", "HEAD"],
        summary="Read a file in place, by ranges too",
        responses=refusals(404, 416),
    )
    async def read_item(self, number: ItemNumber, request: AnyRequest, items: Items) -> FileObjectResponse:
        return FileObjectResponse((await found(items, number)).file, request, disposition="inline")

    @route(
        "/{number:int}/download",
        http_method=["GET", "HEAD"],
        summary="Save a file",
        responses=refusals(404, 416),
    )
    async def download_item(
        self, number: ItemNumber, request: AnyRequest, items: Items
    ) -> FileObjectResponse:
        return FileObjectResponse((await found(items, number)).file, request)

    @get("/{number:int}/thumbnail", summary="Show the thumbnail of a picture", responses=refusals(404, 416))
    async def read_thumbnail(
        self, number: ItemNumber, request: AnyRequest, items: Items
    ) -> FileObjectResponse:
        item = await found(items, number)
        if item.thumbnail is None:
            raise HTTPException(status_code=404, detail="The file has no thumbnail")
        return FileObjectResponse(
            item.thumbnail, request, disposition="inline", cache_control=THUMBNAIL_CACHE
        )
