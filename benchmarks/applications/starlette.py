"""Starlette by itself: its `FileResponse`, its `StaticFiles`, its `UploadFile`."""

from __future__ import annotations

import hashlib
from uuid import uuid4

from obstore.store import LocalStore
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from benchmarks.applications.base import Application
from benchmarks.contenders.base import Place


class StarletteResponse(Application):
    name = "Starlette FileResponse"
    can = frozenset({"download", "range", "upload", "large_download"})

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.store = LocalStore(self.folder)
        self.app = Starlette(
            routes=[Route("/form", self._receive, methods=["POST"]), Route("/{name}", self._send)]
        )

    async def _send(self, request: Request) -> Response:
        path = self.folder / f"{request.path_params['name']}.bin"
        return FileResponse(path, filename="a.bin", media_type="application/octet-stream")

    async def _receive(self, request: Request) -> Response:
        async with request.form() as form:
            content = await form["file"].read()  # type: ignore[union-attr]
        hashlib.sha256(content).hexdigest()
        await self.store.put_async(f"form/{uuid4().hex}", content, mode="create", use_multipart=False)
        return Response(status_code=201)


class StarletteStatic(Application):
    name = "Starlette StaticFiles"
    can = frozenset({"conditional"})

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        (self.folder / "small").write_bytes(self.small.read_bytes())
        self.app = Starlette(routes=[Mount("/", StaticFiles(directory=self.folder))])
