"""Sessions of requests: flushed at the end of a handler; a COMMIT that fails after it is answered with 503."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from inspect import isawaitable
from typing import Protocol, cast

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.serialization import encode_json
from litestar.types import Message, Scope
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, class_mapper

from filecolumn._threads import completed
from filecolumn.http.caching import without_cache_headers
from filecolumn.http.errors import failed_commit
from filecolumn.litestar.exceptions import json_of, logged_path
from filecolumn.logs import warn
from filecolumn.orm.attributes import row_attributes
from filecolumn.orm.transaction import touches_files

__all__ = (
    "answer_failed_commit",
    "current_scope",
    "flush_after_handler",
)

_STATE = "_filecolumn_commits"

# headers of the response that is not sent
_DESCRIBING = (b"content-", b"etag", b"last-modified", b"location")

_FAILURE = failed_commit()
_BODY = encode_json(json_of(_FAILURE))


class _CommitWatch:
    """Whether the last commit of a session has failed."""

    def __init__(self, session: Session) -> None:
        self.has_failed: bool = False
        event.listen(session, "before_commit", self._begin)
        event.listen(session, "after_commit", self._end)

    def _begin(self, session: Session) -> None:
        self.has_failed = True

    def _end(self, session: Session) -> None:
        self.has_failed = False


class _Commits:
    """The commits of one request."""

    def __init__(self) -> None:
        self.watches: list[_CommitWatch] = []
        self.is_answered = False
        """Whether the response is ours from here on."""
        self.is_body_sent = False


async def answer_failed_commit(message: Message, scope: Scope) -> None:
    """Replace a response whose commit has failed by an error; a `before_send` hook."""
    commits = cast("MutableMapping[str, _Commits]", scope).get(_STATE)
    if commits is None:
        return
    if message["type"] == "http.response.start":
        commits.is_answered = any(watch.has_failed for watch in commits.watches)
        if commits.is_answered:
            warn("%s: the commit after the handler failed", logged_path(scope))
            kept = [
                pair
                for pair in without_cache_headers(message["headers"])
                if not pair[0].lower().startswith(_DESCRIBING)
            ]
            message["status"] = _FAILURE.status
            message["headers"] = [*kept, *_headers()]
    elif message["type"] == "http.response.body" and commits.is_answered:
        message["body"] = b"" if commits.is_body_sent else _BODY
        commits.is_body_sent = True


def _headers() -> list[tuple[bytes, bytes]]:
    described = {
        "content-type": "application/json",
        "content-length": str(len(_BODY)),
        **{name.lower(): value for name, value in (_FAILURE.headers or {}).items()},
    }
    return [(name.encode(), value.encode()) for name, value in described.items()]


current_scope: ContextVar[Scope | None] = ContextVar("filecolumn_scope", default=None)
"""The request that is being handled."""

AfterRequest = Callable[[Response[object]], Response[object] | Awaitable[Response[object]]]

# advanced-alchemy keeps the sessions of a request there, whatever its dependency is called
_SESSIONS = "_aa_connection_state"


class _Layer(Protocol):
    """The application, a router, a controller or a handler."""

    after_request: AfterRequest | None


def flush_after_handler(handler: HTTPRouteHandler) -> None:
    """Let *handler* flush the files of its sessions before its response is written.

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
    """Watch a session with files, which may be committed while the response to its request is sent."""
    if touches_files(session):
        commits = cast("MutableMapping[str, _Commits]", scope).setdefault(_STATE, _Commits())
        commits.watches.append(_CommitWatch(session))


def _changes_files(session: Session) -> bool:
    return any(row_attributes(class_mapper(type(instance))) for instance in _changed(session))


def _changed(session: Session) -> Iterator[object]:
    yield from session.new
    yield from session.deleted
    yield from session.dirty
