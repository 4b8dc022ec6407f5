"""Files of what clients uploaded by themselves, and sent back as the token of a grant."""

from __future__ import annotations

from typing import Self

from filecolumn.facts import FileFacts
from filecolumn.feed import metered
from filecolumn.grants import (
    GrantedSource,
    check_received,
    check_size,
    granted_facts,
    verified_grant,
)
from filecolumn.meter import Meter
from filecolumn.naming import new_key
from filecolumn.registry import storages
from filecolumn.signed import SignableFile
from filecolumn.signing import Claims
from filecolumn.state import Phase
from filecolumn.transfer import Copy, copy, copy_async, discard, discard_async

__all__ = ("GrantedFile",)


class GrantedFile(SignableFile):
    """See `FileObject`."""

    __slots__ = ()

    @classmethod
    def from_grant(cls, token: str, *, subject: str | None = None) -> Self:
        """Make a file of what a client uploaded with `grant_upload`, and sent back as *token*.

        What the plugin's route received is counted and hashed; its copy is made by the flush.  What
        came straight to the storage is copied to a new key now, by the storage itself, and that copy is
        read to count and hash it: nobody can change it any more.

        Raises InvalidGrantError for a token that is not valid, not *subject*'s, or whose upload is
        another; FileTooLargeError; ObjectNotFoundError when nothing was uploaded, or it was used up.
        """
        claims = verified_grant(token, subject=subject)
        origin = storages.get(claims.backend)
        check_size(claims, origin.stat(claims.key).size)
        if claims.checksum:
            return cls._granted(claims)
        op = _grant_copy(claims)
        facts = copy(op)
        try:
            meter = Meter()
            for chunk in op.backend.get(op.key):
                meter.feed(chunk)
                check_size(claims, meter.size)
            check_received(claims, facts := metered(facts, meter))
        except BaseException:
            discard(op)
            raise
        return cls._staged_by_grant(facts, claims)

    @classmethod
    async def from_grant_async(cls, token: str, *, subject: str | None = None) -> Self:
        """Call `from_grant` asynchronously; a cancelled one leaves nothing behind."""
        claims = verified_grant(token, subject=subject)
        origin = storages.get(claims.backend)
        check_size(claims, (await origin.stat_async(claims.key)).size)
        if claims.checksum:
            return cls._granted(claims)
        op = _grant_copy(claims)
        try:
            facts = await copy_async(op)
            meter = Meter()
            async for chunk in await op.backend.get_async(op.key):
                meter.feed(chunk)
                check_size(claims, meter.size)
            check_received(claims, facts := metered(facts, meter))
        except BaseException:
            await discard_async(op)
            raise
        return cls._staged_by_grant(facts, claims)

    @classmethod
    def _granted(cls, claims: Claims) -> Self:
        """Make a file of a verified grant without any I/O: the flush copies its content, or reads it."""
        if claims.checksum:
            # as another row's file would be: never attached where it is
            file = cls._from_facts(granted_facts(claims), Phase.STORED)
        else:
            file = cls(claims.filename, backend=claims.backend, content_type=claims.content_type)
            file._read_from(GrantedSource(claims))
        file._grant = claims
        return file

    @classmethod
    def _staged_by_grant(cls, facts: FileFacts, claims: Claims) -> Self:
        file = cls._from_staged(facts)
        file._grant = claims
        return file


def _grant_copy(claims: Claims) -> Copy:
    origin = storages.get(claims.backend)
    return Copy(origin, claims.key, origin, new_key(claims.filename), granted_facts(claims), verify=False)
