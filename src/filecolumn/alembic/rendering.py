"""Alembic's autogenerate: `StoredObject` columns are rendered with their import.

Alembic 1.18 and later does so by itself (see `filecolumn.alembic.plugin`).  With an older one,
pass this module's `render_item` to `context.configure` in `env.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from filecolumn.orm.column import StoredObject

__all__ = (
    "RenderItem",
    "Rendered",
    "render_item",
)

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext


Rendered = str | Literal[False]
RenderItem = Callable[[str, object, "AutogenContext"], Rendered]


def render_item(kind: str, item: object, context: AutogenContext) -> Rendered:
    """Render a `StoredObject` and add its import; leave everything else to Alembic."""
    if kind != "type" or not isinstance(item, StoredObject):
        return False
    context.imports.add("import filecolumn")
    return f"filecolumn.{item!r}"
