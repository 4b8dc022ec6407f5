"""The module that the page about sqladmin has to be copied, in an admin that listens."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, NullPool, create_engine, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject, storages
from filecolumn.testing import assert_consistent
from tests.litestar.server import LiveServer, serve
from tests.project import browser_forms
from tests.project.browser_forms import EMPTY, Part, filled
from tests.project.test_docs import ROOT, blocks

pytest.importorskip("sqladmin")
pytestmark = pytest.mark.extended

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89"


class Base(DeclarativeBase): ...


class Paper(Base):
    __tablename__ = "papers"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[FileObject] = mapped_column(StoredObject("docs", max_size=2_000_000))
    cover: Mapped[FileObject | None] = mapped_column(StoredObject("docs", accept={"image/*"}))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject("docs", multiple=True), default=list)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the page's module."""
    folder = tmp_path_factory.mktemp("copied")
    page = (ROOT / "docs/howto/admin.md").read_text()
    text = next(block.text for block in blocks(page) if block.file_name == "stored_files.py")
    (folder / "stored_files.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("stored_files")
    del sys.modules["stored_files"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    storages.register_backend("memory://", "docs")
    engine = create_engine(f"sqlite:///{tmp_path}/papers.db")
    Base.metadata.create_all(engine)
    yield engine
    assert_consistent(engine, Base)
    engine.dispose()


@pytest.fixture(params=["sync", "async"])
def server(request: pytest.FixtureRequest, copied: Any, engine: Engine) -> Iterator[LiveServer]:
    starlette = importlib.import_module("starlette.applications")

    class PaperAdmin(copied.FilesView, model=Paper):  # type: ignore[call-arg, misc, name-defined]
        column_list = ("id", "title", "body", "cover", "pages")
        column_formatters = dict.fromkeys(("body", "cover", "pages"), copied.file_links)
        column_formatters_detail = column_formatters
        save_as = True

    own: Engine | AsyncEngine = engine
    if request.param == "async":
        # without a pool, nothing is left to be closed when the server's loop is gone
        own = create_async_engine(engine.url.set(drivername="sqlite+aiosqlite"), poolclass=NullPool)
    app = starlette.Starlette()
    copied.FilesAdmin(app, own).add_view(PaperAdmin)
    with serve(app) as server:
        yield server


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def send(http: httpx.Client, path: str, *parts: Part, save: str = "Save") -> httpx.Response:
    inputs = {"title": "T", "body": EMPTY, "cover": EMPTY, "pages": EMPTY, "save": save}
    return browser_forms.send(http, f"/admin/paper/{path}", filled(inputs, *parts))


def rows(engine: Engine) -> list[tuple[Any, ...]]:
    """Return what the rows have; content that no row has would be an orphan."""
    assert_consistent(engine, Base)
    with Session(engine) as session:
        return [
            (
                paper.title,
                paper.body.get_content(),
                paper.cover and paper.cover.filename,
                [page.filename for page in paper.pages],
            )
            for paper in session.scalars(select(Paper).order_by(Paper.id))
        ]


def keys(engine: Engine) -> dict[str, str | None]:
    with Session(engine) as session:
        paper = session.get_one(Paper, 1)
        files = [paper.body, *([paper.cover] if paper.cover else []), *paper.pages]
        return {file.filename: file.path for file in files}


@pytest.fixture
def paper(http: httpx.Client, engine: Engine) -> str:
    """Make a row with files, and return the path of its form."""
    files: tuple[Part, ...] = (
        ("body", ("a.txt", b"a")),
        ("cover", ("c.png", PNG)),
        ("pages", ("1.txt", b"1")),
        ("pages", ("2.txt", b"2")),
    )
    assert send(http, "create", *files).status_code == 302
    assert rows(engine) == [("T", b"a", "c.png", ["1.txt", "2.txt"])]
    return "edit/1"


def test_a_row_is_made_with_the_files_that_it_needs(http: httpx.Client, engine: Engine) -> None:
    page = http.get("/admin/paper/create").text
    assert re.findall(r"<input [^>]*\brequired\b[^>]* type=\"file\"", page) == [
        re.search(r"<input [^>]*name=\"body\"[^>]*type=\"file\"", page)[0]  # type: ignore[index]
    ]
    for body in (EMPTY, "text"):
        missing = send(http, "create", ("body", body))
        assert missing.status_code == 400
        assert "Choose a file." in missing.text
    assert rows(engine) == []
    assert send(http, "create", ("body", ("empty.txt", b""))).status_code == 302
    assert rows(engine) == [("T", b"", None, [])]


def test_an_edit_keeps_what_it_does_not_name(http: httpx.Client, engine: Engine, paper: str) -> None:
    before = keys(engine)
    page = http.get(f"/admin/paper/{paper}").text
    assert all(name in page for name in before)
    assert " required" not in "".join(re.findall(r"<input [^>]*type=\"file\"", page))
    assert send(http, paper, ("title", "New")).status_code == 302
    assert (
        send(http, paper, ("title", "Text"), ("body", "x"), ("cover", "x"), ("pages", "x")).status_code == 302
    )
    assert rows(engine) == [("Text", b"a", "c.png", ["1.txt", "2.txt"])]
    assert keys(engine) == before


def test_files_are_replaced_cleared_added_and_taken_out(
    http: httpx.Client, engine: Engine, paper: str
) -> None:
    key = keys(engine)
    assert (
        send(http, paper, ("body", ("b.txt", b"b" * 1_500_000)), ("pages", ("3.txt", b""))).status_code == 302
    )
    assert rows(engine) == [("T", b"b" * 1_500_000, "c.png", ["1.txt", "2.txt", "3.txt"])]
    removed = (("cover-remove", key["c.png"] or ""), ("pages-remove", key["1.txt"] or ""))
    assert send(http, paper, ("body", ("b.txt", b"b")), *removed, ("pages-remove", "../x")).status_code == 302
    assert rows(engine) == [("T", b"b", None, ["2.txt", "3.txt"])]
    assert send(http, paper, ("body-remove", keys(engine)["b.txt"] or "")).status_code == 400
    # a form that was opened before somebody else replaced the file
    assert (
        send(http, paper, ("cover", ("d.png", PNG)), ("cover-remove", key["c.png"] or "")).status_code == 302
    )
    assert send(http, paper, ("cover-remove", key["c.png"] or "")).status_code == 302
    assert rows(engine) == [("T", b"b", "d.png", ["2.txt", "3.txt"])]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (("body", ("big.bin", b"x" * 2_000_001)), "accepts at most 2000000 bytes"),
        (("cover", ("c.png", b"<html>")), "but the content is text/html"),
        (("cover", ("c.pdf", b"%PDF-1.7")), "image/*"),
    ],
    ids=["too large", "not what it says", "not accepted"],
)
def test_a_refused_file_is_an_error_of_the_form(
    http: httpx.Client, engine: Engine, paper: str, part: Part, reason: str
) -> None:
    before = keys(engine)
    for path in (paper, "create"):
        answer = send(http, path, ("body", ("n.txt", b"new")), ("pages", ("n.txt", b"new")), part)
        assert answer.status_code == 400
        assert reason in answer.text
    assert rows(engine) == [("T", b"a", "c.png", ["1.txt", "2.txt"])]
    assert keys(engine) == before


def test_a_row_that_is_saved_as_a_new_one_has_copies(http: httpx.Client, engine: Engine, paper: str) -> None:
    answer = send(http, paper, ("pages", ("3.txt", b"3")), ("title", "Copy"), save="Save as new")
    assert answer.headers["location"].endswith("/edit/2")
    assert rows(engine) == [
        ("T", b"a", "c.png", ["1.txt", "2.txt"]),
        ("Copy", b"a", "c.png", ["1.txt", "2.txt", "3.txt"]),
    ]
    assert http.delete("/admin/paper/delete?pks=1").status_code == 200
    assert rows(engine) == [("Copy", b"a", "c.png", ["1.txt", "2.txt", "3.txt"])]
    assert http.delete("/admin/paper/delete?pks=2").status_code == 200
    assert rows(engine) == []
    assert list(storages.get("docs").list()) == []


def test_pages_link_to_files_as_downloads(http: httpx.Client, engine: Engine, paper: str) -> None:
    name = '"><b>ü.html'
    parts: tuple[Part, ...] = (("body", (name.replace('"', "%22"), b"<script>")),)
    assert send(http, paper, *parts).status_code == 302
    for page in ("list", "details/1"):
        text = http.get(f"/admin/paper/{page}").text
        assert "<b>" not in text
        assert "FileObject" not in text
        links = re.findall(r"href=\"http://[^/]+(/[^\"]*/file/[^\"]*)\"", text)
        assert [http.get(link).content for link in links] == [b"<script>", PNG, b"1", b"2"]
    answer = http.get(links[0])
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("title/0/1", "body/1/1", "cover/9/1", "pages/2/1", "body/0/2", "nothing/0/1"):
        assert http.get(f"/admin/paper/file/{path}").status_code == 404


def test_a_damaged_row_is_shown_and_can_be_mended(http: httpx.Client, engine: Engine, paper: str) -> None:
    before = keys(engine)
    with engine.begin() as connection:
        saved = connection.exec_driver_sql("SELECT cover, pages FROM papers").one()
        connection.exec_driver_sql("UPDATE papers SET cover = '{}', pages = '{}'")
    assert http.get("/admin/paper/list").text.count("<em>damaged</em>") == 2
    assert http.get(f"/admin/paper/{paper}").text.count('value="damaged"') == 2
    assert send(http, paper, ("title", "Kept")).status_code == 302
    assert http.get("/admin/paper/list").text.count("<em>damaged</em>") == 2
    assert send(http, paper, ("cover-remove", "damaged"), ("pages-remove", "damaged")).status_code == 302
    assert keys(engine) == {"a.txt": before["a.txt"]}
    # what the damaged JSON named is left to maintenance, which would be a finding of the check
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE papers SET cover = ?, pages = ?", tuple(saved))
