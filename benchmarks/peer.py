"""advanced-alchemy, if it is installed; without it its lines are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from obstore.store import LocalStore
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

try:
    from advanced_alchemy.config import SQLAlchemyAsyncConfig, SQLAlchemySyncConfig
    from advanced_alchemy.types import file_object
    from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend
except ImportError:
    installed = False
else:
    installed = True

__all__ = ("async_sessions", "column", "file", "installed", "register", "sessions")

KEY = "peer"


def register(folder: Path) -> None:
    """Register a local folder as the storage."""
    file_object.storages.register_backend(ObstoreBackend(KEY, LocalStore(folder, mkdir=True)))


def column() -> Any:  # noqa: ANN401 - what it is depends on the installation
    """Return its column type."""
    return file_object.StoredObject(backend=KEY)


def file(filename: str, content: bytes) -> object:
    """Return its pending file; the file name is its key."""
    return file_object.FileObject(backend=KEY, filename=filename, content=content)


def sessions(engine: Engine) -> Callable[[], Session]:
    """Return its session maker, with the listeners that store files."""
    config = SQLAlchemySyncConfig(engine_instance=engine, enable_touch_updated_timestamp_listener=False)
    return config.create_session_maker()


def async_sessions(engine: AsyncEngine) -> Callable[[], AsyncSession]:
    """Return its async session maker, likewise."""
    config = SQLAlchemyAsyncConfig(engine_instance=engine, enable_touch_updated_timestamp_listener=False)
    return config.create_session_maker()
