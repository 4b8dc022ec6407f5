"""Makes the time of what is to be drained come."""

from __future__ import annotations

from sqlalchemy import Engine, text


def make_due(engine: Engine) -> None:
    """Let the time of everything come that is to be drained."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE filecolumn_ledger SET due_at = 0 WHERE state = 2"))
