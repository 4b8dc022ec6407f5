"""`FilesDTO` before other DTOs, in a controller and on handlers; tests/typed has the application."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from litestar import Litestar

from filecolumn.litestar import FileColumnConfig, FileColumnPlugin
from tests.litestar.server import LiveServer, serve
from tests.typed.dtos import Albums, by_dataclass, by_model, by_struct


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    plugin = FileColumnPlugin(FileColumnConfig(backends={"files": "memory://"}))
    app = Litestar([Albums, by_struct, by_dataclass, by_model], plugins=[plugin], logging_config=None)
    with serve(app) as server:
        yield server


PAGE = ("1.txt", b"x", "text/plain")


def test_a_controller_has_one_dto_for_models_lists_of_them_and_none(http: httpx.Client) -> None:
    empty = {"title": "one", "cover": None, "pages": [], "extras": []}
    assert http.get("/albums").json() == [empty]
    assert http.get("/albums/first").json() == empty
    assert http.get("/albums/count").json() == {"albums": 1}
    assert http.post("/albums/delete").status_code == 201


def test_a_model_is_made_of_a_form_and_of_json(http: httpx.Client) -> None:
    files = [("pages", PAGE), ("extras", PAGE), ("extras", PAGE)]
    album = http.post("/albums", data={"title": "two"}, files=files).json()
    assert [page["filename"] for page in album["pages"]] == ["1.txt"]
    assert [page["filename"] for page in album["extras"]] == ["1.txt", "1.txt"]
    assert album["cover"] is None
    album = http.post("/albums/json", json={"title": "three"}).json()
    assert (album["title"], album["pages"]) == ("three", [])
    assert http.post("/albums/json", json={"title": "three", "pages": [{"key": "x"}]}).status_code == 400


def test_a_partial_dto_changes_what_was_sent(http: httpx.Client) -> None:
    album = http.patch("/albums", files={"extras": PAGE}).json()
    assert (album["title"], album["cover"]["filename"]) == ("one", "old.txt")
    assert [page["filename"] for page in album["extras"]] == ["1.txt"]
    assert (
        http.patch("/albums", data={"cover": "", "title": "new"}, files={"x": PAGE}).json()["cover"] is None
    )


@pytest.mark.parametrize(("path", "upper"), [("/struct", True), ("/dataclass", False), ("/model", False)])
def test_every_kind_of_dto_has_lists_of_files(http: httpx.Client, path: str, upper: bool) -> None:
    names = [name.upper() if upper else name for name in ("title", "pages")]
    for count in (1, 3):
        answer = http.post(path, data={names[0]: "T"}, files=[(names[1], PAGE)] * count)
        assert answer.json() == ["1.txt"] * count


def test_the_schema_of_a_dto_has_files_in_what_is_sent(http: httpx.Client) -> None:
    schema = http.get("/schema/openapi.json").json()
    body = schema["paths"]["/albums"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    assert fields["pages"]["type"] == "array"
    assert fields["pages"]["items"]["format"] == "binary"
    assert any(kind.get("format") == "binary" for kind in fields["cover"]["oneOf"])
