"""Chromium plays a sound and a film whose address is opened, and runs nothing that comes as one."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, Request, get
from litestar.params import FromPath
from playwright.sync_api import Browser, expect

from filecolumn import FileObject, storages
from filecolumn.litestar import FileObjectResponse
from tests.gallery.media import film
from tests.litestar.server import LiveServer, serve


def sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return path


@get("/{name:str}")
async def show(request: Request[Any, Any, Any], name: FromPath[str]) -> FileObjectResponse:
    return FileObjectResponse(request.app.state[name], request, disposition="inline")


@pytest.fixture
def player(tmp_path: Path) -> Iterator[LiveServer]:
    storages.register_backend("memory://", "m")
    app = Litestar([show])
    for path in (film(tmp_path / "a.webm", seconds=2), sound(tmp_path / "a.wav")):
        app.state[path.name] = FileObject(path.name, content=path, backend="m").save()
    page = b"<video></video><script>document.title = 'run'</script>"
    app.state["page.mp4"] = FileObject("page.mp4", content=page, backend="m", content_type="video/mp4").save()
    with serve(app) as live:
        yield live


@pytest.mark.parametrize("name", ["a.webm", "a.wav"])
def test_what_is_opened_plays(player: LiveServer, browser: Browser, name: str) -> None:
    page = browser.new_page()
    page.goto(f"{player.url}/{name}")
    page.evaluate(
        "() => { const player = document.querySelector('video'); player.muted = true; player.play() }"
    )
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.2", timeout=15_000)
    page.close()


def test_what_says_to_be_a_film_does_not_run(player: LiveServer, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{player.url}/page.mp4")
    expect(page).not_to_have_title("run")
    page.close()
