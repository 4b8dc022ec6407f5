"""SQLAlchemy's asynchronous classes; where greenlet is missing, stand-ins that nothing is an instance of.

SQLAlchemy 2.1 refuses to import `sqlalchemy.ext.asyncio` without greenlet, which comes with the extra `async`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from filecolumn.errors import MissingDependencyError

__all__ = ("AsyncEngine", "AsyncSession", "create_async_engine")

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
else:
    try:
        from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
    except ImportError:

        class AsyncEngine:
            """Stands for SQLAlchemy's class."""

        class AsyncSession:
            """Stands for SQLAlchemy's class."""

        def create_async_engine(*args: object, **options: object) -> NoReturn:
            """Say what is missing."""
            raise MissingDependencyError(
                "an asynchronous engine needs greenlet: pip install 'filecolumn[async]'"
            )
