"""Tells the client of a commit that fails when its response is on the way already.

advanced-alchemy's autocommit runs in a `before_send` hook, and swallows what COMMIT raises.  A hook
behind it, the last of all, makes another response of the one that is about to be sent.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import cast

from litestar.serialization import encode_json
from litestar.types import Message, Scope
from sqlalchemy import event
from sqlalchemy.orm import Session

from filecolumn.litestar.caching import uncached
from filecolumn.litestar.exceptions import failed_commit, http_content, logged_path
from filecolumn.logs import warn

__all__ = ("answer_failed_commit", "watch_commit")

_STATE = "_filecolumn_commits"

# headers of the response that is not sent
_DESCRIBING = (b"content-", b"etag", b"last-modified", b"location")

_FAILURE = failed_commit()
_BODY = encode_json(http_content(_FAILURE))


class CommitWatch:
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
        self.watches: list[CommitWatch] = []
        self.is_answered = False
        """Whether the response is ours from here on."""
        self.is_body_sent = False


def watch_commit(scope: Scope, session: Session) -> None:
    """Take note of a session that may be committed while the response to its request is sent."""
    commits = cast("MutableMapping[str, _Commits]", scope).setdefault(_STATE, _Commits())
    commits.watches.append(CommitWatch(session))


async def answer_failed_commit(message: Message, scope: Scope) -> None:
    """Make an error of a response whose commit has failed; a `before_send` hook."""
    commits = cast("MutableMapping[str, _Commits]", scope).get(_STATE)
    if commits is None:
        return
    if message["type"] == "http.response.start":
        commits.is_answered = any(watch.has_failed for watch in commits.watches)
        if commits.is_answered:
            warn("%s: the commit after the handler failed", logged_path(scope))
            kept = [
                pair for pair in uncached(message["headers"]) if not pair[0].lower().startswith(_DESCRIBING)
            ]
            message["status"] = _FAILURE.status_code
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
