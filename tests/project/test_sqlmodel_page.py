"""The application of the page about SQLModel, with what browsers send and its own client does not."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import registry

from filecolumn.testing import assert_consistent
from tests.litestar.server import serve
from tests.project import browser_forms
from tests.project.browser_forms import EMPTY, Part, filled
from tests.project.test_docs import ROOT, blocks, module, run_block

__all__ = ("module",)

for package in ("fastapi", "sqlmodel"):
    pytest.importorskip(package)
pytestmark = pytest.mark.extended

PAGE = ROOT / "docs/howto/sqlmodel.md"


@pytest.fixture
def engine(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Make what the page makes, but for its own requests, and return another engine of its database."""
    sqlmodel = importlib.import_module("sqlmodel")

    # all models of a process are in one registry else, and the page's were there twice
    class Own(sqlmodel.SQLModel, registry=registry()):  # type: ignore[call-arg, misc, name-defined]
        ...

    monkeypatch.setattr(sqlmodel, "SQLModel", Own)
    *made, _ = [block for block in blocks(PAGE.read_text()) if block.language == "python"]
    with asyncio.Runner() as runner:
        for block in made:
            run_block(block, PAGE, module, runner)
    tables = Own.metadata
    engine = create_engine(f"sqlite:///{tmp_path}/documents.db")
    tables.create_all(engine)
    yield engine
    assert_consistent(engine, tables)
    vars(module)["engine"].dispose()
    engine.dispose()


@pytest.fixture
def http(module: ModuleType, engine: Engine) -> Iterator[httpx.Client]:
    with serve(vars(module)["app"]) as server, server.client() as client:
        made = client.post("/documents", data={"title": "T"}, files={"body": ("a.txt", b"one")})
        assert made.status_code == 201
        yield client


def edit(http: httpx.Client, *parts: Part) -> httpx.Response:
    inputs = {"title": "T", "body": EMPTY, "cover": EMPTY, "pages": EMPTY}
    return browser_forms.send(http, "/documents/1", filled(inputs, *parts))


def names(answer: httpx.Response) -> tuple[Any, ...]:
    assert answer.status_code == 200
    document = answer.json()
    return (
        document["body"]["filename"],
        document["cover"] and document["cover"]["filename"],
        [page["filename"] for page in document["pages"]],
    )


def test_the_form_keeps_replaces_and_clears(http: httpx.Client) -> None:
    assert names(edit(http)) == ("a.txt", None, [])
    first: tuple[Part, ...] = (
        ("cover", ("c.gif", b"GIF89a\x01\0\x01\0\0\0\0;")),
        ("pages", ("1.txt", b"1")),
        ("pages", ("2.txt", b"")),
    )
    answer = edit(http, *first)
    assert names(answer) == ("a.txt", "c.gif", ["1.txt", "2.txt"])
    assert names(edit(http, ("body", ("b.txt", b"")))) == ("b.txt", "c.gif", ["1.txt", "2.txt"])
    removed = answer.json()["pages"][0]["checksum"]
    assert names(edit(http, ("remove_pages", removed), ("pages", ("3.txt", b"3")))) == (
        "b.txt",
        "c.gif",
        ["2.txt", "3.txt"],
    )
    assert names(edit(http, ("remove_cover", "on"))) == ("b.txt", None, ["2.txt", "3.txt"])
    assert http.delete("/documents/1").status_code == 204


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (("cover", ("c.png", b"<html>")), 415),
        (("body", ("big.bin", b"x" * 10_000_001)), 413),
        (("body", "text"), 422),
    ],
    ids=["type", "size", "text"],
)
def test_a_refused_file_changes_nothing(http: httpx.Client, part: Part, status: int) -> None:
    assert edit(http, ("title", "New"), ("pages", ("n.txt", b"new")), part).status_code == status
    assert names(edit(http)) == ("a.txt", None, [])


def test_a_new_document_needs_a_file(http: httpx.Client) -> None:
    assert browser_forms.send(http, "/documents", [("title", "T"), ("body", EMPTY)]).status_code == 422
    parts: list[Part] = [("title", "T"), ("body", ("b.txt", b"")), ("pages", ("1.txt", b"1"))]
    answer = browser_forms.send(http, "/documents", parts)
    assert (answer.status_code, [page["filename"] for page in answer.json()["pages"]]) == (201, ["1.txt"])
