"""Alembic: how `StoredObject` columns are rendered, and operations for triggers and the ledger.

Importing `filecolumn.alembic.operations` adds the operations to `op`.  `render_item` is for `env.py` where
Alembic is older than 1.18, which renders the columns by itself.
"""

from filecolumn.alembic.rendering import render_item

__all__ = ("render_item",)
