"""Files in Structs, dataclasses, pydantic models and DTOs: in, out, and in OpenAPI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pydantic
import pytest
from advanced_alchemy.extensions.litestar import SQLAlchemyDTO, SQLAlchemyDTOConfig
from litestar import post
from litestar.di import NamedDependency
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession

from filecolumn import FileObject, FileObjectList, storages
from filecolumn.files.interchange import dec_hook, enc_hook
from filecolumn.litestar import FilesDTO
from tests.litestar.application import Document, application, objects
from tests.litestar.server import serve

FACTS = {"filename", "content_type", "size", "checksum", "last_modified", "url"}


class StructForm(msgspec.Struct):
    file: FileObject
    pages: list[FileObject] = []
    note: FileObject | None = None


@dataclass
class DataForm:
    file: FileObject
    note: FileObject | None = None


class ModelForm(pydantic.BaseModel):
    file: FileObject
    pages: FileObjectList = pydantic.Field(default_factory=FileObjectList)
    note: FileObject | None = None


class Sent(msgspec.Struct):
    file: FileObject
    names: list[str]


async def stored(form: Any) -> Sent:
    await form.file.save_async()
    names = [form.file.filename, *(page.filename for page in getattr(form, "pages", []))]
    return Sent(form.file, [*names, *([form.note.filename] if form.note else [])])


@post("/struct")
async def struct_form(data: MultipartBody[StructForm]) -> Sent:
    return await stored(data)


@post("/dataclass")
async def dataclass_form(data: MultipartBody[DataForm]) -> Sent:
    return await stored(data)


@post("/pydantic")
async def pydantic_form(data: MultipartBody[ModelForm]) -> Sent:
    return await stored(data)


class ModelOut(pydantic.BaseModel):
    file: FileObject
    pages: FileObjectList


@post("/model-out")
async def model_out(data: MultipartBody[ModelForm]) -> ModelOut:
    await data.file.save_async()
    return ModelOut(file=data.file, pages=FileObjectList())


class NewDocumentDTO(FilesDTO, SQLAlchemyDTO[Document]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True)


class DocumentDTO(FilesDTO, SQLAlchemyDTO[Document]): ...


@post("/dto", dto=NewDocumentDTO, return_dto=DocumentDTO)
async def dto_form(data: MultipartBody[Document], db_session: NamedDependency[AsyncSession]) -> Document:
    db_session.add(data)
    await db_session.flush()
    return data


HANDLERS = [struct_form, dataclass_form, pydantic_form, model_out, dto_form]


@pytest.fixture
def live(tmp_path: Path):
    storages.default = "files"
    with serve(application(tmp_path, handlers=HANDLERS)) as server:
        yield server


def part(name: str) -> tuple[str, bytes, str]:
    return (name, b"hello", "text/plain")


@pytest.mark.parametrize("path", ["/struct", "/dataclass", "/pydantic"])
def test_a_part_becomes_a_file_of_the_form(http: httpx.Client, path: str) -> None:
    answer = http.post(path, files={"file": part("a.txt"), "note": part("n.txt")})
    assert answer.status_code == 201, answer.text
    assert answer.json()["names"] == ["a.txt", "n.txt"]
    assert set(answer.json()["file"]) == FACTS
    assert answer.json()["file"]["size"] == 5
    assert http.get(answer.json()["file"]["url"]).content == b"hello"


@pytest.mark.parametrize("path", ["/struct", "/pydantic"])
@pytest.mark.parametrize("count", [1, 3])
def test_several_parts_become_a_list(http: httpx.Client, path: str, count: int) -> None:
    files = [("file", part("a.txt")), *(("pages", part(f"{n}.txt")) for n in range(count))]
    answer = http.post(path, files=files)
    assert answer.status_code == 201, answer.text
    assert answer.json()["names"] == ["a.txt", *(f"{n}.txt" for n in range(count))]


@pytest.mark.parametrize("path", ["/struct", "/dataclass", "/pydantic", "/dto"])
def test_a_part_too_many_or_a_text_in_its_place_is_400(http: httpx.Client, path: str, tmp_path: Path) -> None:
    assert http.post(path, files=[("file", part("a.txt")), ("file", part("b.txt"))]).status_code == 400
    assert http.post(path, data={"file": "text"}, files={"x": part("x")}).status_code == 400
    assert objects(tmp_path) == []


def test_a_model_is_made_of_a_form_by_its_dto(http: httpx.Client, tmp_path: Path) -> None:
    files = [("file", part("a.txt")), ("pages", part("1.txt")), ("pages", part("2.txt"))]
    answer = http.post("/dto", data={"title": "T"}, files=files)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["id"], body["title"], body["file"]["filename"]) == (1, "T", "a.txt")
    assert [page["filename"] for page in body["pages"]] == ["1.txt", "2.txt"]
    assert "backend" not in answer.text
    assert len(objects(tmp_path)) == 3


def test_a_pydantic_model_is_returned(http: httpx.Client) -> None:
    answer = http.post("/model-out", files={"file": part("a.txt")})
    assert answer.status_code == 201, answer.text
    assert set(answer.json()["file"]) == FACTS
    assert answer.json()["pages"] == []


def test_openapi_has_a_binary_in_what_is_sent_and_an_object_in_what_comes_back(http: httpx.Client) -> None:
    schema = http.get("/schema/openapi.json").json()
    components = schema["components"]["schemas"]
    sent = components["StructForm"]["properties"]
    assert (sent["file"]["type"], sent["file"]["format"]) == ("string", "binary")
    assert sent["pages"]["items"]["format"] == "binary"
    returned = components["Sent"]["properties"]["file"]
    assert set(returned["properties"]) == FACTS
    assert "/files/{token}" not in schema["paths"]
    text = str([value for name, value in components.items() if "Document" in name])
    assert "'format': 'binary'" in text
    assert "last_modified" in text
    assert "to_filename" not in str(schema)


def test_pydantic_without_litestar() -> None:
    storages.register_backend("memory://", key="files")
    file = FileObject("a.txt", backend="files", content=b"hello").save()
    model = ModelOut(file=file, pages=FileObjectList([file]))
    assert model.model_dump(mode="json")["file"] == file.public_dict()
    assert model.model_dump()["file"] is file
    out = ModelOut.model_json_schema(mode="serialization")["properties"]["file"]
    assert set(out["properties"]) == FACTS
    sent = ModelOut.model_json_schema(mode="validation")["properties"]["file"]
    assert sent == {"type": "string", "format": "binary", "title": "File"}
    for value in ({"filename": "a", "to_filename": "k", "backend": "files"}, "token", 5, None):
        with pytest.raises((pydantic.ValidationError, NotImplementedError)):
            ModelOut.model_validate({"file": value, "pages": []})


def test_msgspec_without_litestar() -> None:
    storages.register_backend("memory://", key="files")
    file = FileObject("a.txt", backend="files", content=b"hello").save()
    form = StructForm(file=file, pages=[file])
    decoded = msgspec.json.decode(msgspec.json.encode(form, enc_hook=enc_hook))
    assert decoded["file"] == file.public_dict()
    assert decoded["pages"] == [file.public_dict()]
    assert msgspec.convert({"file": file}, StructForm, dec_hook=dec_hook).file is file
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"file": decoded["file"]}, StructForm, dec_hook=dec_hook)
