"""Litestar by itself, over the same folder: its `File`, its `Stream` of what obstore reads, its `UploadFile`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from litestar import Litestar, Request, get, post, put
from litestar.datastructures import UploadFile
from litestar.params import MultipartBody
from litestar.response import File, Stream
from obstore.store import LocalStore

from benchmarks.applications.base import MIB, Application
from benchmarks.contenders.base import Place


class Bare(Application):
    name = "Litestar, raw obstore"
    can = frozenset({"download", "upload", "large_download", "large_upload"})

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.store = LocalStore(self.folder)
        self.app = Litestar([self._get(), self._form(), self._put()], openapi_config=None)

    async def enter(self) -> None:
        await self.running.enter_async_context(self.app.lifespan())

    def _get(self) -> Any:
        @get(["/small", "/large"])
        async def send(request: Request[Any, Any, Any]) -> Stream:
            content = await self.store.get_async(f"{request.scope['path'][1:]}.bin")
            headers = {"Content-Length": str(content.meta["size"])}
            return Stream(content.stream(), headers=headers, media_type="application/octet-stream")

        return send

    def _form(self) -> Any:
        @post("/form")
        async def form(data: MultipartBody[dict[str, UploadFile]]) -> None:
            content = await data["file"].read()
            hashlib.sha256(content).hexdigest()
            await self.store.put_async(f"form/{uuid4().hex}", content, mode="create", use_multipart=False)

        return form

    def _put(self) -> Any:
        @put("/large", request_max_body_size=None)
        async def up(request: Request[Any, Any, Any]) -> None:
            digest = hashlib.sha256()

            async def hashed() -> AsyncIterator[bytes]:
                async for chunk in request.stream():
                    digest.update(chunk)
                    yield chunk

            key = f"bare/{time.monotonic_ns()}"
            await self.store.put_async(key, hashed(), chunk_size=8 * MIB, max_concurrency=4)
            await self.store.delete_async(key)

        return up


class LitestarFile(Application):
    name = "Litestar File"
    can = frozenset({"download", "large_download"})

    def __init__(self, place: Place) -> None:
        super().__init__(place)

        @get(["/small", "/large"], sync_to_thread=False)
        def send(request: Request[Any, Any, Any]) -> File:
            path = self.folder / f"{request.scope['path'][1:]}.bin"
            return File(path, filename="a.bin", media_type="application/octet-stream")

        self.app = Litestar([send], openapi_config=None)

    async def enter(self) -> None:
        await self.running.enter_async_context(self.app.lifespan())
