"""Alembic's autogenerate: `StoredObject` columns are rendered with their import, columns of facts as plain SQL.

Alembic 1.18 and later does so by itself (see `filecolumn.alembic.plugin`).  With an older one,
pass this module's `render_item` to `context.configure` in `env.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from filecolumn.orm.column import StoredObject
from filecolumn.orm.fact_columns import Generated, GeneratedText

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
    """Render a `StoredObject` with its import, and a `FactColumn` as plain SQL; leave everything else to Alembic.

    For `context.configure(render_item=...)` with Alembic before 1.18.
    """
    if kind == "type" and isinstance(item, StoredObject):
        context.imports.add("import filecolumn")
        return f"filecolumn.{item!r}"
    if kind == "type" and isinstance(item, GeneratedText):
        return _text_type(item, context)
    if kind == "server_default" and isinstance(item, Generated):
        sql = context.migration_context.impl.render_ddl_sql_expr(item.sqltext)
        stored = ", persisted=True" if context.dialect.name == "postgresql" else ""
        return f"{_prefix(context)}Computed({sql!r}{stored})"
    return False


def _text_type(type_: GeneratedText, context: AutogenContext) -> str:
    of_dialect = type_.load_dialect_impl(context.dialect)
    if context.dialect.name in {"mysql", "mariadb"}:
        context.imports.add("from sqlalchemy.dialects import mysql")
        return f"mysql.{of_dialect!r}"
    return f"{_prefix(context)}{of_dialect!r}"


def _prefix(context: AutogenContext) -> str:
    """Return what the user has chosen to write before SQLAlchemy's names."""
    return context.opts.get("sqlalchemy_module_prefix") or ""
