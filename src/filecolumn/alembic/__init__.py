"""Alembic: how `StoredObject` columns are rendered, and operations for triggers and the ledger.

Importing `filecolumn.alembic.operations` adds the operations to `op`.  `render_item` and `include_object` are for
`env.py` where Alembic is older than 1.18, which needs neither.
"""

from filecolumn.alembic.comparing import include_object
from filecolumn.alembic.rendering import render_item

__all__ = ("include_object", "render_item")
