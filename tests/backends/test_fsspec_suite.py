"""`BackendSuite` on the filesystems of fsspec that a server can be had for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.testing import BackendSuite
from filecolumn.testing.harness import UNUSUAL_KEYS
from tests.backends.places import BUCKET, AzureFolder, Folder, GcsFolder, S3Folder
from tests.servers.process import Endpoint
from tests.servers.sshd import SshServer


class TestMemory(BackendSuite):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return FSSpecBackend("s", "memory", f"suite-{uuid4().hex}")

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        assert isinstance(backend, FSSpecBackend)
        fs = fsspec.filesystem("memory")
        paths = fs.find(backend.prefix)
        return {path.removeprefix(f"/{backend.prefix}/"): fs.cat_file(path) for path in paths}

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        assert isinstance(backend, FSSpecBackend)
        fsspec.filesystem("memory").pipe_file(f"{backend.prefix}/{key}", content)

    def another(self, backend: StorageBackend) -> StorageBackend:
        assert isinstance(backend, FSSpecBackend)
        return FSSpecBackend("t", "memory", backend.prefix)


class TestStaged(BackendSuite):
    """Files that are shown while they are written, all readers of which have one file of the filesystem's."""

    large = 3 * 1024 * 1024 + 12345
    many = 20
    examples = 8

    @pytest.fixture
    def backend(self) -> StorageBackend:
        self.root = f"/suite-{uuid4().hex}"
        return self.another()

    def another(self, backend: StorageBackend | None = None) -> StorageBackend:
        return FSSpecBackend("s", fsspec.filesystem("dir", path=self.root, fs=fsspec.filesystem("memory")))

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        fs = fsspec.filesystem("memory")
        return {path.removeprefix(f"{self.root}/"): fs.cat_file(path) for path in fs.find(self.root)}

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        fsspec.filesystem("memory").pipe_file(f"{self.root}/{key}", content)


class OwnMemory(MemoryFileSystem):  # type: ignore[misc]
    protocol = "bucket"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]


class MemoryBucket(AbstractFileSystem):  # type: ignore[misc]
    """An object store in memory, with the options by which gcsfs is told of a condition and a media type."""

    protocol = "gs"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.objects = OwnMemory(skip_instance_cache=True)
        self.types: dict[str, str] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self.objects.pipe_file(path, value, mode=mode)
        self.types[path] = options["content_type"]

    _pipe_file = pipe_file

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "wb":
            return self.objects.open(path, mode)
        self.types[path] = options["content_type"]
        # it is an object once it is committed
        return MemoryFile(self.objects, path)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {**self.objects.info(path), "contentType": self.types.get(path)}

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        return self.objects.ls(path, detail=detail)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> Any:
        return self.objects.cat_file(path, start, end)

    def rm_file(self, path: str) -> None:
        self.objects.rm_file(path)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self.objects.cp_file(path1, path2)
        self.types[path2] = self.types[path1]


class TestMemoryBucket(BackendSuite):
    """How objects are written and read, without a server; what each service answers is tried on the servers."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        made = FSSpecBackend("s", MemoryBucket(skip_instance_cache=True), f"/suite-{uuid4().hex}")
        made.capabilities = replace(made.capabilities, signs_uploads=False)
        return made


class TestLocal(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> StorageBackend:
        self.folder = Folder(tmp_path / "s")
        return self.another()

    def another(self, backend: StorageBackend | None = None) -> StorageBackend:
        return FSSpecBackend("s", "file", str(self.folder.path), fsync=False)

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self.folder.look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self.folder.place(key, content)


@pytest.mark.server
class TestSftp(BackendSuite):
    exhaustive = False
    large = 1024 * 1024 + 12345
    many = 100
    examples = 8

    @pytest.fixture
    def backend(self, sshd: SshServer, tmp_path: Path) -> StorageBackend:
        self.folder = Folder(tmp_path / "s")
        self.folder.path.mkdir()
        self.server = sshd
        return self.another()

    def another(self, backend: StorageBackend | None = None) -> StorageBackend:
        return FSSpecBackend(
            "s",
            "sftp",
            str(self.folder.path),
            host="127.0.0.1",
            port=self.server.port,
            username=self.server.user,
            key_filename=self.server.key_file,
            look_for_keys=False,
            allow_agent=False,
        )

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self.folder.look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self.folder.place(key, content)


def fsspec_on_s3(place: S3Folder) -> StorageBackend:
    fs = fsspec.filesystem(
        "s3",
        key=place.endpoint.user,
        secret=place.endpoint.password,
        endpoint_url=place.endpoint.url,
        client_kwargs={"region_name": "us-east-1"},
    )
    return FSSpecBackend("s", fs, f"{BUCKET}/{place.folder}")


class OnS3(BackendSuite):
    exhaustive = False
    large = 9 * 1024 * 1024 + 12345
    examples = 5

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
        return fsspec_on_s3(self.s3)

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self.s3.look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self.s3.place(key, content)


@pytest.mark.server
class TestS3fsOnMoto(OnS3):
    proves_signatures = False

    @pytest.fixture
    def server(self, moto: Endpoint) -> Endpoint:
        return moto


@pytest.mark.server
class TestAdlfs(BackendSuite):
    exhaustive = False
    large = 9 * 1024 * 1024 + 12345
    many = 100
    examples = 5

    @pytest.fixture
    def backend(self, azurite: Endpoint) -> Iterator[StorageBackend]:
        self.azure = AzureFolder(azurite)
        yield self.another()
        self.azure.close()

    def another(self, backend: StorageBackend | None = None) -> StorageBackend:
        server = self.azure.endpoint
        settings = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": server.user,
            "AccountKey": server.password,
            "BlobEndpoint": server.url,
        }
        connection = ";".join(f"{name}={value}" for name, value in settings.items())
        return FSSpecBackend("s", "abfs", f"{BUCKET}/{self.azure.folder}", connection_string=connection)

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self.azure.look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self.azure.place(key, content)


@pytest.mark.server
class TestGcsfs(BackendSuite):
    # the emulator takes ; for the end of a path
    unusual_keys = tuple(key for key in UNUSUAL_KEYS if ";" not in key)
    exhaustive = False
    large = 9 * 1024 * 1024 + 12345
    many = 100
    examples = 5

    @pytest.fixture
    def backend(self, gcs: Endpoint) -> Iterator[StorageBackend]:
        self.gcs = GcsFolder(gcs)
        yield self.another()
        self.gcs.close()

    def another(self, backend: StorageBackend | None = None) -> StorageBackend:
        made = FSSpecBackend(
            "s",
            "gs",
            f"{BUCKET}/{self.gcs.folder}",
            token="anon",
            project="test",
            endpoint_url=self.gcs.endpoint.url,
        )
        # Google enforces the condition, the emulator does not; and it has no keys to sign with
        made.capabilities = replace(
            made.capabilities, creates_atomically=False, signs=False, signs_uploads=False
        )
        return made

    def look(self, backend: StorageBackend) -> Mapping[str, bytes]:
        return self.gcs.look()

    def place(self, backend: StorageBackend, key: str, content: bytes) -> None:
        self.gcs.place(key, content)
