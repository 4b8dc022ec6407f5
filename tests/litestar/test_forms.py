"""Forms as browsers and others send them, for every kind of model: inputs left empty, cleared, and parts too many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import httpx
import msgspec
import pydantic
import pytest
from advanced_alchemy.extensions.litestar import SQLAlchemyDTO, SQLAlchemyDTOConfig
from litestar import Controller, Litestar, Request, get, patch, post
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import UploadFile
from litestar.dto import DataclassDTO, DTOConfig, DTOData, MsgspecDTO
from litestar.params import Body, MultipartBody, URLEncodedBody
from litestar.plugins.pydantic import PydanticDTO
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin, FilesDTO
from tests.litestar import raw
from tests.litestar.server import LiveServer, serve

T = TypeVar("T")


class StructForm(Struct):
    title: str
    file: FileObject
    cover: FileObject | None = None
    pages: list[FileObject] = []


class RenamedForm(Struct, Generic[T], rename={"kind": "type"}):
    title: str
    file: T
    pages: Annotated[FileObjectList, msgspec.Meta(description="of the book")] = msgspec.field(
        default_factory=FileObjectList
    )
    cover: Annotated[T | None, msgspec.Meta(description="of the book")] = None
    kind: FileObject | None = None


@dataclass
class DataForm:
    title: str
    file: FileObject
    cover: FileObject | None = None
    pages: FileObjectList = field(default_factory=FileObjectList)


class ModelForm(pydantic.BaseModel):
    title: str
    file: FileObject
    cover: FileObject | None = pydantic.Field(None, alias="front")
    pages: list[FileObject] = []
    model_config = pydantic.ConfigDict(validate_by_name=True)


class DictForm(TypedDict):
    title: str
    file: FileObject
    cover: NotRequired[FileObject | None]
    pages: NotRequired[list[FileObject]]


class Base(DeclarativeBase): ...


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    file: Mapped[FileObject] = mapped_column(StoredObject("files"))
    cover: Mapped[FileObject | None] = mapped_column(StoredObject("files"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject("files", multiple=True), default=list)


class StructDTO(MsgspecDTO[StructForm]):
    config = DTOConfig(rename_fields={"cover": "front"})


class DataDTO(FilesDTO, DataclassDTO[DataForm]): ...


class ModelDTO(PydanticDTO[ModelForm]): ...


class BookDTO(FilesDTO, SQLAlchemyDTO[Book]):
    config = SQLAlchemyDTOConfig(exclude={"id"})


def shown(form: Any) -> dict[str, Any]:
    """Return what a handler got: names for files, and the names of the types of others."""
    fields = form if isinstance(form, dict) else {name: getattr(form, name) for name in FIELDS}
    return {name: name_of(value) for name, value in fields.items() if value is not UNSET}


def name_of(value: Any) -> Any:
    if isinstance(value, list):
        return [name_of(item) for item in value]
    return value.filename if isinstance(value, FileObject) else value


FIELDS = ("title", "file", "cover", "pages")


@post("/struct")
async def struct(data: MultipartBody[StructForm]) -> dict[str, Any]:
    return shown(data)


@post("/renamed")
async def renamed(data: MultipartBody[RenamedForm[FileObject]]) -> dict[str, Any]:
    return shown(data)


@post("/dataclass")
async def of_dataclass(data: MultipartBody[DataForm]) -> dict[str, Any]:
    return shown(data)


@post("/pydantic")
async def of_pydantic(data: MultipartBody[ModelForm]) -> dict[str, Any]:
    return shown(data)


@post("/dict")
async def of_dict(data: MultipartBody[DictForm]) -> dict[str, Any]:
    return shown({"cover": None, "pages": [], **data})


@post("/struct-dto", dto=StructDTO, return_dto=None)
async def struct_dto(data: MultipartBody[StructForm]) -> dict[str, Any]:
    return shown(data)


@post("/dataclass-dto", dto=DataDTO, return_dto=None)
async def dataclass_dto(data: MultipartBody[DataForm]) -> dict[str, Any]:
    return shown(data)


@post("/pydantic-dto", dto=ModelDTO, return_dto=None)
async def pydantic_dto(data: MultipartBody[ModelForm]) -> dict[str, Any]:
    return shown(data)


@post("/sqlalchemy-dto", dto=BookDTO, return_dto=None)
async def sqlalchemy_dto(data: MultipartBody[Book]) -> dict[str, Any]:
    return shown(data)


@post("/optional")
async def optional(
    data: Annotated[StructForm | None, Body(media_type="multipart/form-data")] = None,
) -> dict[str, Any]:
    return {} if data is None else shown(data)


WHOLE = {
    handler.paths.copy().pop(): handler
    for handler in (
        *(struct, renamed, of_dataclass, of_pydantic, of_dict, optional),
        *(struct_dto, dataclass_dto, pydantic_dto, sqlalchemy_dto),
    )
}


class StructPatch(Struct):
    title: str | UnsetType = UNSET
    file: FileObject | UnsetType = UNSET
    cover: FileObject | UnsetType | None = UNSET
    pages: list[FileObject] | UnsetType = UNSET


class StructPartial(MsgspecDTO[StructForm]):
    config = DTOConfig(partial=True)


class DataPartial(FilesDTO, DataclassDTO[DataForm]):
    config = DTOConfig(partial=True)


class ModelPartial(PydanticDTO[ModelForm]):
    config = DTOConfig(partial=True)


class BookPartial(FilesDTO, SQLAlchemyDTO[Book]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True)


def kept() -> StructForm:
    """Return what is edited."""
    old = FileObject("old.txt", content=b"old")
    return StructForm("old", old, old, [old])


@patch("/unset")
async def unset(data: MultipartBody[StructPatch]) -> dict[str, Any]:
    return {**shown(kept()), **shown(data)}


@patch("/struct-partial", dto=StructPartial, return_dto=None)
async def struct_partial(data: MultipartBody[DTOData[StructForm]]) -> dict[str, Any]:
    return shown(data.update_instance(kept()))


@patch("/dataclass-partial", dto=DataPartial, return_dto=None)
async def dataclass_partial(data: MultipartBody[DTOData[DataForm]]) -> dict[str, Any]:
    return {**shown(kept()), **shown(data.as_builtins())}


@patch("/pydantic-partial", dto=ModelPartial, return_dto=None)
async def pydantic_partial(data: MultipartBody[DTOData[ModelForm]]) -> dict[str, Any]:
    return {**shown(kept()), **shown(data.as_builtins())}


@patch("/sqlalchemy-partial", dto=BookPartial, return_dto=None)
async def sqlalchemy_partial(data: MultipartBody[DTOData[Book]]) -> dict[str, Any]:
    old = kept()
    book = Book(title=old.title, file=old.file, cover=old.cover, pages=old.pages)
    return shown(data.update_instance(book))


EDITS = {
    handler.paths.copy().pop(): handler
    for handler in (unset, struct_partial, dataclass_partial, pydantic_partial, sqlalchemy_partial)
}


class BareStruct(Struct):
    file: FileObject | None
    pages: list[FileObject]


@dataclass
class BareData:
    file: FileObject | None
    pages: FileObjectList


class BareModel(pydantic.BaseModel):
    file: FileObject | None
    pages: FileObjectList


class BareDTO(FilesDTO, DataclassDTO[BareData]): ...


def bare_shown(form: Any) -> list[Any]:
    return [name_of(form.file), name_of(form.pages)]


@post("/bare-struct")
async def bare_struct(data: MultipartBody[BareStruct]) -> list[Any]:
    return bare_shown(data)


@post("/bare-dataclass")
async def bare_dataclass(data: MultipartBody[BareData]) -> list[Any]:
    return bare_shown(data)


@post("/bare-pydantic")
async def bare_pydantic(data: MultipartBody[BareModel]) -> list[Any]:
    return bare_shown(data)


@post("/bare-dto", dto=BareDTO, return_dto=None)
async def bare_dto(data: MultipartBody[BareData]) -> list[Any]:
    return bare_shown(data)


BARE = {
    handler.paths.copy().pop(): handler for handler in (bare_struct, bare_dataclass, bare_pydantic, bare_dto)
}


class PlainForm(Struct):
    title: str
    file: UploadFile | None = None
    note: str = "none"


@post("/plain")
async def plain(data: MultipartBody[PlainForm]) -> list[str | None]:
    return [data.title, None if data.file is None else data.file.filename, data.note]


class MixedForm(Struct):
    file: FileObject
    tags: list[str]
    notes: list[str] | None = None
    scan: UploadFile | None = None


@post("/mixed")
async def mixed(data: MultipartBody[MixedForm]) -> list[Any]:
    return [data.tags, data.notes, None if data.scan is None else data.scan.filename]


@post("/list")
async def of_list(data: MultipartBody[list[FileObject]]) -> list[str]:
    return name_of(data)


@post("/mapping")
async def of_mapping(data: MultipartBody[dict[str, FileObject]]) -> dict[str, str]:
    return {name: file.filename for name, file in data.items()}


@post("/again")
async def again(request: Request[Any, Any, Any], data: MultipartBody[StructForm]) -> dict[str, Any]:
    """Ask for the form once more."""
    form = await request.form()
    return {name: value.filename if isinstance(value, UploadFile) else value for name, value in form.items()}


@post("/url-encoded")
async def url_encoded(data: URLEncodedBody[StructPatch]) -> dict[str, Any]:
    return {**shown(kept()), **shown(data)}


def plugin(**config: Any) -> FileColumnPlugin:
    return FileColumnPlugin(FileColumnConfig(backends={"files": "memory://"}, **config))


@pytest.fixture(scope="module", params=["signed", "unsigned"])
def live(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    key: dict[str, str] = {} if request.param == "unsigned" else {"signing_key": "0123456789abcdef" * 2}
    handlers = [
        *WHOLE.values(),
        *EDITS.values(),
        *BARE.values(),
        plain,
        mixed,
        of_list,
        of_mapping,
        again,
        url_encoded,
    ]
    with serve(Litestar(handlers, plugins=[plugin(**key)], logging_config=None)) as server:
        yield server


Part = tuple[str, bytes] | tuple[str, bytes, str]


def file_part(name: str, filename: str = "a.txt", content: bytes = b"x") -> Part:
    return f'name="{name}"; filename="{filename}"', content, "text/plain"


def empty(name: str) -> Part:
    """Return what browsers send for a file input in which nothing was chosen."""
    return f'name="{name}"; filename=""', b"", "application/octet-stream"


def text(name: str, value: str = "") -> Part:
    return f'name="{name}"', value.encode()


def send(http: httpx.Client, method: str, path: str, *parts: Part) -> httpx.Response:
    body = raw.form(*((disposition, content) for disposition, content, *_ in parts))
    for disposition, _, *kind in parts:
        line = f"Content-Disposition: form-data; {disposition}\r\n".encode()
        body = body.replace(
            line, b"%b%b" % (line, b"".join(b"Content-Type: %b\r\n" % k.encode() for k in kind))
        )
    return http.request(
        method, path, content=body, headers={"Content-Type": "multipart/form-data; boundary=xyz"}
    )


def cover_of(path: str) -> str:
    """Return under which name the form of a handler has the cover."""
    return "front" if path in {"/struct-dto", "/pydantic"} else "cover"


@pytest.mark.parametrize("path", WHOLE)
def test_a_form_gives_what_was_chosen_and_defaults_for_the_rest(http: httpx.Client, path: str) -> None:
    cover = cover_of(path)
    for parts, expected in {
        (file_part("pages", "1"),): {"pages": ["1"]},
        (file_part("pages", "1"), file_part("pages", "2")): {"pages": ["1", "2"]},
        (file_part("pages", "1"), empty("pages"), file_part("pages", "2"), empty("pages")): {
            "pages": ["1", "2"]
        },
        (empty("pages"), empty("pages"), empty(cover)): {},
        (empty("pages"), file_part(cover, "c", b"")): {"cover": "c"},
        (text("pages"), text(cover)): {},
        (text("pages"), file_part("pages", "1"), empty(cover), text(cover)): {"pages": ["1"]},
    }.items():
        answer = send(http, "POST", path, text("title", "T"), file_part("file"), *parts)
        assert answer.status_code == 201, answer.text
        assert answer.json() == {"title": "T", "file": "a.txt", "cover": None, "pages": [], **expected}


def test_one_value_for_a_field_that_takes_several_is_a_list(http: httpx.Client) -> None:
    for parts, expected in {
        (text("tags", "a"),): [["a"], None, None],
        (text("tags", "a"), text("tags", "b"), text("notes", "c")): [["a", "b"], ["c"], None],
        (text("tags"), empty("scan")): [[""], None, None],
        (text("tags", "a"), file_part("scan", "s.txt")): [["a"], None, "s.txt"],
        (text("tags", "a"), text("scan")): [["a"], None, None],
    }.items():
        answer = send(http, "POST", "/mixed", file_part("file"), *parts)
        assert (answer.status_code, answer.json()) == (201, expected), parts


@pytest.mark.parametrize("path", WHOLE)
def test_a_file_that_must_be_is_named_in_the_answer_to_a_form_without(http: httpx.Client, path: str) -> None:
    for parts in ((), (empty("file"),), (empty("file"), empty("file")), (text("file"),)):
        answer = send(http, "POST", path, text("title", "T"), *parts)
        assert answer.status_code == 400, answer.text
        assert "file" in str(answer.json()["extra"])


@pytest.mark.parametrize("path", WHOLE)
def test_what_no_file_can_be_made_of_is_400(http: httpx.Client, path: str) -> None:
    cover = cover_of(path)
    good = file_part("file")
    for parts in (
        (text("file", "no.such.grant"),),
        (good, text(cover, "text")),
        (good, text("pages", "text")),
        (good, file_part("pages"), text("pages", "text")),
        (good, good),
        (good, file_part(cover), file_part(cover)),
        (good, text(cover), file_part(cover)),
        (good, file_part("title")),
    ):
        titles = () if parts[-1] == file_part("title") else (text("title", "T"),)
        answer = send(http, "POST", path, *titles, *parts)
        assert answer.status_code == 400, (parts, answer.text)


@pytest.mark.parametrize("path", EDITS)
def test_an_edit_keeps_the_files_of_inputs_left_empty(http: httpx.Client, path: str) -> None:
    old = {"title": "old", "file": "old.txt", "cover": "old.txt", "pages": ["old.txt"]}
    untouched = (empty("file"), empty("cover"), empty("pages"), empty("pages"))
    for parts, expected in {
        (text("title", "new"),): {"title": "new"},
        (text("title", "new"), *untouched): {"title": "new"},
        (file_part("cover", "new"), empty("pages")): {"cover": "new"},
        (empty("cover"), file_part("pages", "1"), empty("pages")): {"pages": ["1"]},
        (text("cover"), text("pages")): {"cover": None, "pages": []},
        # a hidden field clears where no file is chosen
        (text("cover"), empty("cover"), text("pages"), empty("pages")): {"cover": None, "pages": []},
    }.items():
        answer = send(http, "PATCH", path, *parts)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {**old, **expected}


@pytest.mark.parametrize("path", BARE)
def test_what_may_be_none_or_a_list_needs_no_default_for_an_input_left_empty(
    http: httpx.Client, path: str
) -> None:
    assert send(http, "POST", path, empty("file"), empty("pages")).json() == [None, []]
    assert send(http, "POST", path, text("file"), text("pages")).json() == [None, []]
    answer = send(http, "POST", path, text("x"))
    assert answer.status_code == 400
    assert "file" in str(answer.json()["extra"])


def test_a_struct_is_read_by_the_names_that_it_renames_to(http: httpx.Client) -> None:
    parts = (text("title", "T"), file_part("file"))
    assert send(http, "POST", "/renamed", *parts, empty("type")).status_code == 201
    assert send(http, "POST", "/renamed", *parts, text("type", "text")).status_code == 400


def test_some_clients_leave_the_empty_name_out(http: httpx.Client) -> None:
    files = {"file": ("", b"", "application/octet-stream"), "cover": ("", b"", "image/png")}
    answer = http.patch("/unset", files=files)
    assert (answer.json()["file"], answer.json()["cover"]) == ("old.txt", "old.txt")


def test_an_upload_of_litestars_own_stays_what_litestar_makes_of_it(http: httpx.Client) -> None:
    for parts, expected in {
        (empty("title"), empty("file"), empty("note")): ["", None, ""],
        (text("title", "T"), file_part("file")): ["T", "a.txt", "none"],
        (text("title", "T"), text("file")): ["T", None, "none"],
    }.items():
        assert send(http, "POST", "/plain", *parts).json() == expected


def test_a_list_is_all_the_files_of_its_form(http: httpx.Client) -> None:
    sent = (file_part("a", "1"), empty("a"), file_part("b", "2"), file_part("a", "3"))
    assert send(http, "POST", "/list", *sent).json() == ["1", "3", "2"]
    assert send(http, "POST", "/list", empty("a")).json() == []
    assert send(http, "POST", "/mapping", file_part("a", "1"), empty("b")).json() == {"a": "1"}


def test_a_handler_that_asks_for_the_form_gets_all_of_it(http: httpx.Client) -> None:
    answer = send(http, "POST", "/again", text("title", "T"), file_part("file"), empty("cover"))
    assert answer.json() == {"title": "T", "file": "a.txt", "cover": ""}


def test_a_form_without_files_clears_with_empty_fields(http: httpx.Client) -> None:
    answer = http.post("/url-encoded", data={"title": "new", "cover": "", "pages": ""})
    assert answer.json() == {"title": "new", "file": "old.txt", "cover": None, "pages": []}
    assert http.post("/url-encoded", data={"pages": "text"}).status_code == 400


@pytest.mark.parametrize("kind", ["none", "json", "nothing"])
def test_a_body_that_is_no_form_is_400(http: httpx.Client, kind: Literal["none", "json", "nothing"]) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "none": {},
        "json": {"json": {"title": "T", "file": "x"}},
        "nothing": {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=xyz"}},
    }
    for path in (*WHOLE, "/mapping"):
        answer = http.post(path, **bodies[kind])
        assert answer.status_code == (201 if path in {"/optional", "/mapping"} and kind != "json" else 400), (
            path
        )


class OwnRequest(Request[Any, Any, Any]):
    """Of the application."""

    async def form(self) -> Any:
        self.scope["state"]["asked"] = True
        return await super().form()


@post("/own")
async def own(request: OwnRequest, data: MultipartBody[StructForm]) -> list[Any]:
    await request.form()
    return [type(request).__name__, request.state.asked, data.cover]


class Other(Request[Any, Any, Any]):
    """Of a handler."""


@post("/other", request_class=Other)
async def other(request: Other, data: MultipartBody[StructForm]) -> list[Any]:
    return [type(request).__name__, isinstance(request, OwnRequest), data.cover]


class Page(Controller):
    path = "/page"
    request_class = Other

    @post()
    async def send(self, request: Other) -> list[Any]:
        form = await request.form()
        return [type(request).__name__, msgspec.to_builtins(form["cover"])]


def test_an_application_keeps_its_class_of_requests() -> None:
    app = Litestar([own, other, Page], plugins=[plugin()], request_class=OwnRequest, logging_config=None)
    with serve(app) as live, live.client() as http:
        parts = (text("title", "T"), file_part("file"), empty("cover"))
        assert send(http, "POST", "/own", *parts).json() == ["OwnRequest", True, None]
        assert send(http, "POST", "/other", *parts).json() == ["Other", False, None]
        assert send(http, "POST", "/page", *parts).json() == ["Other", ""]
        # decoded by us: Litestar would fail on it
        hostile = (f"{text('cover')[0]}\r\nContent-Type: text/plain; charset=idna", b"x")
        assert send(http, "POST", "/page", hostile).status_code == 400


def test_an_input_left_empty_is_seen_behind_a_check_for_forgery() -> None:
    """The token is in the form, so the middleware reads the form before the handler's data is made."""
    csrf = CSRFConfig(secret="s" * 32)

    @get("/")
    async def page() -> None: ...

    app = Litestar([page, unset], plugins=[plugin()], csrf_config=csrf, logging_config=None)
    with serve(app) as live, live.client() as http:
        http.get("/")
        token = text("_csrf_token", http.cookies["csrftoken"])
        answer = send(http, "PATCH", "/unset", token, empty("cover"), text("pages"))
        assert answer.json() == {"title": "old", "file": "old.txt", "cover": "old.txt", "pages": []}
        assert send(http, "PATCH", "/unset", empty("cover")).status_code == 403
