"""Flushes at the end of a handler, where an error still becomes a response.

advanced-alchemy commits when the response is already being sent, and swallows what goes wrong
then: a refused upload would be answered with 201, and have no row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from inspect import isawaitable
from typing import Protocol, cast

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, class_mapper

from filecolumn.backends.threads import completed
from filecolumn.litestar.commits import watch_commit
from filecolumn.orm.attributes import row_attributes
from filecolumn.orm.frames import touches_files

__all__ = ("current_scope", "flush_after_handler")

current_scope: ContextVar[Scope | None] = ContextVar("filecolumn_scope", default=None)
"""The request that is being handled."""

AfterRequest = Callable[[Response[object]], Response[object] | Awaitable[Response[object]]]

# advanced-alchemy keeps the sessions of a request there, whatever its dependency is called
_SESSIONS = "_aa_connection_state"


class _Layer(Protocol):
    """The application, a router, a controller or a handler."""

    after_request: AfterRequest | None


def flush_after_handler(handler: HTTPRouteHandler) -> None:
    """Let *handler* flush what its session has of files, before its response is written.

    The hook that the application itself has there, of the closest layer, runs first.
    """
    layers = cast("Sequence[_Layer]", handler.ownership_layers)
    before = next((layer.after_request for layer in reversed(layers) if layer.after_request), None)

    async def after_request(response: Response[object]) -> Response[object]:
        if before is not None:
            answered = before(response)
            response = await answered if isawaitable(answered) else answered
        scope = current_scope.get()
        if scope is not None and (getattr(response, "status_code", None) or 200) < 400:
            await _flush(scope)
        return response

    handler.after_request = after_request


async def _flush(scope: Scope) -> None:
    known = cast("Mapping[str, Mapping[str, object]]", scope).get(_SESSIONS, {})
    for session in list(known.values()):
        if isinstance(session, AsyncSession):
            if _changes_files(session.sync_session):
                await session.flush()
            _watch(scope, session.sync_session)
        elif isinstance(session, Session):
            if _changes_files(session):
                await completed(session.flush)
            _watch(scope, session)


def _watch(scope: Scope, session: Session) -> None:
    if touches_files(session):
        watch_commit(scope, session)


def _changes_files(session: Session) -> bool:
    return any(row_attributes(class_mapper(type(instance))) for instance in _changed(session))


def _changed(session: Session) -> Iterator[object]:
    yield from session.new
    yield from session.deleted
    yield from session.dirty
