"""The routes behind signed URLs, for storages that cannot sign: one reads, one takes an upload."""

from __future__ import annotations

from litestar import HttpMethod, Request, put, route
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from filecolumn.files.facts import Json
from filecolumn.http.caching import mark_signed_url
from filecolumn.http.signed import disposition_of, file_of, receive_upload, verified_claims
from filecolumn.litestar.config import FileColumnConfig
from filecolumn.litestar.exceptions import SIGNED_ROUTES, http_exceptions
from filecolumn.litestar.receiving import subject_of
from filecolumn.litestar.response import FileObjectResponse
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
        mark_signed_url(request.scope, claims.expires_at, is_bound=bool(claims.subject))
        return FileObjectResponse(
            file_of(claims),
            disposition=disposition_of(claims),
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
        with http_exceptions():
            return await receive_upload(
                signer,
                claims,
                request.headers,
                request.stream(),
                announced=request.content_length,
                max_size=config.max_upload_size,
            )

    return upload


def _verified(signer: UrlSigner, purpose: Purpose, request: AnyRequest) -> Claims:
    token = str(request.path_params["token"])
    return verified_claims(signer, token, purpose, subject=subject_of(request.scope))
