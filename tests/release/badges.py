"""Badges for README.md, drawn from pyproject.toml: `python -m tests.release.badges`; a test holds them equal to it."""

from __future__ import annotations

from html import escape

from tests.release.project import PROJECT, ROOT, python_versions

FOLDER = ROOT / "docs" / "_static" / "badges"
LABEL, VALUE = "#434d58", "#1f6f4a"
"""Backgrounds: white text on each has a contrast above 4.5, and both stand out from white and from black pages."""
PADDING, HEIGHT = 7, 20
NARROW, WIDE = frozenset(" .,:il1|ft"), frozenset("mwMW")


def badges() -> dict[str, tuple[str, str]]:
    """Return the badges: file name -> what it is about, and what is said of it."""
    classifiers: list[str] = PROJECT["classifiers"]
    [status] = (each.rpartition(" - ")[2] for each in classifiers if each.startswith("Development Status"))
    facts = {
        "version": ("version", f"{PROJECT['version']} {status.lower()}"),
        "python": ("Python", ", ".join(python_versions())),
        "licence": ("licence", PROJECT["license"]),
    }
    return facts | ({"types": ("types", "checked")} if "Typing :: Typed" in classifiers else {})


def svg(label: str, value: str) -> str:
    """Return the picture: the label on grey, the value beside it; its title is the text alternative."""
    left, right = _width(label) + 2 * PADDING, _width(value) + 2 * PADDING
    texts = ((left / 2, label), (left + right / 2, value))
    said = "".join(
        f'<text x="{x:g}" y="14" textLength="{_width(text)}">{escape(text)}</text>' for x, text in texts
    )
    name = escape(f"{label}: {value}")
    size = f'width="{left + right}" height="{HEIGHT}"'
    font = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{name}">'
        f'<title>{name}</title><clipPath id="r"><rect {size} rx="4"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="{HEIGHT}" fill="{LABEL}"/>'
        f'<rect x="{left}" width="{right}" height="{HEIGHT}" fill="{VALUE}"/></g>'
        f'<g fill="#fff" text-anchor="middle" {font}>{said}</g></svg>\n'
    )


def _width(text: str) -> int:
    # `textLength` fits the text to it, whatever font is there
    return round(sum(4 if letter in NARROW else 10 if letter in WIDE else 7 for letter in text))


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (label, value) in badges().items():
        (FOLDER / f"{name}.svg").write_text(svg(label, value), encoding="utf-8")


if __name__ == "__main__":
    main()
