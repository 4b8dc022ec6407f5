"""Requests that reach S3, counted in the server's own log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, InvalidGrantError, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.signing import TokenSigner, UrlSigner
from tests.backends.places import S3Folder
from tests.backends.test_fsspec_suite import fsspec_on_s3
from tests.backends.test_obstore_suite import obstore_on_s3
from tests.samples import PNG
from tests.servers import moto
from tests.servers.process import Endpoint

pytestmark = pytest.mark.server
PART = 8 * 1024 * 1024


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="s"))


class Requests:
    """The requests that reached the server since the last look."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._seen = len(log.read_text())

    def made(self) -> list[str]:
        text = self._log.read_text()
        new, self._seen = text[self._seen :], len(text)
        # some answers are logged in colour
        return re.findall(r'"(?:\x1b\[\d+m)*([A-Z]+) /', new)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("moto")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Endpoint]:
    """A server of these tests alone, whose log is in the folder."""
    with moto.serving(folder) as endpoint:
        yield endpoint


@pytest.fixture(params=[obstore_on_s3, fsspec_on_s3])
def backend(request: pytest.FixtureRequest, server: Endpoint) -> StorageBackend:
    folder = S3Folder(server)
    backend: StorageBackend = request.param(folder)
    backend.put("warm", [b"up"])
    return storages.register_backend(backend)


@pytest.fixture
def requests(folder: Path, backend: StorageBackend) -> Requests:
    return Requests(folder / "log")


def test_a_save_and_a_get_are_one_request_each(requests: Requests) -> None:
    file = FileObject("a.txt", content=b"content").save()
    assert requests.made() == ["PUT"]
    assert file.get_content() == b"content"
    assert b"".join(file.stream()) == b"content"
    assert b"".join(file.stream(start=2, length=3)) == b"nte"
    assert requests.made() == ["GET"] * 3


async def test_they_are_so_asynchronously(requests: Requests) -> None:
    file = await FileObject("a.txt", content=b"content").save_async()
    assert requests.made() == ["PUT"]
    assert await file.get_content_async() == b"content"
    assert requests.made() == ["GET"]


def test_a_batch_of_deletes_is_one_request(requests: Requests, backend: StorageBackend) -> None:
    backend.delete(f"d/{number}" for number in range(50))
    assert requests.made() == ["POST"]
    backend.delete(f"d/{number}" for number in range(1000))
    assert requests.made() == ["POST"]
    backend.delete(f"d/{number}" for number in range(1001))
    assert requests.made() == ["POST"] * 2


@pytest.mark.parametrize("way", ["from_grant", "JSON"])
def test_an_upload_of_a_client_is_copied_by_the_storage_or_stored_with_its_true_type(
    requests: Requests, backend: StorageBackend, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(storages, "signer", UrlSigner(TokenSigner("only for this test, and 32 bytes"), "/f"))
    grant = FileObject("a.png", backend="s").grant_upload(column=Document.file)
    assert httpx.put(grant.url, content=PNG, headers={"Content-Type": "text/html"}).is_success
    (upload,) = (key for key in keys(backend) if key.startswith("incoming/"))
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    requests.made()
    make = FileObject.from_grant if way == "from_grant" else FileObject.from_input
    with Session(engine, expire_on_commit=False) as session:
        session.add_all([Document(file=make(grant.token)) for _ in range(2)])
        with pytest.raises(InvalidGrantError):
            session.flush()
        assert set(requests.made()) <= {"HEAD"}, "nothing is copied"
        session.rollback()
        session.add(document := Document(file=make(grant.token)))
        session.commit()
        assert document.file is not None
        made = requests.made()
        assert document.file.content_type == "image/png"
        assert document.file.get_content() == PNG
    assert made.count("PUT") == made.count("GET") == 1, made
    assert upload not in keys(backend)
    if way == "JSON":
        url = document.file.sign()
        assert httpx.get(url).headers["content-type"] == "image/png"
    engine.dispose()


def keys(backend: StorageBackend) -> list[str]:
    return [stat.key for stat in backend.list()]


def test_fifty_files_are_fifty_requests_and_their_removal_is_one(requests: Requests) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine, expire_on_commit=False) as session:
        documents = [Document(file=FileObject("a.txt", content=b"x")) for _ in range(50)]
        session.add_all(documents)
        session.commit()
        assert requests.made() == ["PUT"] * 50
        for document in documents:
            session.delete(document)
        session.commit()
        assert requests.made() == ["POST"]
    engine.dispose()


def test_large_content_is_sent_in_parts_without_a_look_at_the_result(
    requests: Requests, backend: StorageBackend
) -> None:
    backend.put("large", (bytes(1024 * 1024) for _ in range(20)))
    made = requests.made()
    assert made.count("POST") == 2
    assert made.count("PUT") <= 3
    assert made[-1] == "POST"
