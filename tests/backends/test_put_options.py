"""`put` takes its options by `**options`: a misspelt one is refused, as by a signature."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from filecolumn.backends import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import WrappedBackend

MISSPELT = {"contenttype": "text/plain"}
BACKENDS: dict[str, Callable[[], StorageBackend]] = {
    "obstore": lambda: ObstoreBackend("a", fs="memory://"),
    "fsspec": lambda: FSSpecBackend("a", fs="memory", prefix="put-options"),
    "wrapped": lambda: WrappedBackend(ObstoreBackend("a", fs="memory://")),
}


async def streamed() -> AsyncIterator[bytes]:
    yield b"text"


@pytest.mark.parametrize("name", BACKENDS)
def test_an_unknown_option_of_put_is_refused(name: str) -> None:
    backend = BACKENDS[name]()
    with pytest.raises(TypeError, match="unexpected keyword argument 'contenttype'"):
        backend.put("misspelt.txt", [b"text"], **MISSPELT)  # type: ignore[arg-type]
    assert not backend.exists("misspelt.txt")


@pytest.mark.parametrize("name", BACKENDS)
def test_an_unknown_option_of_put_async_is_refused(name: str) -> None:
    backend = BACKENDS[name]()
    with pytest.raises(TypeError, match="unexpected keyword argument 'contenttype'"):
        asyncio.run(backend.put_async("misspelt.txt", streamed(), **MISSPELT))  # type: ignore[arg-type]
    assert not backend.exists("misspelt.txt")
