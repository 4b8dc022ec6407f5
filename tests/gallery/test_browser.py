"""Chromium does with the gallery what people do."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FloatRect, Locator, Page, Response, expect

from tests.gallery.media import picture, sound
from tests.litestar.server import LiveServer, until

pytestmark = pytest.mark.timeout(120)

# What does not depend on the size of the page is tried on one of the two.
on_desktop, on_phone = (
    pytest.mark.parametrize("page", [kind], indirect=True) for kind in ("desktop", "phone")
)


def upload(page: Page, *files: Path) -> None:
    """Choose files and wait until they are stored."""
    before = page.locator(".tile").count()
    page.locator("#chooser").set_input_files(files)
    expect(page.locator(".tile")).to_have_count(before + len(files))


def tile(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=f"Open {name}")


def objects(gallery: LiveServer, folder: Path) -> list[Path]:
    files = (path for path in (folder / "gallery" / "files").rglob("*") if path.is_file())
    return [path for path in files if ".filecolumn" not in path.parts or "stage" in path.parts]


def is_loaded(picture: Locator) -> bool:
    return bool(picture.evaluate("image => image.complete && image.naturalWidth > 0"))


def test_several_files_are_chosen_and_shown(page: Page, pictures: list[Path], http: httpx.Client) -> None:
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    upload(page, *pictures)
    expect(page.locator("#uploads-title")).to_have_text("All stored")
    for path in pictures:
        thumbnail = tile(page, path.name).locator("img")
        thumbnail.scroll_into_view_if_needed()
        assert until(lambda thumbnail=thumbnail: is_loaded(thumbnail))
        assert "/thumbnail" in str(thumbnail.get_attribute("src"))
    assert {item["name"] for item in http.get("/api/items").json()} == {path.name for path in pictures}
    page.reload()
    expect(page.locator(".tile")).to_have_count(3)


@on_desktop
def test_a_bar_shows_how_far_an_upload_is(page: Page, films: Path) -> None:
    connection = page.context.new_cdp_session(page)
    connection.send("Network.enable")
    rate = films.stat().st_size // 3
    connection.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate},
    )
    page.evaluate(
        """() => {
            window.parts = [];
            new MutationObserver(() => {
                const bar = document.querySelector("#queue progress");
                if (bar?.hasAttribute("value")) window.parts.push(bar.value);
            }).observe(document.querySelector("#queue"), {subtree: true, childList: true, attributes: true});
        }"""
    )
    page.locator("#chooser").set_input_files(films)
    bar = page.get_by_role("progressbar", name=films.name)
    expect(bar).to_be_visible()
    expect(page.get_by_text(re.compile(r"[\d.]+ MB of [\d.]+ MB"))).to_be_visible()
    assert violations(page) == []
    expect(page.get_by_text("Stored", exact=True)).to_be_visible(timeout=30_000)
    parts = page.evaluate("window.parts")
    assert parts == sorted(parts)
    assert len({part for part in parts if 0 < part < 1}) >= 2


@on_phone
def test_an_upload_can_be_stopped(
    page: Page, films: Path, http: httpx.Client, gallery: LiveServer, tmp_path: Path
) -> None:
    connection = page.context.new_cdp_session(page)
    connection.send("Network.enable")
    connection.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000},
    )
    page.locator("#chooser").set_input_files(films)
    page.get_by_role("button", name=f"Stop {films.name}").click()
    expect(page.locator("#queue .stopped")).to_have_count(1)
    assert http.get("/api/items").json() == []
    assert until(lambda: objects(gallery, tmp_path) == [])


@on_desktop
def test_files_are_dropped_anywhere(page: Page) -> None:
    data = page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["dear diary"], "diary.txt", {type: "text/plain"}));
            data.items.add(new File(["a note"], "note.txt", {type: "text/plain"}));
            return data;
        }"""
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": data})
    expect(page.get_by_text("Drop to upload")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    expect(page.get_by_text("Drop to upload")).not_to_be_visible()
    expect(page.locator(".tile")).to_have_count(2)


@on_desktop
def test_what_is_refused_says_why(page: Page, tmp_path: Path, http: httpx.Client) -> None:
    false = tmp_path / "false.png"
    false.write_bytes(b"<!DOCTYPE html><script>alert(1)</script>")
    drawing = tmp_path / "drawing.svg"
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    page.locator("#chooser").set_input_files([false, drawing])
    queue = page.locator("#queue")
    expect(queue.get_by_text("Declared as image/png, but the content is text/html")).to_be_visible()
    expect(queue.get_by_text("image/svg+xml is not accepted")).to_be_visible()
    expect(page.locator("#uploads-title")).to_have_text("2 not stored")
    assert http.get("/api/items").json() == []


@on_phone
def test_a_film_is_sought_by_ranges(page: Page, films: Path) -> None:
    upload(page, films)
    expect(tile(page, films.name).locator(".badge")).to_have_text("▶ 0:30")
    ranges: list[tuple[int, str]] = []

    def note(response: Response) -> None:
        if "/content" in response.url:
            ranges.append((response.status, response.headers.get("content-range", "")))

    page.on("response", note)
    tile(page, films.name).click()
    video = page.locator("#stage video")
    assert until(lambda: video.evaluate("video => video.readyState") >= 1)
    assert abs(video.evaluate("video => video.duration") - 30) < 1
    video.evaluate("video => { video.currentTime = 24; }")
    assert until(lambda: video.evaluate("video => !video.seeking && video.readyState >= 2"), within=15)
    assert video.evaluate("video => video.currentTime") == 24
    starts = [int(found[1]) for _, text in ranges if (found := re.match(r"bytes (\d+)-", text))]
    assert {status for status, _ in ranges} == {206}
    assert max(starts) > films.stat().st_size // 2
    video.evaluate("video => { video.muted = true; return video.play(); }")
    assert until(lambda: video.evaluate("video => video.currentTime") > 24.2)


@on_desktop
def test_a_file_is_downloaded_as_it_was(page: Page, pictures: list[Path]) -> None:
    upload(page, pictures[0])
    tile(page, "wide.jpg").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "wide.jpg"
    assert Path(download.value.path()).read_bytes() == pictures[0].read_bytes()


@on_phone
def test_a_file_is_replaced(
    page: Page, pictures: list[Path], http: httpx.Client, gallery: LiveServer, tmp_path: Path
) -> None:
    upload(page, pictures[0])
    tile(page, "wide.jpg").click()
    other = picture(tmp_path / "other.png", (500, 700), "#553377")
    page.locator("#replacement").set_input_files(other)
    expect(page.locator("#viewer-name")).to_have_text("other.png")
    expect(page.locator("#facts")).to_contain_text("500 \u00d7 700")
    assert until(lambda: is_loaded(page.locator("#stage img")))
    page.keyboard.press("Escape")
    expect(tile(page, "other.png")).to_be_visible()
    assert [item["name"] for item in http.get("/api/items").json()] == ["other.png"]
    # the picture and its thumbnail; the old ones are gone
    assert until(lambda: len(objects(gallery, tmp_path)) == 2)


@on_desktop
def test_a_refused_replacement_leaves_the_file(page: Page, pictures: list[Path], tmp_path: Path) -> None:
    upload(page, pictures[0])
    tile(page, "wide.jpg").click()
    false = tmp_path / "false.jpg"
    false.write_bytes(b"<html></html>")
    page.locator("#replacement").set_input_files(false)
    expect(page.get_by_role("alert")).to_have_text("Declared as image/jpeg, but the content is text/html")
    expect(page.locator("#viewer-name")).to_have_text("wide.jpg")


@on_phone
def test_a_file_is_deleted_after_a_question(
    page: Page, pictures: list[Path], http: httpx.Client, gallery: LiveServer, tmp_path: Path
) -> None:
    upload(page, pictures[0], pictures[1])
    tile(page, "tall.png").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#viewer")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.locator("#sure").get_by_role("button", name="Delete").click()
    expect(tile(page, "tall.png")).to_have_count(0)
    expect(page.locator("#viewer")).not_to_be_visible()
    assert [item["name"] for item in http.get("/api/items").json()] == ["wide.jpg"]
    assert until(lambda: len(objects(gallery, tmp_path)) == 2)


@on_desktop
def test_it_is_used_by_keyboard(page: Page, pictures: list[Path]) -> None:
    upload(page, *pictures)
    tile(page, "wide.jpg").focus()
    page.keyboard.press("Enter")
    name = page.locator("#viewer-name")
    expect(name).to_have_text("wide.jpg")
    order = [item["name"] for item in page.evaluate("fetch('/api/items').then(answer => answer.json())")]
    page.keyboard.press("ArrowRight" if order.index("wide.jpg") < 2 else "ArrowLeft")
    expect(name).not_to_have_text("wide.jpg")
    shown = name.text_content()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).not_to_be_visible()
    expect(tile(page, str(shown))).to_be_focused()


@on_phone
def test_kinds_are_filtered(page: Page, pictures: list[Path], tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("a note")
    upload(page, pictures[0], note)
    page.get_by_role("button", name="Documents").click()
    expect(page.locator(".tile")).to_have_count(1)
    expect(tile(page, "note.txt")).to_be_visible()
    page.get_by_role("button", name="Films").click()
    expect(page.get_by_text("Nothing of this kind")).to_be_visible()


def violations(page: Page) -> list[str]:
    """Return what axe finds against WCAG 2.2, levels A and AA."""
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    return [f"{problem['id']}: {problem['nodes'][0]['html']}" for problem in found.response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits(page: Page, pictures: list[Path], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    upload(page, *pictures)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator(".tile").first.evaluate("tile => getComputedStyle(tile).animationName") == "none"
    tile(page, "wide.jpg").click()
    assert until(lambda: is_loaded(page.locator("#stage img")))
    assert violations(page) == []
    page.get_by_role("button", name="Delete").click()
    assert violations(page) == []


def box(locator: Locator) -> FloatRect:
    found = locator.bounding_box()
    assert found is not None
    return found


@on_phone
def test_a_sound_has_a_name_a_player_and_no_more_room_than_it_needs(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 320, "height": 568})
    # looks like `voiceexe.wav`, unless what turns the direction is taken out
    upload(page, sound(tmp_path / "voice\u202evaw.exe\u200b.wav"))
    name = "voicevaw.exe.wav"
    expect(page.locator("#queue label")).to_have_text(name)
    page.get_by_role("button", name="Hide finished uploads").click()
    assert box(tile(page, name))["height"] < 568 * 0.4
    tile(page, name).click()
    assert box(page.locator("#stage"))["height"] < 568 * 0.5
    audio = page.locator("#stage audio")
    assert box(audio)["width"] >= 250
    assert until(lambda: audio.evaluate("audio => audio.readyState") >= 1)
    audio.click(position={"x": 28, "y": 27})
    assert until(lambda: not audio.evaluate("audio => audio.paused"))
    assert violations(page) == []


@on_phone
def test_names_are_read_without_pointing_at_them(page: Page, tmp_path: Path) -> None:
    long = f"{'a picture of a picture of ' * 6}a wall.png"
    names = ["תמונה.png", long]
    upload(page, *(picture(tmp_path / name) for name in names))
    for name in names:
        caption = tile(page, name).locator(".name")
        expect(caption).to_have_text(name)
        picture_box = box(tile(page, name).locator("img"))
        assert box(caption)["y"] >= picture_box["y"] + picture_box["height"]
        assert caption.evaluate("name => name.checkVisibility({opacityProperty: true})")
        assert caption.evaluate("name => getComputedStyle(name).unicodeBidi") == "isolate"
    tile(page, long).click()
    whole = page.locator("#viewer-name")
    expect(whole).to_have_text(long)
    assert whole.evaluate("name => name.scrollHeight <= name.clientHeight")


@on_phone
def test_the_filters_show_that_they_scroll(page: Page, pictures: list[Path]) -> None:
    page.set_viewport_size({"width": 320, "height": 568})
    upload(page, pictures[0])
    filters = page.locator("#filters")
    before, after = (
        f"filters => getComputedStyle(filters, '::{side}').opacity" for side in ("before", "after")
    )
    assert until(lambda: filters.evaluate(after) == "1")
    assert filters.evaluate(before) == "0"
    page.get_by_role("button", name="Documents").focus()
    assert until(lambda: (filters.evaluate(before), filters.evaluate(after)) == ("1", "0"))
    page.set_viewport_size({"width": 900, "height": 600})
    assert until(lambda: (filters.evaluate(before), filters.evaluate(after)) == ("0", "0"))


@on_phone
def test_the_status_page_probes_the_storage_and_compares_it_with_the_rows(
    page: Page, pictures: list[Path]
) -> None:
    upload(page, pictures[0])
    page.get_by_role("link", name="Status").click()
    expect(page.get_by_text("Not probed yet")).to_be_visible()
    expect(page.locator("#files")).to_contain_text("1")
    expect(page.locator("#verdict")).to_have_text("They agree")
    expect(page.locator("#compared")).to_contain_text("2 files in rows, thumbnails too, and 2 objects")
    expect(page.locator("#backlog strong")).to_have_text(["0", "0", "0"])
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("written, read and deleted in")).to_be_visible()
    expect(page.locator("#news")).to_have_text("Checked. Rows and storages: They agree")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_status_page_names_what_is_wrong(
    page: Page, pictures: list[Path], gallery: LiveServer, tmp_path: Path, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)
    upload(page, *pictures)
    lost = max(objects(gallery, tmp_path), key=lambda path: path.stat().st_size)
    lost.unlink()
    page.goto("/status.html")
    expect(page.locator("#verdict")).to_have_text("1 fault found")
    row = page.get_by_role("row", name="missing")
    expect(row.get_by_role("cell").last).to_have_text("1")
    expect(page.get_by_role("listitem")).to_contain_text("items.file, row")
    expect(page.get_by_role("listitem")).to_contain_text(lost.name)
    page.locator("#backlog").scroll_into_view_if_needed()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
