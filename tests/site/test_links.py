"""The check of links finds what leads nowhere, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site.links import broken

SOUND = """
<!doctype html><html><head><link rel="stylesheet" href="_static/site.css">
<link rel="canonical" href="https://docs.example.org/"></head>
<body><h1 id="top">One</h1>
<a href="#top">up</a> <a href="sub/two.html#b%C3%BCcher">two</a> <a href="https://example.org/#x">elsewhere</a>
<a href="mailto:a@example.org">mail</a> <img src="_static/a.svg" srcset="_static/a.svg 1x, _static/a.svg 2x" alt="a">
</body></html>
"""
TWO = '<h1 id="bücher">Two</h1><a href="../index.html">one</a><a name="old"></a><a href="#old">old</a>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for folder in ("_static", "sub"):
        (tmp_path / folder).mkdir()
    (tmp_path / "_static" / "a.svg").write_text("<svg/>")
    (tmp_path / "_static" / "site.css").write_text(
        "@font-face { src: url(https://fonts.example.org/a.woff2) } p { background: url(a.svg) }"
    )
    (tmp_path / "index.html").write_text(SOUND, encoding="utf-8")
    (tmp_path / "sub" / "two.html").write_text(TWO, encoding="utf-8")
    return tmp_path


def test_a_sound_site_has_no_faults(site: Path) -> None:
    assert broken(site) == []


@pytest.mark.parametrize(
    ("link", "what"),
    [
        ('<a href="three.html">', "three.html is not in the site"),
        ('<a href="../index.html">', "../index.html is not in the site"),
        ('<a href="sub/two.html#b">', "sub/two.html has no anchor #b"),
        ('<a href="#down">', "index.html has no anchor #down"),
        ('<a href="/sub/two.html">', "/sub/two.html is a path of the host"),
        ('<img src="a.png" alt="a">', "a.png is not in the site"),
        ('<img srcset="_static/a.svg 1x, b.svg 2x" alt="b">', "b.svg is not in the site"),
        ('<script src="site.js"></script>', "site.js is not in the site"),
        ('<link rel="stylesheet" href="b.css">', "b.css is not in the site"),
        (
            '<img src="https://example.org/a.png" alt="a">',
            "loads https://example.org/a.png from another host",
        ),
        ('<script src="//example.org/a.js"></script>', "loads //example.org/a.js from another host"),
    ],
)
def test_what_leads_nowhere_is_found(site: Path, link: str, what: str) -> None:
    (site / "index.html").write_text(SOUND.replace("</body>", f"{link}</body>"), encoding="utf-8")
    [fault] = broken(site)
    assert (fault.page, fault.what) == ("index.html", what)
    assert str(fault).count("\n") == 0


def test_a_style_that_loads_from_another_host_is_found(site: Path) -> None:
    (site / "_static" / "site.css").write_text('@import "https://example.org/more.css";')
    assert [fault.selector for fault in broken(site)] == ["https://example.org/more.css"]
