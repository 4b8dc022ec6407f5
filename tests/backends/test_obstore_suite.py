"""`BackendSuite` on every store of obstore that a server can be had for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.errors import ObjectExistsError
from filecolumn.testing import BackendSuite
from tests.backends.places import BUCKET, AzureFolder, Folder, S3Folder, closing
from tests.servers.process import Endpoint


class TestMemory(BackendSuite):
    examples = 100

    @pytest.fixture
    def backend(self) -> StorageBackend:
        return ObstoreBackend("s", "memory://")

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        assert isinstance(backend, ObstoreBackend)
        store = backend.store
        return {
            meta["path"]: bytes(store.get(meta["path"]).bytes()) for page in store.list() for meta in page
        }

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        assert isinstance(backend, ObstoreBackend)
        backend.store.put(key, content)

    def another(self, backend: StorageBackend) -> StorageBackend:
        return ObstoreBackend("t", "memory://")


class TestLocal(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> StorageBackend:
        return ObstoreBackend("s", f"file://{tmp_path}/s/", fsync=False)

    def _folder(self, backend: StorageBackend) -> Folder:
        return Folder(Path(backend.location.removeprefix("file://")))

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self._folder(backend).look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self._folder(backend).place(key, content)

    def another(self, backend: StorageBackend) -> StorageBackend:
        return ObstoreBackend("t", f"{backend.location}/")


def obstore_on_s3(place: S3Folder) -> StorageBackend:
    return ObstoreBackend(
        "s",
        f"s3://{BUCKET}/{place.folder}/",
        endpoint=place.endpoint.url,
        access_key_id=place.endpoint.user,
        secret_access_key=place.endpoint.password,
        region="us-east-1",
        client_options={"allow_http": True},
    )


class OnS3(BackendSuite):
    """A folder of a bucket; the server is the subclass's."""

    exhaustive = False
    large = 9 * 1024 * 1024 + 12345
    examples = 8

    @pytest.fixture
    def server(self) -> Endpoint:
        raise NotImplementedError

    @pytest.fixture
    def backend(self, server: Endpoint) -> Iterator[StorageBackend]:
        self.s3 = S3Folder(server)
        yield self.another()
        assert self.s3.unfinished() == []
        self.s3.close()

    def another(self, backend: StorageBackend | None = None) -> StorageBackend:
        return obstore_on_s3(self.s3)

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self.s3.look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self.s3.place(key, content)


@pytest.mark.server
class TestS3OnMoto(OnS3):
    proves_signatures = False

    def test_of_two_creations_at_one_moment_one_fails(self, backend: StorageBackend) -> None:
        pytest.skip("moto looks for the key and stores it in two steps, in threads; radosgw does it in one")

    @pytest.fixture
    def server(self, moto: Endpoint) -> Endpoint:
        return moto


@pytest.mark.server
class TestS3OnRadosgw(OnS3):
    @pytest.fixture
    def server(self, radosgw: Endpoint) -> Endpoint:
        return radosgw


@pytest.mark.server
def test_s3_is_reached_by_what_the_environment_says(moto: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(S3Folder(moto)) as s3:
        for name, value in {
            "ENDPOINT_URL": moto.url,
            "ACCESS_KEY_ID": moto.user,
            "SECRET_ACCESS_KEY": moto.password,
            "REGION": "us-east-1",
            "ALLOW_HTTP": "true",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        backend = ObstoreBackend("s", f"s3://{BUCKET}/{s3.folder}/", max_retries=0)
        backend.put("a", [b"content"])
        assert s3.look() == {"a": b"content"}


@pytest.mark.server
class TestAzure(BackendSuite):
    exhaustive = False
    large = 9 * 1024 * 1024 + 12345
    examples = 8
    upload_headers = {"x-ms-blob-type": "BlockBlob"}

    @pytest.fixture
    def backend(self, azurite: Endpoint) -> Iterator[StorageBackend]:
        self.azure = AzureFolder(azurite)
        yield self.another()
        self.azure.close()

    def another(self, backend: StorageBackend | None = None) -> StorageBackend:
        return ObstoreBackend(
            "s",
            f"az://{BUCKET}/{self.azure.folder}/",
            account_name=self.azure.endpoint.user,
            account_key=self.azure.endpoint.password,
            endpoint=self.azure.endpoint.url,
            client_options={"allow_http": True},
        )

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self.azure.look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self.azure.place(key, content)


@pytest.mark.parametrize("url", ["memory://", "file://{}/s/"])
async def test_a_taken_key_is_not_overwritten_though_it_was_gone_for_a_moment(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner deletes it, or a link leads there: nothing that was asked since says more than the refusal."""
    backend = ObstoreBackend("s", url.format(tmp_path), fsync=False)
    backend.put("a", [b"theirs"])

    async def exists_async(key: str) -> bool:
        return False

    monkeypatch.setattr(backend, "exists", lambda _: False)
    monkeypatch.setattr(backend, "exists_async", exists_async)
    with pytest.raises(ObjectExistsError):
        backend.put("a", [b"ours"])
    with pytest.raises(ObjectExistsError):
        await backend.put_async("a", [b"ours"])
    assert backend.get_bytes("a") == b"theirs"
