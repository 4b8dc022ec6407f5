"""The plugin that Alembic 1.18 and later finds through the entry point `alembic.plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.util import DispatchPriority, PriorityDispatchResult

from filecolumn.alembic.rendering import Rendered, RenderItem, render_item

__all__ = ("setup",)

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import UpgradeOps
    from alembic.runtime.plugins import Plugin


def setup(plugin: Plugin) -> None:
    """Take part in every autogenerate run."""
    plugin.add_autogenerate_comparator(_take_part, "autogenerate", priority=DispatchPriority.FIRST)


def _take_part(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Put our rendering before the user's own; nothing is compared here."""
    theirs: RenderItem | None = context.opts.get("render_item")

    def render(kind: str, item: object, context: AutogenContext) -> Rendered:
        rendered = render_item(kind, item, context)
        if rendered is False and theirs is not None:
            return theirs(kind, item, context)
        return rendered

    context.opts["render_item"] = render
    return PriorityDispatchResult.CONTINUE
