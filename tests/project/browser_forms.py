"""Forms as browsers send them: all their inputs, and those of files in which nothing was chosen without a name."""

from __future__ import annotations

from typing import Any

import httpx

from tests.litestar.raw import form

EMPTY = ("", b"")
"""An input in which no file was chosen; HTTP libraries leave its name out."""
Part = tuple[str, str | tuple[str, bytes]]


def send(http: httpx.Client, path: str, parts: list[Part]) -> httpx.Response:
    """Send a form of texts and files."""
    pieces = [
        (f'name="{name}"', value.encode())
        if isinstance(value, str)
        else (f'name="{name}"; filename="{value[0]}"\r\nContent-Type: application/octet-stream', value[1])
        for name, value in parts
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    return http.post(path, content=form(*pieces), headers=headers)


def filled(inputs: dict[str, Any], *parts: Part) -> list[Part]:
    """Return *parts*, and *inputs* of a form that are not among them."""
    named = {name for name, _ in parts}
    return [*((name, value) for name, value in inputs.items() if name not in named), *parts]
