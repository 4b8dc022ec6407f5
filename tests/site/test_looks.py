"""The look at pages sees what is wrong with them, and nothing else."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from tests.servers.process import unavailable
from tests.site import looks
from tests.site.__main__ import main
from tests.site.looks import CHROMIUM, look

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PAGE = """
<!doctype html><html lang="en" class="light"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width">
<style>
  body { margin: 1rem; background: white; color: black; font: 16px monospace }
  .dark body { background: black; color: white }
  a { color: inherit }
  a, button { padding: 1rem }
  .box { overflow-x: auto }
  #lside[aria-hidden=true] { display: none }
  @media print { pre { white-space: pre-wrap; overflow-wrap: anywhere } }
  %(style)s
</style>
<script>
  function setColorMode(mode) { document.documentElement.className = mode }
  function openMenu() { document.getElementById("lside").setAttribute("aria-hidden", "false") }
</script>
</head><body>
<header class="sy-breadcrumbs"><button type="button" aria-controls="lside" onclick="openMenu()">Menu</button></header>
<nav id="lside"><a href="index.html">Home</a></nav>
<main><h1>A page</h1><p>Some words.</p>%(body)s</main>
</body></html>
"""
WIDE = "x" * 200


def site(folder: Path, body: str = "", style: str = "") -> Path:
    (folder / "index.html").write_text(PAGE % {"body": body, "style": style}, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _needs_chromium() -> None:
    if CHROMIUM is None:
        unavailable("chromium is not installed")


def test_a_sound_page_has_no_faults(tmp_path: Path) -> None:
    assert look(site(tmp_path, f'<div class="box" tabindex="0"><pre>{"x" * 60}</pre></div>')) == []


def test_what_is_wrong_is_seen_where_it_is_wrong(tmp_path: Path) -> None:
    body = (
        f'<pre id="code" class="box">{WIDE}</pre>'
        f'<div id="table" class="box">{"y" * 80}</div>'
        '<p id="pale" style="color: #999">pale</p>'
        '<p id="night" style="color: #333">dark on dark</p>'
        '<svg id="chart" role="img" aria-label="a chart" width="500" height="9"></svg>'
        '<img id="picture" src="https://example.org/a.png">'
    )
    found: defaultdict[tuple[str, str], str] = defaultdict(str)
    for fault in look(site(tmp_path, body)):
        found[fault.seen, fault.selector.rpartition("#")[2]] += f"{fault.what}\n"
    assert "cut off" in found["1280 light", "code"]
    assert "color-contrast" in found["1280 light", "pale"]
    assert "color-contrast" in found["1280 dark", "night"]
    assert "image-alt" in found["1280 light", "picture"]
    assert "scrollable-region-focusable" in found["390", "table"]
    assert "wider than the window" in found["390", "chart"]
    assert ("print", "code") not in found
    assert ("loading", "https://example.org/a.png") in found


def test_a_menu_that_does_not_open_and_a_page_that_needs_scripts_are_seen(tmp_path: Path) -> None:
    style = "#lside:not([aria-hidden=false]) { display: none }"
    (tmp_path / "index.html").write_text(
        (PAGE % {"body": "", "style": style}).replace('onclick="openMenu()"', ""), encoding="utf-8"
    )
    assert {(fault.seen, fault.what) for fault in look(tmp_path)} == {
        ("390", "does not open by a tap"),
        ("390 without JavaScript", "is not visible without JavaScript"),
    }


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_without_chromium_the_links_are_checked_only_and_ci_fails(
    ci: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(looks, "CHROMIUM", None)
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(sys, "argv", ["tests.site", str(site(tmp_path))])
    assert main() == status
    said = capsys.readouterr().out
    assert "links: 0 faults" in said
    assert "install Chromium" in said
