"""The routes behind signed URLs, for storages that cannot sign: reading, and uploading."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from litestar import HttpMethod, Request, put, route
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.content.sources import source_of
from filecolumn.errors import InvalidGrantError, ObjectExistsError, StorageError
from filecolumn.files.facts import FileFacts, Json
from filecolumn.files.file import file_with
from filecolumn.files.grants import check_subject, granted_facts, receipt, too_large
from filecolumn.files.state import LOADED, FileState
from filecolumn.files.transfer import Put, put_async
from filecolumn.http.caching import by_signed_url
from filecolumn.litestar.config import FileColumnConfig
from filecolumn.litestar.exceptions import SIGNED_ROUTES
from filecolumn.litestar.receiving import body_chunks, check_encoding, subject_of
from filecolumn.litestar.response import FileObjectResponse
from filecolumn.naming import DEFAULT_CONTENT_TYPE, check_content_type
from filecolumn.signing import Claims, Purpose, UrlSigner

__all__ = ("signed_routes",)

AnyRequest = Request[object, object, State]


def signed_routes(config: FileColumnConfig, signer: UrlSigner) -> list[HTTPRouteHandler]:
    """Return the handlers below `config.files_path`; what a query says besides the token is never read."""
    path = f"{config.files_path.rstrip('/')}/{{token:str}}"
    return [_download_route(path, config, signer), _upload_route(path, config, signer)]


def _download_route(path: str, config: FileColumnConfig, signer: UrlSigner) -> HTTPRouteHandler:
    @route(
        path,
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        include_in_schema=False,
        guards=list(config.guards),  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        name=SIGNED_ROUTES[0],
    )
    async def download(request: AnyRequest) -> FileObjectResponse:
        claims = _verified(signer, "download", request)
        by_signed_url(request.scope, claims.expires_at, is_bound=bool(claims.subject))
        # the signature vouches for what it holds, so no row has to be asked
        file = file_with(FileState(LOADED, _facts(claims)))
        return FileObjectResponse(
            file,
            disposition="attachment" if claims.disposition == "attachment" else "inline",
            redirect=config.redirect,
            x_accel=config.x_accel,
        )

    return download


def _upload_route(path: str, config: FileColumnConfig, signer: UrlSigner) -> HTTPRouteHandler:
    @put(
        path,
        status_code=201,
        include_in_schema=False,
        guards=list(config.guards),  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        name=SIGNED_ROUTES[1],
        request_max_body_size=None,
        exclude_from_csrf=True,
    )
    async def upload(request: AnyRequest) -> dict[str, Json]:
        claims = _verified(signer, "upload", request)
        limit = config.max_upload_size if claims.max_size < 0 else claims.max_size
        _check_announced(request, claims, limit)
        facts = await _receive(request, claims, limit)
        return {
            "grant": signer.tokens.sign(receipt(claims, facts)),
            "filename": facts.filename,
            "content_type": facts.content_type,
            "size": facts.size,
            "checksum": facts.checksum,
        }

    return upload


def _verified(signer: UrlSigner, purpose: Purpose, request: AnyRequest) -> Claims:
    claims = signer.tokens.verify(str(request.path_params["token"]), purpose, now=time.time())
    check_subject(claims, subject_of(request.scope))
    return claims


def _facts(claims: Claims) -> FileFacts:
    return FileFacts(
        filename=claims.filename,
        key=claims.key,
        backend=claims.backend,
        content_type=claims.content_type or DEFAULT_CONTENT_TYPE,
        size=None if claims.size < 0 else claims.size,
        checksum=claims.checksum or None,
    )


def _check_announced(request: AnyRequest, claims: Claims, limit: int | None) -> None:
    """Refuse by the headers what the body could only repeat."""
    check_encoding(request.headers)
    announced = request.content_length
    if announced is not None and limit is not None and limit < announced:
        raise too_large(claims.filename, limit)
    declared = check_content_type(request.headers.get("content-type", ""))
    if claims.content_type not in {"", DEFAULT_CONTENT_TYPE, declared}:
        raise HTTPException(status_code=415, detail="The upload was granted for another type")


async def _receive(request: AnyRequest, claims: Claims, limit: int | None) -> FileFacts:
    backend = storages.get(claims.backend)
    if not claims.key:
        raise InvalidGrantError("the signature names no place")
    content = body_chunks(request, claims.filename, limit)
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
        raise ObjectExistsError(f"{claims.filename!r} was uploaded already with this grant")


async def _unless_taken(
    chunks: AsyncIterator[bytes], backend: StorageBackend, claims: Claims
) -> AsyncIterator[bytes]:
    """Pass *chunks* on, and look at their end whether another upload with the URL was faster."""
    async for chunk in chunks:
        yield chunk
    await _check_free(backend, claims)
