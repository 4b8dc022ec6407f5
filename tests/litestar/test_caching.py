"""What caches may keep of an answer about a file, decided on its final headers, whoever set them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, Response, get
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import Cookie, MutableScopeHeaders
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import FromPath
from litestar.types import Message, Scope

from filecolumn import FileObject, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.http import caching
from filecolumn.http.caching import is_shared
from filecolumn.litestar import (
    FileColumnConfig,
    FileColumnPlugin,
    FileObjectResponse,
    Serving,
    exception_handlers,
)
from filecolumn.signing import TokenSigner
from tests.litestar.server import serve

PUBLIC = "public, max-age=31536000, immutable"

LATER = "Thu, 01 Jan 2099 00:00:00 GMT"

WAYS: dict[str, dict[str, Any]] = {
    "argument": {"cache_control": PUBLIC},
    "spelling": {"cache_control": "max-age=60,PuBlIc"},
    "s-maxage": {"cache_control": "s-maxage=60"},
    "nothing forbids it": {"cache_control": "max-age=60"},
    "header": {"headers": {"cAchE-control": PUBLIC}},
    "surrogate": {"headers": {"Surrogate-Control": "max-age=60"}},
    "CDN": {"headers": {"Acme-CDN-Cache-Control": "max-age=60"}},
    "nginx": {"headers": {"X-Accel-Expires": "60"}},
    "private": {},
    "not stored": {"headers": {"Cache-Control": "no-store", "CDN-Cache-Control": "no-store"}},
    # made public on the way out
    "after": {},
    "hook": {},
}


@pytest.mark.parametrize(
    ("lines", "shared"),
    [
        (["public"], True),
        ([" , PUBLIC ,"], True),
        (["private, max-age=60"], False),
        (["private", "s-maxage=60"], True),
        (['private="set-cookie"'], True),
        (['private="x", no-store'], False),
        (['no-cache="public, x", private'], False),
        (["no-store"], False),
        (["no-cache"], True),
        (["max-age=60"], True),
        (["privately"], True),
        (["PRIVATE;x"], True),
        ([""], True),
        ([], True),
    ],
)
def test_what_a_shared_cache_may_keep(lines: list[str], shared: bool) -> None:
    assert is_shared([(b"Cache-Control", line.encode()) for line in lines]) is shared


def make_public(response: Response[Any]) -> Response[Any]:
    response.headers["Cache-Control"] = PUBLIC
    return response


@get("/{way:str}")
async def file(request: Request[Any, Any, Any], way: FromPath[str]) -> FileObjectResponse:
    request.set_session({"user": "ann"})
    options = {"cookies": [Cookie("own", value="secret")], **WAYS[way]}
    return FileObjectResponse(request.app.state["file"], request, **options)


@get("/after", after_request=make_public)
async def after(request: Request[Any, Any, Any]) -> FileObjectResponse:
    return FileObjectResponse(request.app.state["file"], request, cookies={"own": "secret"})


@get("/kept", cache=60)
async def kept(request: Request[Any, Any, Any]) -> FileObjectResponse:
    return FileObjectResponse(
        request.app.state["file"], request, cache_control=PUBLIC, cookies={"own": "secret"}
    )


@get("/kept-private", cache=60)
async def kept_private(request: Request[Any, Any, Any]) -> FileObjectResponse:
    return FileObjectResponse(request.app.state["file"], request, cookies={"own": "secret"})


@get("/kept-text", cache=60, sync_to_thread=False)
def kept_text() -> str:
    return str(time.perf_counter_ns())


@get("/other")
async def other() -> Response[str]:
    """Tell what is no file, with cookies, as the application wants it."""
    return Response("", headers={"Cache-Control": PUBLIC}, cookies={"own": "secret"})


async def hook(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        headers.add("Set-Cookie", "hook=secret")
        if scope["path"] == "/hook":
            headers["Cache-Control"] = PUBLIC


@pytest.fixture
def stored() -> FileObject:
    storages.register_backend("memory://", "m")
    return FileObject("a.txt", content=b"hello", backend="m").save()


@pytest.fixture
def public(stored: FileObject) -> Iterator[httpx.Client]:
    """Cookies come from responses, the session, the protection against CSRF and a hook."""
    app = Litestar(
        [file, after, other, kept, kept_private, kept_text],
        plugins=[FileColumnPlugin(FileColumnConfig(backends={"m": storages.get("m")}))],
        csrf_config=CSRFConfig(secret="s" * 32),
        middleware=[ServerSideSessionConfig().middleware],
        before_send=[hook],
    )
    app.state["file"] = stored
    with serve(app) as live, live.client() as http:
        yield http


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_shared_caches_may_keep_sets_no_cookie(public: httpx.Client, way: str) -> None:
    etag = public.get(f"/{way}").headers["etag"]
    for headers, status in (
        ({}, 200),
        ({"Range": "bytes=0-0"}, 206),
        ({"If-None-Match": etag}, 304),
        ({"If-Match": '"x"'}, 412),
        ({"Range": "bytes=9-"}, 416),
    ):
        public.cookies.clear()
        answer = public.get(f"/{way}", headers=headers)
        assert answer.status_code == status
        assert ("set-cookie" in answer.headers) is (
            way in {"private", "not stored"} or (way == "hook" and status >= 400)
        )
        if status >= 400:
            assert answer.headers.get_list("cache-control") == ["no-store"]
            assert not {"surrogate-control", "acme-cdn-cache-control", "x-accel-expires"} & set(
                answer.headers
            )
        else:
            assert answer.headers["cache-control"] == public.get(f"/{way}").headers["cache-control"]


def test_the_response_cache_of_litestar_keeps_no_file(public: httpx.Client) -> None:
    # it would be sent whole, with the cookies that are added on the way out
    for path in ("/kept", "/kept-private"):
        public.cookies.clear()
        first = public.get(path)
        public.cookies.clear()
        assert (first.status_code, len(first.content)) == (200, 5)
        again = public.get(path, headers={"Range": "bytes=0-0"})
        assert (again.status_code, again.content) == (206, b"h")
        assert again.headers.get_list("set-cookie").count("own=secret; Path=/; SameSite=lax") == (
            path != "/kept"
        )
        assert ("set-cookie" in again.headers) is (path != "/kept")
    assert public.get("/kept-text").text == public.get("/kept-text").text


def test_what_is_no_file_is_left_alone(public: httpx.Client) -> None:
    assert len(public.get("/other").headers.get_list("set-cookie")) == 4


def test_without_the_plugin_the_response_decides_for_what_it_sees(stored: FileObject) -> None:
    app = Litestar([file], middleware=[ServerSideSessionConfig().middleware])
    app.state["file"] = stored
    with serve(app) as live, live.client() as http:
        assert "own=" not in http.get("/header").headers["set-cookie"]
        assert "own=" in http.get("/private").headers["set-cookie"]
        answer = http.get("/argument", headers={"Range": "bytes=9-"})
        assert (answer.status_code, answer.headers["cache-control"]) == (416, "no-store")


def test_errors_and_redirects_are_kept_by_nobody() -> None:
    # a URL of S3 is signed without a request to it
    cloud = ObstoreBackend(
        "cloud", "s3://bucket/", region="us-east-1", access_key_id="a", secret_access_key="b"
    )
    storages.register_backend("memory://", "gone")
    gone = FileObject("a.txt", content=b"x", backend="gone").save()
    gone.backend.delete(str(gone.path))
    in_cloud = FileObject.from_dict({**gone.to_dict(), "backend": "cloud"})

    @get("/{place:str}")
    async def serve_it(request: Request[Any, Any, Any], place: FromPath[str]) -> FileObjectResponse:
        return FileObjectResponse(
            in_cloud if place == "cloud" else gone,
            redirect=True,
            cache_control=PUBLIC,
            headers={"Expires": LATER},
        )

    config = FileColumnConfig(
        backends={"cloud": cloud, "gone": gone.backend}, signing_key="x" * 32, check_on_startup=False
    )
    storages.register_backend(cloud)
    for plugins, handlers in (([], exception_handlers), ([FileColumnPlugin(config)], None)):
        app = Litestar([serve_it], plugins=plugins, exception_handlers=handlers or {})
        with serve(app) as live, live.client() as http:
            for path, status in (("/cloud", 307), ("/gone", 404)):
                answer = http.get(path)
                assert answer.status_code == status
                assert answer.headers.get_list("cache-control") == ["no-store"]
                assert "expires" not in answer.headers
            if plugins:
                refused = http.get("/files/x")
                assert (refused.status_code, refused.headers["cache-control"]) == (403, "no-store")


KEY = "x" * 32

SIGNED = {
    PUBLIC: ("public, max-age=60, immutable", "private, max-age=60, immutable"),
    "max-age=5, Public": ("max-age=5, Public", "private, max-age=5"),
    'S-MaxAge="3600"': ("S-MaxAge=60, max-age=60", "private, max-age=60"),
    "public": ("public, max-age=60", "private, max-age=60"),
    "private, max-age=3600, stale-if-error=9999": ("private, max-age=60",) * 2,
    'private="x, y", max-age=many': ('private="x, y", max-age=0', "private, max-age=0"),
    'no-cache="x", private': ('no-cache="x", private, max-age=60',) * 2,
    "private, no-cache": ("private, no-cache",) * 2,
    "no-store": ("no-store",) * 2,
}


@pytest.mark.parametrize("wanted", SIGNED)
def test_no_cache_goes_on_with_a_file_after_its_signed_url(
    stored: FileObject, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FileColumnConfig(
        backends={"m": stored.backend},
        signing_key=KEY,
        response_defaults=Serving(cache_control=wanted),
        get_subject=lambda _: "ann",
    )

    async def later(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            headers["Expires"] = LATER
            headers["CDN-Cache-Control"] = "max-age=3600"
            headers["X-Accel-Expires"] = "3600"

    with (
        serve(Litestar(plugins=[FileColumnPlugin(config)], before_send=[later])) as live,
        live.client() as http,
    ):
        for subject, expected, cdn in zip((None, "ann"), SIGNED[wanted], ("max-age=60", None), strict=True):
            url = stored.sign(expires_in=900, subject=subject)
            end = TokenSigner(KEY).verify(url.rpartition("/")[2], "download", now=time.time()).expires_at
            monkeypatch.setattr(caching, "time", SimpleNamespace(time=lambda end=end: end - 60))
            for headers, status in (({}, 200), ({"Range": "bytes=0-0"}, 206), ({"If-None-Match": "*"}, 304)):
                answer = http.get(url, headers=headers)
                assert answer.status_code == status
                assert answer.headers.get_list("cache-control") == [expected]
                assert answer.headers.get("cdn-cache-control") == cdn
                assert not {"expires", "x-accel-expires"} & set(answer.headers)
