"""The storage page of advanced-alchemy's documentation, as written but for its imports.

Folders are below `tmp_path` instead of `/var/app`; servers on this machine take the clouds' places, so
endpoints and keys are theirs.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from advanced_alchemy.base import UUIDAuditBase
from litestar import Litestar
from litestar.testing import AsyncTestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, storages
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from tests.backends.places import BUCKET, AzureFolder, GcsFolder, S3Folder
from tests.servers.process import Endpoint


class Document(UUIDAuditBase):
    __tablename__ = "documents"

    title: "Mapped[str]"
    file: "Mapped[FileObject | None]" = mapped_column(StoredObject(backend="local"))


@pytest.fixture
def memory_storage() -> Iterator[FSSpecBackend]:
    """Configure in-memory storage for tests."""
    backend = FSSpecBackend(key="test-storage", fs="memory")
    storages.register_backend(backend)
    yield backend
    storages._backends.pop("test-storage", None)


async def test_file_operations(memory_storage: FSSpecBackend) -> None:
    """Test file upload with in-memory backend."""
    file_obj = FileObject(
        backend="test-storage",
        filename="test.txt",
        content=b"Test content",
    )
    await file_obj.save_async()
    content = await file_obj.get_content_async()
    assert content == b"Test content"


@pytest.mark.parametrize("kind", ["fsspec", "obstore"])
def test_quick_start_and_model(kind: str, tmp_path: Path) -> None:
    if kind == "fsspec":
        storages.register_backend(FSSpecBackend(
            key="local",
            fs="file",
            prefix=f"{tmp_path}/uploads",
        ))  # fmt: skip
    else:
        storages.register_backend(ObstoreBackend(
            key="local",
            fs=f"file://{tmp_path}/uploads/",
        ))  # fmt: skip
    engine = create_engine("sqlite://")
    Document.metadata.create_all(engine)

    with Session(engine) as session:
        session.add(Document(title="Report", file=FileObject(filename="report.pdf", content=b"%PDF")))
        session.commit()

    with Session(engine) as session:
        document = session.query(Document).one()
        assert document.file is not None
        assert document.file.get_content() == b"%PDF"
    engine.dispose()


def test_backend_registration(memory_storage: FSSpecBackend) -> None:
    assert storages.get("test-storage") is memory_storage
    assert storages.all() == [memory_storage]


async def test_startup_registration(tmp_path: Path) -> None:
    @asynccontextmanager
    async def configure_storage(app: Litestar) -> AsyncIterator[None]:
        """Configure storage backends on startup."""
        # Register fsspec backend
        storages.register_backend(FSSpecBackend(
            key="documents",
            fs="file",
            prefix=f"{tmp_path}/uploads",
        ))  # fmt: skip

        # Register obstore backend
        storages.register_backend(ObstoreBackend(
            key="images",
            fs="s3://my-bucket/images/",
            aws_region="us-west-2",
        ))  # fmt: skip

        yield

    app = Litestar(route_handlers=[], lifespan=[configure_storage])
    for _ in range(2):
        async with AsyncTestClient(app):
            assert storages.registered_backends() == ["documents", "images"]


def test_amazon_s3_through_obstore() -> None:
    storages.register_backend(ObstoreBackend(
        key="s3-documents",
        fs="s3://my-bucket/documents/",
        aws_access_key_id="AWS_ACCESS_KEY",
        aws_secret_access_key="AWS_SECRET_KEY",
        aws_region="us-west-2",
    ))  # fmt: skip

    backend = storages.get("s3-documents")

    assert backend.location == "s3://my-bucket/documents"
    assert "AWS_SECRET_KEY" not in repr(backend)


def keeps_files(key: str) -> None:
    """Save, read and delete in the storage *key*, as the page does with its own."""
    file = FileObject(backend=key, filename="test.txt", content=b"Test content")
    file.save()
    assert file.get_content() == b"Test content"
    assert [stat.key for stat in storages.get(key).list()] == [file.path]
    file.delete()
    assert [*storages.get(key).list()] == []


@pytest.mark.server
def test_amazon_s3_works(moto: Endpoint) -> None:
    folder = S3Folder(moto).folder
    s3_fs = fsspec.filesystem(
        "s3",
        key="AWS_ACCESS_KEY",
        secret="AWS_SECRET_KEY",
        endpoint_url=moto.url,
    )

    storages.register_backend(FSSpecBackend(
        key="s3-fsspec",
        fs=s3_fs,
        prefix=f"{BUCKET}/{folder}",
    ))  # fmt: skip
    storages.register_backend(ObstoreBackend(
        key="s3-documents",
        fs=f"s3://{BUCKET}/{folder}/",
        aws_access_key_id="AWS_ACCESS_KEY",
        aws_secret_access_key="AWS_SECRET_KEY",
        aws_region="us-west-2",
        aws_endpoint=moto.url,
        client_options={"allow_http": True},
    ))  # fmt: skip

    keeps_files("s3-fsspec")
    keeps_files("s3-documents")


@pytest.mark.server
def test_environment_variables_work(moto: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    S3Folder(moto)
    for name, value in {
        "S3_BUCKET": BUCKET,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT": moto.url,
    }.items():
        monkeypatch.setenv(name, value)
    storages.register_backend(ObstoreBackend(
        key="s3",
        fs=f"s3://{os.environ['S3_BUCKET']}/{uuid4().hex}/",
        aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY"),
        aws_region=os.environ.get("AWS_REGION", "us-east-1"),
        client_options={"allow_http": True},
    ))  # fmt: skip

    keeps_files("s3")


@pytest.mark.server
def test_azure_blob_storage_works(azurite: Endpoint) -> None:
    place = AzureFolder(azurite)
    azure_fs = fsspec.filesystem(
        "abfs",
        connection_string=(
            f"DefaultEndpointsProtocol=http;AccountName={azurite.user};"
            f"AccountKey={azurite.password};BlobEndpoint={azurite.url}"
        ),
    )

    storages.register_backend(FSSpecBackend(
        key="azure-fsspec",
        fs=azure_fs,
        prefix=f"{BUCKET}/{place.folder}",
    ))  # fmt: skip
    storages.register_backend(ObstoreBackend(
        key="azure-blobs",
        fs=f"az://{BUCKET}/{place.folder}/",
        azure_storage_account_name=azurite.user,
        azure_storage_account_key=azurite.password,
        azure_storage_endpoint=azurite.url,
        client_options={"allow_http": True},
    ))  # fmt: skip

    keeps_files("azure-fsspec")
    keeps_files("azure-blobs")
    place.close()


@pytest.mark.server
def test_google_cloud_storage_works(gcs: Endpoint) -> None:
    place = GcsFolder(gcs)
    gcs_fs = fsspec.filesystem(
        "gcs",
        token="anon",
        project="your-project",
        endpoint_url=gcs.url,
    )

    storages.register_backend(FSSpecBackend(
        key="gcs-files",
        fs=gcs_fs,
        prefix=f"{BUCKET}/{place.folder}",
    ))  # fmt: skip

    keeps_files("gcs-files")


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "company")
    storages.register_backend(ObstoreBackend(
        key="s3",
        fs=f"s3://{os.environ['S3_BUCKET']}/",
        aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", "key"),
        aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "secret"),
        aws_region=os.environ.get("AWS_REGION", "us-east-1"),
    ))  # fmt: skip

    assert storages.get("s3").protocol == "s3"


def test_iam_role_without_credentials_is_built_without_any_request() -> None:
    storages.register_backend(ObstoreBackend(
        key="s3",
        fs="s3://my-bucket/",
        aws_region="us-west-2",
        # No credentials needed - uses IAM role
    ))  # fmt: skip

    assert storages.is_registered("s3")


@pytest.mark.parametrize(("fs", "hint"), [("file://path", "file:///"), ("s3:bucket", "scheme")])
def test_incorrect_forms_say_what_to_write(fs: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        ObstoreBackend(key="x", fs=fs)


def test_a_bucket_without_a_slash_works() -> None:
    assert ObstoreBackend(key="x", fs="s3://bucket", aws_region="us-east-1").location.startswith(
        "s3://bucket"
    )


def test_file_scheme_as_fsspec_protocol_says_what_to_write() -> None:
    with pytest.raises(ValueError, match="file:///"):
        FSSpecBackend(key="x", fs="file://path")
