"""How content is cut for requests: one, or a first part and the rest; keys in batches."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

__all__ = ("batches", "each_key", "first_part", "first_part_async")

T = TypeVar("T")


def first_part(chunks: Iterable[bytes], size: int) -> tuple[bytes, Iterator[bytes] | None]:
    """Read at most about *size* bytes ahead.

    Returns all of the content and None if that was its end, else nothing and an iterator over
    the whole content, from its start.
    """
    iterator = iter(chunks)
    read: list[bytes] = []
    total = 0
    for chunk in iterator:
        read.append(chunk)
        total += len(chunk)
        if total > size:
            return b"", chain(read, iterator)
    return _joined(read), None


async def first_part_async(
    chunks: AsyncIterable[bytes], size: int
) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Call `first_part` asynchronously."""
    iterator = aiter(chunks)
    read: list[bytes] = []
    total = 0
    async for chunk in iterator:
        read.append(chunk)
        total += len(chunk)
        if total > size:
            return b"", _chain_async(read, iterator)
    return _joined(read), None


def each_key(keys: str | Iterable[str]) -> Iterable[str]:
    """Return *keys* to be iterated over: a string is one key, not its characters."""
    return (keys,) if isinstance(keys, str) else keys


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut *items* into lists of at most *size*."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _joined(chunks: list[bytes]) -> bytes:
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _chain_async(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    first.clear()
    async for chunk in rest:
        yield chunk
