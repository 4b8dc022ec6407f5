"""Draw the map of the code in CONTRIBUTING.md from the imports: `python -m tests.project.code_map`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from tests.project.imports import MODULES, PACKAGE, imports, part_of, source

__all__ = ("arrows_between", "current", "drawn", "folders", "says")

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
START = "<!-- the map of the code: written by `python -m tests.project.code_map` -->\n"
END = "<!-- the end of the map -->\n"
PUBLIC = {"", "__main__"}
"""What only gathers the public names and starts the command; it has no place among the layers."""

Graph = dict[str, set[str]]


def current() -> str:
    """Return CONTRIBUTING.md as it is."""
    return PAGE.read_text()


def drawn() -> str:
    """Return CONTRIBUTING.md with the map as the imports are now."""
    before, _, rest = current().partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{_map()}\n{END}{after}"


@cache
def folders() -> tuple[str, ...]:
    """Return the layers, each after what it imports."""
    return tuple(part for part in _upwards(_imports_of_parts()) if _is_folder(part))


@cache
def arrows_between() -> tuple[tuple[str, str], ...]:
    """Return the imports between layers, without those that follow from two others."""
    below = _imports_of_parts()
    layers = {part: others & {*folders()} for part, others in below.items() if _is_folder(part)}
    return tuple(_shortest(layers, folders()))


def says(part: str) -> str:
    """Return what a layer, or a module beside the layers, is about."""
    return _says(f"filecolumn.{part}")


def _map() -> str:
    below = _imports_of_parts()
    order = _upwards(below)
    arrows = {
        part: below[part] & {*folders()} for part in order if below[part] & {*folders()} or _is_folder(part)
    }
    shared = sorted((part for part in order if part not in arrows), key=lambda name: name.lstrip("_"))
    return "\n".join(
        [
            "![The layers of filecolumn, each above what it imports](docs/pictures/layers.svg)",
            "",
            "An arrow is an import; one that follows from two others is left out.",
            f"Every layer may import {_listed(shared)}.",
            "",
            "```text",
            *_tree(shared, {}),
            *(line for part in order if part in arrows for line in ("", *_tree([part], arrows))),
            "```",
            "",
        ]
    )


@cache
def _imports_of_parts() -> Graph:
    below: Graph = {part_of(module): set() for module in MODULES if part_of(module) not in PUBLIC}
    for module in MODULES:
        if (part := part_of(module)) in below:
            below[part] |= {part_of(other) for other in imports(module) if other in MODULES} - PUBLIC - {part}
    return below


def _upwards(below: Graph) -> list[str]:
    """Return the parts, each after what it imports; where they form a circle, its least entangled first."""
    order: list[str] = []
    waiting = {part: {*others} for part, others in below.items()}
    while waiting:
        part = min(waiting, key=lambda name: (len(waiting[name] & waiting.keys()), _is_folder(name), name))
        order.append(part)
        del waiting[part]
    return order


def _shortest(below: Graph, order: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the arrows, from the top, without those that lead where others lead already."""
    for part in reversed(order):
        for other in reversed(order):
            if other in below.get(part, ()):
                around = below[part] - {other}
                if not any(
                    other in _reached(below, step) and part not in _reached(below, step) for step in around
                ):
                    yield part, other


def _reached(below: Graph, part: str) -> set[str]:
    reached: set[str] = set()
    waiting = {part}
    while waiting:
        others = below.get(waiting.pop(), set()) - reached
        reached |= others
        waiting |= others
    return reached


def _tree(parts: Iterable[str], arrows: Graph) -> Iterator[str]:
    """Yield a line for each part, and one for each module of a folder."""
    lines: list[tuple[str, str]] = []
    for part in parts:
        imported = f"  (imports {', '.join(sorted(arrows[part]))})" if arrows.get(part) else ""
        if not _is_folder(part):
            lines.append((part, f"{says(part)}{imported}"))
            continue
        lines.append((f"{part}/", f"{says(part)}{imported}"))
        folder = f"filecolumn.{part}."
        lines += [
            (f"    {module.removeprefix(folder).replace('.', '/')}{_slash(module)}", _says(module))
            for module in MODULES
            if module.startswith(folder)
        ]
    width = max((len(name) for name, _ in lines), default=0)
    for name, text in lines:
        yield f"{name:{width}}  {text}".rstrip()


def _says(module: str) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(source(module)) or "").partition("\n")[0]


def _slash(module: str) -> str:
    return "/" if MODULES[module].name == "__init__.py" else ""


def _is_folder(part: str) -> bool:
    return (PACKAGE / part / "__init__.py").exists()


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(drawn())
