"""What is behind signed URLs, for storages that cannot sign: a file to read, or room for one upload."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.content.sources import source_of
from filecolumn.errors import InvalidGrantError, ObjectExistsError, StorageError
from filecolumn.files.facts import FileFacts, Json
from filecolumn.files.file import FileObject, file_with
from filecolumn.files.grants import Disposition, check_subject, granted_facts, receipt
from filecolumn.files.state import LOADED, FileState
from filecolumn.files.transfer import Put, put_async
from filecolumn.http.errors import HttpError
from filecolumn.http.uploads import batches, check_encoding, check_length
from filecolumn.naming import DEFAULT_CONTENT_TYPE, check_content_type
from filecolumn.signing import Claims, Purpose, UrlSigner

__all__ = ("disposition_of", "file_of", "receive_upload", "verified_claims")


def verified_claims(signer: UrlSigner, token: str, purpose: Purpose, *, subject: str | None) -> Claims:
    """Return the claims of a URL's token.

    InvalidGrantError unless it is valid for *purpose* now, and for *subject* if it has a subject.
    """
    claims = signer.tokens.verify(token, purpose, now=time.time())
    check_subject(claims, subject)
    return claims


def file_of(claims: Claims) -> FileObject:
    """Return the file that a signed URL reads; its facts are in the claims, so no row is read."""
    facts = FileFacts(
        filename=claims.filename,
        key=claims.key,
        backend=claims.backend,
        content_type=claims.content_type or DEFAULT_CONTENT_TYPE,
        size=None if claims.size < 0 else claims.size,
        checksum=claims.checksum or None,
    )
    return file_with(FileState(LOADED, facts))


def disposition_of(claims: Claims) -> Disposition:
    """Return the disposition of the file of a signed URL; `Serving.inline_types` decides what is shown."""
    return "attachment" if claims.disposition == "attachment" else "inline"


async def receive_upload(
    signer: UrlSigner,
    claims: Claims,
    headers: Mapping[str, str],
    body: AsyncIterator[bytes],
    *,
    announced: int | None,
    max_size: int | None,
) -> dict[str, Json]:
    """Store the *body* of an upload, and return its facts and the grant for it, as a JSON object for the client.

    *announced* is its `Content-Length`, in bytes; *max_size* counts if the claims have none.

    Raises HttpError 415 for another type than was granted and for a compressed body, FileTooLargeError, and
    ObjectExistsError if the URL was used before.
    """
    limit = max_size if claims.max_size < 0 else claims.max_size
    _check_announced(headers, claims, announced, limit)
    facts = await _store(batches(body, claims.filename, limit), claims)
    return {
        "grant": signer.tokens.sign(receipt(claims, facts)),
        "filename": facts.filename,
        "content_type": facts.content_type,
        "size": facts.size,
        "checksum": facts.checksum,
    }


def _check_announced(
    headers: Mapping[str, str], claims: Claims, announced: int | None, limit: int | None
) -> None:
    """Refuse by the headers what the body could only repeat."""
    check_encoding(headers)
    check_length(announced, claims.filename, limit)
    declared = check_content_type(headers.get("content-type", ""))
    if claims.content_type not in {"", DEFAULT_CONTENT_TYPE, declared}:
        raise HttpError(415, "Upload granted for another type")


async def _store(content: AsyncIterator[bytes], claims: Claims) -> FileFacts:
    backend = storages.get(claims.backend)
    if not claims.key:
        raise InvalidGrantError("the signature names no key")
    is_refused = await _refuses_taken_keys(backend)
    if not is_refused:
        await _check_free(backend, claims)
        content = _unless_taken(content, backend, claims)
    # not fresh: whoever uses the URL twice and hangs up must not remove what came first
    op = Put(
        backend, claims.key, source_of(content), granted_facts(claims), fresh=False, looked_for=not is_refused
    )
    return await put_async(op)


async def _refuses_taken_keys(backend: StorageBackend) -> bool:
    """Return whether the storage keeps the first of two uploads at once by itself."""
    try:
        return await backend.refuses_taken_keys_async()
    except StorageError:
        # it may take uploads, and nothing of ours under another folder
        return False


async def _check_free(backend: StorageBackend, claims: Claims) -> None:
    if await backend.exists_async(claims.key):
        raise ObjectExistsError(f"{claims.filename!r} was already uploaded with this grant")


async def _unless_taken(
    chunks: AsyncIterator[bytes], backend: StorageBackend, claims: Claims
) -> AsyncIterator[bytes]:
    """Pass *chunks* on, and check at their end whether another upload with the URL was faster."""
    async for chunk in chunks:
        yield chunk
    await _check_free(backend, claims)
