"""Bodies that no browser sends: 400, never 500, and no file stays open."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, Request, post
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import UploadFile, upload_file
from litestar.dto import MsgspecDTO
from litestar.params import JSONBody, MultipartBody

from filecolumn import FileObject
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin
from tests.litestar import raw
from tests.litestar.server import LiveServer, serve, until


class Form(msgspec.Struct):
    title: str
    file: FileObject
    pages: list[FileObject] = []
    child: Form | None = None
    meta: Any = None


class FormDTO(MsgspecDTO[Form]): ...


@post("/form")
async def form(data: MultipartBody[Form]) -> str:
    return data.file.filename


@post("/dto", dto=FormDTO, return_dto=None)
async def dto(data: MultipartBody[Form]) -> str:
    return data.file.filename


@post("/list")
async def of_list(data: MultipartBody[list[FileObject]]) -> int:
    return len(data)


@post("/upload")
async def upload(data: MultipartBody[UploadFile]) -> str:
    return data.filename


@post("/uploads")
async def uploads(data: MultipartBody[list[UploadFile]]) -> int:
    return len(data)


@post("/request")
async def by_request(request: Request[Any, Any, Any]) -> list[str]:
    return list(await request.form())


@post("/json")
async def json(data: JSONBody[Form]) -> str:
    return data.title


@post("/json-dto", dto=FormDTO, return_dto=None)
async def json_dto(data: JSONBody[Form]) -> str:
    return data.title


@post("/metadata")
async def metadata(data: JSONBody[dict[str, Any]]) -> str:
    file = FileObject("a.txt", content=b"x", metadata=data)
    return file.filename


@post("/broken")
async def broken(data: MultipartBody[Form]) -> str:
    return {}[data.title]  # type: ignore[no-any-return]


FORMS = ["/form", "/dto", "/list", "/upload", "/uploads", "/request"]


@pytest.fixture(scope="module", params=["signed", "unsigned"])
def live(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    key = "0123456789abcdef" * 2 if request.param == "signed" else None
    handlers = [form, dto, of_list, upload, uploads, by_request, json, json_dto, metadata, broken]
    plugin = FileColumnPlugin(FileColumnConfig(backends={"files": "memory://"}, signing_key=key))
    with serve(Litestar(handlers, plugins=[plugin], logging_config=None)) as server:
        yield server


@pytest.fixture
def spooled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every temporary file of a form."""
    made = []

    class Watched(SpooledTemporaryFile):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(upload_file, "SpooledTemporaryFile", Watched)
    return made


FIRST = (
    b'--xyz\r\nContent-Disposition: form-data; name="title"\r\n\r\nT\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="pages"; filename="p.txt"\r\n\r\nx\r\n'
)
LAST = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n--xyz--\r\n'
TEXT = b'Content-Disposition: form-data; name="meta"\r\n'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n'

BROKEN = {
    "unknown charset": TEXT + b"Content-Type: text/plain; charset=utf-99\r\n\r\nx",
    "a codec that is no charset": TEXT + b"Content-Type: text/plain; charset=zlib\r\n\r\nx",
    "a codec of quadratic time": TEXT
    + b"Content-Type: text/plain; charset=punycode\r\n\r\n"
    + b"x" * 500_000,
    "no UTF-8 in a text": TEXT + b"\r\n\xff\xfe",
    "half of a pair": TEXT + b"\r\n\xed\xa0\x80",
    "no UTF-8 in its own charset": TEXT + b"Content-Type: text/plain; charset=utf-16\r\n\r\n\0\xd8\0",
    "no UTF-8 in a name": b'Content-Disposition: form-data; name="\xff"\r\n\r\nx',
    "no UTF-8 in a file name": b'Content-Disposition: form-data; name="file"; filename="\xff"\r\n\r\nx',
    "no UTF-8 in a header": FILE + b"X-Note: \xff\r\n\r\nx",
    "no disposition": b"Content-Type: text/plain\r\n\r\nx",
    "another disposition": b'Content-Disposition: attachment; name="file"\r\n\r\nx',
    "an overlong header": FILE + b"X-Note: " + b"x" * 100_000 + b"\r\n\r\nx",
    "too many headers": FILE + b"X-Note: x\r\n" * 1000 + b"\r\nx",
    "a false length": FILE + b"Content-Length: 5\r\n\r\nx",
    "a length that is none": FILE + b"Content-Length: 1e9\r\n\r\nx",
    "lines without returns": FILE.replace(b"\r\n", b"\n") + b"\n\nx",
    "too many parts": (TEXT + b"\r\nx\r\n--xyz\r\n") * 1100 + TEXT + b"\r\nx",
}
ODD = {
    "a form in a form": b'Content-Disposition: form-data; name="meta"\r\n'
    b"Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\nx\r\n--abc--",
    "a default charset": b'Content-Disposition: form-data; name="_charset_"\r\n\r\nutf-99',
    "no name": b"Content-Disposition: form-data\r\n\r\nx",
    "zeros": TEXT + b"\r\n\0\0",
    "another charset": TEXT + b"Content-Type: text/plain; charset=ISO-8859-15\r\n\r\n\xa4",
}


def post_parts(
    live: LiveServer, path: str, body: bytes, content_type: bytes = b"multipart/form-data; boundary=xyz"
) -> int:
    head = raw.head("POST", path, [("Content-Length", str(len(body))), ("Connection", "close")])
    head = head.removesuffix(b"\r\n") + b"Content-Type: " + content_type + b"\r\n\r\n"
    return raw.status_of(raw.exchange(live.port, head + body, close=False))


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_part_is_400_and_closes_the_files_before_it(
    live: LiveServer, spooled: list[Any], fault: str
) -> None:
    for path in FORMS:
        assert post_parts(live, path, FIRST + b"--xyz\r\n" + BROKEN[fault] + b"\r\n" + LAST) == 400, path
    assert spooled
    assert until(lambda: all(file.closed for file in spooled))


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_part_is_read(live: LiveServer, spooled: list[Any], kind: str) -> None:
    for path in ("/form", "/dto", "/request"):
        assert post_parts(live, path, FIRST + b"--xyz\r\n" + ODD[kind] + b"\r\n" + LAST) == 201, path
    assert until(lambda: all(file.closed for file in spooled))


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"multipart/form-data; charset=nonsense; boundary=xyz", 201),
        (b'multipart/form-data; boundary="xyz"', 201),
        (b"multipart/form-data; charset=nonsense", 400),
        (b"multipart/form-data; boundary=", 400),
        (b"multipart/form-data; boundary=\xff", 400),
        (b"application/json", 400),
        (b"\xff", 400),
    ],
)
def test_a_form_is_read_by_its_boundary(live: LiveServer, content_type: bytes, status: int) -> None:
    for path in ("/form", "/dto"):
        assert post_parts(live, path, FIRST + LAST, content_type) == status


def test_a_form_without_files_is_400_where_they_must_be(live: LiveServer) -> None:
    for path in ("/form", "/dto", "/upload", "/uploads"):
        assert post_parts(live, path, b"") == 400, path
        assert post_parts(live, path, b"--xyz--\r\n") == 400, path
    assert post_parts(live, "/list", b"--xyz--\r\n") == 201


@pytest.mark.parametrize("levels", [200, 900, 1000, 100_000])
def test_data_of_many_levels_is_no_500(http: httpx.Client, levels: int) -> None:
    arrays = '{"title": "T", "file": "x", "meta": ' + "[" * levels + "]" * levels + "}"
    objects = '{"title": "T", "child": ' * levels + "null" + "}" * levels
    for path in ("/json", "/json-dto", "/metadata"):
        for body in (arrays, objects, "[" * levels, '{"meta":' * levels + "1" + "}" * levels):
            answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {400, 422}, (path, answer.text)


@pytest.mark.parametrize("body", [b'{"title": "\xff"}', b'{"title": "\\ud800", "file": ""}', b"\xff\xfe{"])
def test_json_that_is_no_text_is_400(
    http: httpx.Client, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/json", "/json-dto", "/metadata"):
        assert http.post(path, content=body, headers={"Content-Type": "application/json"}).status_code == 400
    assert "title" not in caplog.text


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 65_536, "metadata_too_large"),
        ([1] * 1_000_000, "metadata_too_large"),
        ({str(number): number for number in range(20_000)}, "metadata_too_large"),
        ([[[[[[[[[]]]]]]]]], "metadata_too_deep"),
        ([[[[[[[[{}]]]]]]]] * 1000, "metadata_too_deep"),
    ],
    ids=["text", "list", "mapping", "deep", "deep and wide"],
)
def test_metadata_beyond_its_limits_is_422_and_says_why(http: httpx.Client, value: Any, code: str) -> None:
    answer = http.post("/metadata", json={"a": value})
    assert answer.status_code == 422, answer.text
    assert answer.json()["extra"][0]["field"] == "metadata"
    assert answer.json()["extra"][0]["code"] == code


def test_an_error_of_the_application_stays_500(live: LiveServer, spooled: list[Any]) -> None:
    assert post_parts(live, "/broken", FIRST + LAST) == 500
    assert until(lambda: spooled and all(file.closed for file in spooled))


def test_a_form_that_was_only_checked_for_forgery_is_closed(spooled: list[Any]) -> None:
    plugin = FileColumnPlugin(FileColumnConfig(backends={"files": "memory://"}))
    app = Litestar([form], plugins=[plugin], csrf_config=CSRFConfig(secret="s" * 32), logging_config=None)
    with serve(app) as server:
        assert post_parts(server, "/form", FIRST + LAST) == 403
        assert until(lambda: spooled and all(file.closed for file in spooled))
