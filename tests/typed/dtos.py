"""`FilesDTO` before other DTOs, as `dto` and as `return_dto`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from advanced_alchemy.base import BigIntBase
from advanced_alchemy.extensions.litestar import SQLAlchemyDTO, SQLAlchemyDTOConfig
from litestar import Controller, get, patch, post
from litestar.dto import DataclassDTO, DTOConfig, DTOData, MsgspecDTO
from litestar.params import JSONBody, MultipartBody
from litestar.plugins.pydantic import PydanticDTO
from msgspec import Struct
from pydantic import BaseModel
from sqlalchemy.orm import Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject
from filecolumn.litestar import FilesDTO


class Album(BigIntBase):
    __tablename__ = "typed_albums"
    title: Mapped[str]
    cover: Mapped[FileObject | None] = mapped_column(StoredObject("files"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject("files", multiple=True), default=list)
    extras: Mapped[FileObjectList | None] = mapped_column(StoredObject("files", multiple=True))


class AlbumDTO(FilesDTO, SQLAlchemyDTO[Album]):
    config = SQLAlchemyDTOConfig(exclude={"id"})


class AlbumPatchDTO(FilesDTO, SQLAlchemyDTO[Album]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True)


M = TypeVar("M", bound=BigIntBase)


class WithoutIdDTO(FilesDTO, SQLAlchemyDTO[M]):
    config = SQLAlchemyDTOConfig(exclude={"id"})


class InheritedDTO(WithoutIdDTO[Album]): ...


class StructForm(Struct):
    title: str
    pages: FileObjectList


@dataclass
class DataclassForm:
    title: str
    pages: FileObjectList = field(default_factory=FileObjectList)


class ModelForm(BaseModel):
    title: str
    pages: FileObjectList = FileObjectList()


class StructFormDTO(FilesDTO, MsgspecDTO[StructForm]):
    config = DTOConfig(rename_strategy="upper")


class DataclassFormDTO(FilesDTO, DataclassDTO[DataclassForm]): ...


class ModelFormDTO(FilesDTO, PydanticDTO[ModelForm]): ...


class Albums(Controller):
    """Handlers whose data and results are of the model, and some that are not."""

    path = "/albums"
    dto = AlbumDTO
    return_dto = InheritedDTO

    @get()
    async def index(self) -> list[Album]:
        return [Album(id=1, title="one", pages=[])]

    @get("/first")
    async def first(self) -> Album:
        return Album(id=1, title="one", pages=[])

    @get("/count")
    async def count(self) -> dict[str, int]:
        return {"albums": 1}

    @post()
    async def add(self, data: MultipartBody[Album]) -> Album:
        return data

    @post("/json")
    async def add_json(self, data: JSONBody[Album]) -> Album:
        return data

    @patch(dto=AlbumPatchDTO)
    async def change(self, data: MultipartBody[DTOData[Album]]) -> Album:
        return data.update_instance(Album(id=1, title="one", cover=FileObject("old.txt", content=b"old")))

    @post("/delete")
    async def remove(self) -> None: ...


@post("/struct", dto=StructFormDTO, return_dto=None)
async def by_struct(data: MultipartBody[StructForm]) -> list[str]:
    return [page.filename for page in data.pages]


@post("/dataclass", dto=DataclassFormDTO, return_dto=None)
async def by_dataclass(data: MultipartBody[DataclassForm]) -> list[str]:
    return [page.filename for page in data.pages]


@post("/model", dto=ModelFormDTO, return_dto=None)
async def by_model(data: MultipartBody[ModelForm]) -> list[str]:
    return [page.filename for page in data.pages]
