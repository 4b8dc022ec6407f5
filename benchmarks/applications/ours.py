"""filecolumn's plugin in Litestar."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, get, post, put
from litestar.params import MultipartBody
from litestar.response import Stream
from msgspec import Struct

from benchmarks.applications.base import Application, random_pieces
from benchmarks.contenders.base import CONTENT, Place
from filecolumn import FileObject
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin, FileObjectResponse, file_from_body


class Form(Struct):
    file: FileObject


class Ours(Application):
    name = "filecolumn in Litestar"
    can = frozenset({"download", "range", "conditional", "upload", "large_download", "large_upload"})

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.backend = ObstoreBackend("files", f"{self.folder.as_uri()}/", fsync=False)
        self.file: FileObject | None = None
        self.large: FileObject | None = None
        config = FileColumnConfig(
            backends={"files": self.backend}, check_on_startup=False, drain_in_background=False
        )
        self.app = Litestar(
            [self._small(), self._large(), self._form(), self._put()],
            plugins=[FileColumnPlugin(config)],
            openapi_config=None,
        )

    async def enter(self) -> None:
        await self.running.enter_async_context(self.app.lifespan())
        self.file = FileObject("a.bin", content=CONTENT, backend="files").save()

    def make_large(self, megabytes: int) -> None:
        self.large = FileObject("large.bin", content=random_pieces(megabytes), backend="files").save()

    def _small(self) -> Any:
        @get("/small")
        async def small() -> FileObjectResponse:
            return FileObjectResponse(_saved(self.file))

        return small

    def _large(self) -> Any:
        @get("/large")
        async def large() -> FileObjectResponse:
            return FileObjectResponse(_saved(self.large))

        return large

    def _form(self) -> Any:
        @post("/form")
        async def form(data: MultipartBody[Form]) -> None:
            await data.file.save_async()

        return form

    def _put(self) -> Any:
        @put("/large", request_max_body_size=None)
        async def up(request: Request[Any, Any, Any]) -> None:
            file = await file_from_body(request, "up.bin", backend="files").save_async()
            await file.delete_async()

        return up


class Streamed(Ours):
    """The same storage, without what a response of ours does besides."""

    name = "Litestar Stream of our storage"
    can = frozenset({"large_download"})

    def _large(self) -> Any:
        @get("/large")
        async def large() -> Stream:
            file = _saved(self.large)
            content = await self.backend.get_async(file.path or "")
            return Stream(content, headers={"Content-Length": str(file.size)})

        return large


def _saved(file: FileObject | None) -> FileObject:
    assert file is not None, "the application was not started"
    return file
