"""Signed URLs and grants over HTTP: for one purpose, person and column, for a time, and unchanged."""

from __future__ import annotations

import hashlib
import random
import string
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pydantic
import pytest
from litestar import post
from litestar.params import JSONBody
from litestar.plugins.pydantic import PydanticDTO

from filecolumn import FileObject, InvalidGrantError, storages
from filecolumn.backends.base import Stat
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.signing import Claims, TokenSigner
from tests.litestar import raw
from tests.litestar.application import SIGNING_KEY, application, objects
from tests.litestar.server import LiveServer, serve

CONTENT = b"hello " * 1000
SIGNER = TokenSigner(SIGNING_KEY)


def user_of(connection) -> str | None:
    return connection.headers.get("x-user")


class Model(pydantic.BaseModel):
    file: FileObject


class ModelDTO(PydanticDTO[Model]): ...


@post("/model")
async def of_model(data: JSONBody[Model]) -> str:
    return data.file.filename


@post("/model-dto", dto=ModelDTO, return_dto=None)
async def of_model_dto(data: JSONBody[Model]) -> str:
    return data.file.filename


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    with serve(application(tmp_path, handlers=[of_model, of_model_dto], get_subject=user_of)) as server:
        yield server


@pytest.fixture
def url(http: httpx.Client) -> str:
    answer = http.post("/documents", files={"file": ("a.txt", CONTENT, "text/plain")})
    return answer.json()["file"]["url"]


def claims_of(url: str, purpose: str = "download") -> Claims:
    return SIGNER.verify(url.rpartition("/")[2], purpose, now=time.time())  # type: ignore[arg-type]


def signed(claims: Claims) -> str:
    return f"/files/{SIGNER.sign(claims)}"


def test_a_changed_token_is_403(http: httpx.Client, url: str) -> None:
    randomness = random.Random(1)
    alphabet = string.ascii_letters + string.digits + "-_"
    for _ in range(200):
        place = randomness.randrange(len("/files/"), len(url))
        mutant = url[:place] + randomness.choice(alphabet) + url[place + 1 :]
        if mutant != url:
            assert http.get(mutant).status_code == 403
    for mutant in (url[:-1], url + "A", url + "=", url + "%3D", "/files/x", "/files/" + "A" * 30_000):
        assert http.get(mutant).status_code == 403
    assert http.get(url).status_code == 200


@pytest.mark.parametrize("expires_at", [0, -1, 1, 10**12])
def test_an_expiry_out_of_bounds_is_403(http: httpx.Client, url: str, expires_at: int) -> None:
    assert http.get(signed(replace(claims_of(url), expires_at=expires_at))).status_code == 403


def test_a_url_ends_after_its_time(http: httpx.Client, url: str) -> None:
    short = signed(replace(claims_of(url), expires_at=int(time.time()) + 2))
    assert http.get(short).status_code == 200
    time.sleep(2.1)
    assert http.get(short).status_code == 403


def test_a_url_is_for_one_purpose(http: httpx.Client, url: str, tmp_path: Path) -> None:
    assert http.put(url, content=b"x").status_code == 403
    assert http.delete(url).status_code == 405
    grant = FileObject("b.txt", backend="files").grant_upload()
    assert http.get(grant.url).status_code == 403
    assert http.put(f"/files/{grant.token}", content=b"x").status_code == 403
    other = TokenSigner("another secret of another purpose")
    assert http.get(f"/files/{other.sign(claims_of(url))}").status_code == 403
    assert len(objects(tmp_path)) == 1


def test_there_is_one_spelling_of_a_url(http: httpx.Client, url: str) -> None:
    for query in ("?x=1", "?token=a&token=b", "?disposition=inline&disposition=attachment"):
        assert http.get(url + query).headers["content-disposition"] == 'inline; filename="a.txt"'
    assert http.get(url.replace("/files/", "/FILES/")).status_code == 404
    assert http.get(url.swapcase().replace("/FILES/", "/files/")).status_code == 403


def test_a_url_of_somebody_is_nobody_elses(http: httpx.Client, url: str) -> None:
    mine = signed(replace(claims_of(url), subject="1"))
    assert http.get(mine).status_code == 403
    assert http.get(mine, headers={"X-User": "2"}).status_code == 403
    assert http.get(mine, headers={"X-User": "1"}).status_code == 200


def test_a_key_is_rotated_without_an_end_of_old_urls(tmp_path: Path) -> None:
    new = "a new secret, with 32 bytes or more"
    with serve(application(tmp_path)) as live, live.client() as client:
        url = client.post("/documents", files={"file": ("a.txt", CONTENT, "text/plain")}).json()["file"][
            "url"
        ]
    with serve(application(tmp_path, signing_key=[new, SIGNING_KEY])) as live, live.client() as client:
        assert client.get(url).content == CONTENT
        fresh = client.get("/documents/1").json()["file"]["url"]
        assert client.get(fresh).content == CONTENT
    with serve(application(tmp_path, signing_key=new)) as live, live.client() as client:
        assert client.get(url).status_code == 403
        assert client.get(fresh).content == CONTENT


def granted(**options: object):
    return FileObject("b.txt", backend="files").grant_upload(max_size=len(CONTENT), **options)  # type: ignore[arg-type]


def test_an_upload_with_a_grant_becomes_a_row_once(http: httpx.Client, tmp_path: Path) -> None:
    grant = granted(content_type="text/plain")
    answer = http.put(grant.url, content=CONTENT, headers=dict(grant.headers))
    assert answer.status_code == 201, answer.text
    receipt = answer.json()
    assert receipt["checksum"] == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    (uploaded,) = objects(tmp_path)
    attached = http.post("/attach", json={"file": receipt["grant"], "title": "T"})
    assert attached.status_code == 201, attached.text
    assert attached.json()["file"]["size"] == len(CONTENT)
    (kept,) = objects(tmp_path)
    assert kept != uploaded, "what a client could write to is never what a row points to"
    assert http.get("/documents/1/file").content == CONTENT
    assert http.post("/attach", json={"file": receipt["grant"]}).status_code in {403, 404}
    assert http.get("/count").json() == 1


def test_the_grant_that_came_with_the_url_does_as_well(http: httpx.Client, tmp_path: Path) -> None:
    grant = granted()
    assert http.post("/attach", json={"file": grant.token}).status_code == 404, "nothing is uploaded yet"
    assert http.put(grant.url, content=CONTENT).status_code == 201
    attached = http.post("/attach", json={"file": grant.token})
    assert attached.json()["file"]["checksum"] == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert len(objects(tmp_path)) == 1


def test_a_larger_body_is_413_and_leaves_nothing(http: httpx.Client, tmp_path: Path) -> None:
    grant = granted()
    assert http.put(grant.url, content=CONTENT + b"x").status_code == 413
    assert http.put(grant.url, content=iter([CONTENT, b"x"])).status_code == 413
    assert objects(tmp_path) == []


def test_another_type_is_415(http: httpx.Client, tmp_path: Path) -> None:
    grant = granted(content_type="image/png")
    assert http.put(grant.url, content=b"x", headers={"Content-Type": "text/html"}).status_code == 415
    assert http.put(grant.url, content=b"x").status_code == 415
    assert objects(tmp_path) == []


def test_a_url_is_used_once(http: httpx.Client, tmp_path: Path) -> None:
    grant = granted()
    assert http.put(grant.url, content=b"first").status_code == 201
    assert http.put(grant.url, content=b"second").status_code == 409
    assert [path.read_bytes() for path in objects(tmp_path)] == [b"first"]


@pytest.mark.parametrize("storage", ["file://{}/files/", "memory://", "local://{}/files", "fsspec memory"])
def test_of_two_uploads_at_once_to_a_url_the_one_that_ends_first_stays(tmp_path: Path, storage: str) -> None:
    fsspec_memory = FSSpecBackend("files", "memory", prefix=f"at-once-{tmp_path.name}")
    backend = fsspec_memory if storage == "fsspec memory" else storage.format(tmp_path)
    with (
        serve(application(tmp_path, backends={"files": backend})) as live,
        live.client() as client,
        raw.connect(live.port) as slow,
    ):
        grant = granted()
        slow.sendall(raw.head("PUT", grant.url, [("Content-Length", "5")]) + b"oth")
        # the other has been let in: it is answered in the order of the connections
        time.sleep(0.1)
        answer = client.put(grant.url, content=b"first")
        assert answer.status_code == 201
        slow.sendall(b"er")
        assert raw.status_of(slow.recv(65536)) == 409
        key = claims_of(grant.token, "grant").key
        assert storages.get("files").get_bytes(key) == b"first"


@pytest.mark.parametrize("path", ["/attach", "/model", "/model-dto"])
def test_a_grant_of_somebody_is_nobody_elses(http: httpx.Client, path: str) -> None:
    grant = granted(subject="1")
    mine, other = {"X-User": "1"}, {"X-User": "2"}
    assert http.put(grant.url, content=b"x", headers=other).status_code == 403
    receipt = http.put(grant.url, content=b"x", headers=mine).json()["grant"]
    assert http.post(path, json={"file": receipt}, headers=other).status_code == 400
    assert http.post(path, json={"file": receipt}).status_code == 400
    assert http.post(path, json={"file": receipt}, headers=mine).status_code == 201


def test_a_grant_for_a_column_is_for_no_other(http: httpx.Client, tmp_path: Path) -> None:
    other = granted(column="Photo.file")
    receipt = http.put(other.url, content=b"x").json()["grant"]
    assert http.post("/attach", json={"file": receipt}).status_code == 403
    mine = granted(column="Document.file")
    receipt = http.put(mine.url, content=b"x").json()["grant"]
    assert http.post("/attach", json={"file": receipt}).status_code == 201
    assert http.get("/count").json() == 1


def test_content_that_is_changed_after_its_receipt_is_not_attached(
    http: httpx.Client, tmp_path: Path
) -> None:
    grant = granted()
    receipt = http.put(grant.url, content=b"abc").json()["grant"]
    objects(tmp_path)[0].write_bytes(b"longer than it was")
    assert http.post("/attach", json={"file": receipt}).status_code == 403
    assert http.get("/count").json() == 0


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_what_is_checked_is_a_copy_that_no_client_can_reach(tmp_path: Path, way: str) -> None:
    storages.register_backend(f"file://{tmp_path / 'files'}/", key="files")
    application(tmp_path, signing_key=SIGNING_KEY)
    grant = await FileObject("b.txt", backend="files").grant_upload_async(max_size=10)
    claims = SIGNER.verify(grant.token, "grant", now=time.time())
    storages.get("files").put(claims.key, [b"short"])
    is_sync = way == "sync"
    file = FileObject.from_grant(grant.token) if is_sync else await FileObject.from_grant_async(grant.token)
    file = file.save() if is_sync else await file.save_async()
    storages.get("files").put(claims.key, [b"replaced"], mode="overwrite")
    assert file.get_content() == b"short"
    assert file.path != claims.key
    assert file.checksum == "sha256:" + hashlib.sha256(b"short").hexdigest()


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_an_upload_that_grows_while_it_is_read_is_refused_and_no_copy_stays(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage says that it has three bytes, and hands over more."""
    backend = storages.register_backend(f"file://{tmp_path / 'files'}/", key="files")
    application(tmp_path)
    grant = FileObject("b.txt", backend="files").grant_upload(max_size=3)
    key = SIGNER.verify(grant.token, "grant", now=time.time()).key
    backend.put(key, [b"more than three"])
    small = replace(backend.stat(key), size=3)

    async def stat_async(_: str) -> Stat:
        return small

    monkeypatch.setattr(backend, "stat", lambda _: small)
    monkeypatch.setattr(backend, "stat_async", stat_async)
    with pytest.raises((ValueError, OSError)):
        if way == "sync":
            FileObject.from_grant(grant.token).save()
        else:
            await (await FileObject.from_grant_async(grant.token)).save_async()
    monkeypatch.undo()
    assert len(objects(tmp_path)) == 1


async def test_too_much_in_the_storage_is_refused_and_no_copy_stays(tmp_path: Path) -> None:
    storages.register_backend(f"file://{tmp_path / 'files'}/", key="files")
    application(tmp_path)
    grant = FileObject("b.txt", backend="files").grant_upload(max_size=3)
    claims = SIGNER.verify(grant.token, "grant", now=time.time())
    storages.get("files").put(claims.key, [b"more than three"])
    for call in (FileObject.from_grant_async(grant.token),):
        with pytest.raises(ValueError, match="3 bytes"):
            await call
    with pytest.raises(ValueError, match="3 bytes"):
        FileObject.from_grant(grant.token)
    assert len(objects(tmp_path)) == 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        {"filename": "a", "to_filename": "k", "backend": "files"},
        {"backend": "files", "filename": "../../etc/passwd"},
        ["a"],
        5,
        True,
    ],
    ids=repr,
)
def test_json_cannot_name_a_key_or_a_storage(http: httpx.Client, value: object) -> None:
    answer = http.post("/attach", json={"file": value})
    assert answer.status_code == 400, answer.text
    assert http.get("/count").json() == 0


def test_a_grant_needs_a_signing_key(tmp_path: Path) -> None:
    storages.register_backend("memory://", key="files")
    with pytest.raises(NotImplementedError, match="signing_key"):
        FileObject("a.txt", backend="files").grant_upload()
    with pytest.raises(NotImplementedError, match="signing_key"):
        FileObject.from_grant("x")


def test_a_grant_without_a_valid_token_says_so(tmp_path: Path) -> None:
    application(tmp_path)
    with pytest.raises(InvalidGrantError):
        FileObject.from_grant("x")


class ClaimsToSign(ObstoreBackend):
    """A storage of which it shows only when it is asked that it does not sign."""

    def __init__(self, location: str) -> None:
        super().__init__("files", location)
        self.capabilities = replace(self.capabilities, signs=True)


def test_content_is_sent_where_the_storage_turns_out_not_to_sign_a_redirect(tmp_path: Path) -> None:
    backend = ClaimsToSign(f"file://{tmp_path / 'files'}/")
    with (
        serve(application(tmp_path, backends={"files": backend}, redirect=True)) as server,
        server.client() as client,
    ):
        answer = client.post("/documents", files={"file": ("a.txt", CONTENT, "text/plain")})
        read = client.get(answer.json()["file"]["url"])
    assert (read.status_code, read.content) == (200, CONTENT)
