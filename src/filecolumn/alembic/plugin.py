"""The plugin that Alembic 1.18 and later finds through the entry point `alembic.plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.operations.ops import CreateIndexOp, DropIndexOp, OpContainer
from alembic.util import DispatchPriority, PriorityDispatchResult, warn
from sqlalchemy import literal_column, text

from filecolumn.alembic.comparing import (
    indexes_to_make,
    is_as_generated,
    is_in_table,
    made_by,
    prepare,
    with_columns,
)
from filecolumn.alembic.rendering import Rendered, RenderItem, render_item
from filecolumn.orm.fact_columns import Generated

__all__ = ("setup",)

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import AlterColumnOp, ModifyTableOps, UpgradeOps
    from alembic.runtime.plugins import Plugin
    from sqlalchemy import Column, Index, Table


def setup(plugin: Plugin) -> None:
    """Take part in every autogenerate run."""
    first = DispatchPriority.FIRST
    plugin.add_autogenerate_comparator(_take_part, "autogenerate", priority=first)
    plugin.add_autogenerate_comparator(_finish, "autogenerate", priority=DispatchPriority.LAST)
    plugin.add_autogenerate_comparator(_compare_generated, "column", "server_default", priority=first)
    plugin.add_autogenerate_comparator(_compare_columns, "column", "filecolumn")
    plugin.add_autogenerate_comparator(_compare_indexes, "table", "filecolumn", qualifier="sqlite")


def _take_part(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Put our rendering before the user's own, and let Alembic compare facts as they can be."""
    theirs: RenderItem | None = context.opts.get("render_item")

    def render(kind: str, item: object, context: AutogenContext) -> Rendered:
        rendered = render_item(kind, item, context)
        if rendered is False and theirs is not None:
            return theirs(kind, item, context)
        return rendered

    context.opts["render_item"] = render
    prepare(context)
    return PriorityDispatchResult.CONTINUE


def _finish(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    _put_columns(upgrade_ops)
    return PriorityDispatchResult.CONTINUE


def _put_columns(operations: OpContainer) -> None:
    """Create indexes on facts by the columns that hold those: what an operation copies knows no other columns."""
    for operation in operations.ops:
        if isinstance(operation, OpContainer):
            _put_columns(operation)
        elif isinstance(operation, CreateIndexOp):
            operation.columns = [with_columns(each) for each in operation.columns]


def _compare_generated(  # noqa: PLR0917 - as Alembic calls it
    context: AutogenContext,
    operation: AlterColumnOp,
    schema: str | None,
    table_name: str,
    name: str,
    found: Column[Any],
    column: Column[Any],
) -> PriorityDispatchResult:
    """Leave the comparison of how a column of a fact is generated to `_compare_columns`."""
    is_ours = isinstance(column.server_default, Generated)
    return PriorityDispatchResult.STOP if is_ours else PriorityDispatchResult.CONTINUE


def _compare_columns(  # noqa: PLR0917 - as Alembic calls it
    context: AutogenContext,
    operation: AlterColumnOp,
    schema: str | None,
    table_name: str,
    name: str,
    found: Column[Any],
    column: Column[Any],
) -> PriorityDispatchResult:
    """Warn of a column that holds another fact in the database: Alembic does only if told to compare defaults."""
    if not isinstance(column.server_default, Generated):
        return PriorityDispatchResult.CONTINUE
    if context.dialect.name == "sqlite":
        same = is_in_table(context, schema, column)
    else:
        same = is_as_generated(column, found, context.dialect)
    if not same:
        warn(
            f"{table_name}.{name} is generated otherwise in the database, and cannot be modified: drop and add it"
        )
    return PriorityDispatchResult.CONTINUE


def _dropping(index: Index, statement: str) -> DropIndexOp:
    """Return what drops the index of this name, and in a downgrade makes it again as *statement* did."""
    is_unique, columns, where = made_by(statement)
    dropped = DropIndexOp.from_index(index)
    options: dict[str, Any] = {"sqlite_where": text(where)} if where else {}
    made = CreateIndexOp(dropped.index_name or "", str(dropped.table_name), [literal_column(columns)])
    return DropIndexOp(
        dropped.index_name or "",
        dropped.table_name,
        schema=dropped.schema,
        _reverse=made,
        unique=is_unique,
        **options,
    )


def _compare_indexes(  # noqa: PLR0917 - as Alembic calls it
    context: AutogenContext,
    operations: ModifyTableOps,
    schema: str | None,
    name: str,
    found: Table | None,
    table: Table | None,
) -> PriorityDispatchResult:
    """Add what makes the indexes on facts, which Alembic does not compare."""
    for index, statement in () if table is None else indexes_to_make(context, schema, table, found):
        if context.run_object_filters(index, str(index.name), "index", False, None):  # noqa: FBT003 - Alembic's order
            if statement is not None:
                operations.ops.append(_dropping(index, statement))
            operations.ops.append(CreateIndexOp.from_index(index))
    return PriorityDispatchResult.CONTINUE
