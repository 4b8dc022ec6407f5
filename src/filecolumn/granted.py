"""Files of what clients uploaded by themselves, and sent back as the token of a grant."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

from filecolumn.backends.base import Stat
from filecolumn.errors import ObjectNotFoundError
from filecolumn.grants import check_size, granted_facts, missing_upload, verified_grant
from filecolumn.registry import storages
from filecolumn.signed import SignableFile
from filecolumn.signing import Claims

__all__ = ("GrantedFile",)


class GrantedFile(SignableFile):
    """See `FileObject`."""

    __slots__ = ()

    @classmethod
    def from_grant(cls, token: str, *, subject: str | None = None) -> Self:
        """Make a file of what a client uploaded with `grant_upload`, and sent back as *token*.

        The flush copies the upload to a key that no client knows, by the storage itself where it can, and
        counts, hashes and judges the copy.  A refusal or a rollback deletes that copy, and the upload stays, so
        that the file can be used again.  A commit that attaches it uses the grant up: every other file of the
        same upload is refused with InvalidGrantError.

        Raises InvalidGrantError for a token that is not valid, not *subject*'s, or whose upload is
        another; FileTooLargeError; ObjectNotFoundError when nothing was uploaded, or it was used up.
        """
        claims = verified_grant(token, subject=subject)
        with _of_upload(claims):
            stat = storages.get(claims.backend).stat(claims.key)
        return cls._looked_up(claims, stat)

    @classmethod
    async def from_grant_async(cls, token: str, *, subject: str | None = None) -> Self:
        """Call `from_grant` asynchronously."""
        claims = verified_grant(token, subject=subject)
        with _of_upload(claims):
            stat = await storages.get(claims.backend).stat_async(claims.key)
        return cls._looked_up(claims, stat)

    @classmethod
    def _granted(cls, claims: Claims) -> Self:
        """Make a file of a verified grant without any I/O."""
        return cls._from_granted(granted_facts(claims), claims)

    @classmethod
    def _looked_up(cls, claims: Claims, stat: Stat) -> Self:
        check_size(claims, stat.size)
        return cls._from_granted(replace(granted_facts(claims), size=stat.size), claims)


@contextmanager
def _of_upload(claims: Claims) -> Generator[None]:
    try:
        yield
    except ObjectNotFoundError as error:
        raise missing_upload(claims) from error
