"""Places that a backend keeps content in, looked at and changed without it."""

from __future__ import annotations

import atexit
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from tests.servers.process import Endpoint

BUCKET = "places"


class Place(Protocol):
    """Somewhere to keep objects."""

    def look(self) -> dict[str, bytes]: ...

    def place(self, key: str, content: bytes) -> None: ...


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def look(self) -> dict[str, bytes]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {path.relative_to(self.path).as_posix(): path.read_bytes() for path in files}

    def place(self, key: str, content: bytes) -> None:
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@cache
def _s3_client(endpoint: Endpoint) -> Any:
    """Return a client of a server that has the bucket; boto3 takes long to make one."""
    boto3 = __import__("boto3")
    config = __import__("botocore.config", fromlist=["Config"])
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.user,
        aws_secret_access_key=endpoint.password,
        region_name="us-east-1",
        config=config.Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 1}),
    )
    client.create_bucket(Bucket=BUCKET)
    atexit.register(client.close)
    return client


class S3Folder:
    """A folder of a bucket, reached through boto3."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.folder = uuid4().hex
        self.client: Any = _s3_client(endpoint)

    def _page(self) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=BUCKET, Prefix=f"{self.folder}/"):
            yield from (item["Key"] for item in page.get("Contents", ()))

    def look(self) -> dict[str, bytes]:
        return {
            key.partition("/")[2]: self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            for key in self._page()
        }

    def place(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.folder}/{key}", Body=content)

    def head(self, key: str) -> Any:
        return self.client.head_object(Bucket=BUCKET, Key=f"{self.folder}/{key}")

    def unfinished(self) -> list[str]:
        uploads = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())
        return [upload["Key"] for upload in uploads if upload["Key"].startswith(self.folder)]

    def close(self) -> None:
        """Delete all, since some servers have little memory."""
        keys = [*self._page()]
        for first in range(0, len(keys), 1000):
            batch = [{"Key": key} for key in keys[first : first + 1000]]
            self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": batch, "Quiet": True})


@cache
def _azure_container(endpoint: Endpoint) -> Any:
    """Return a client of a container, which is made if it is missing."""
    blob = __import__("azure.storage.blob", fromlist=["ContainerClient"])
    exists = __import__("azure.core.exceptions", fromlist=["ResourceExistsError"]).ResourceExistsError
    container = blob.ContainerClient(
        endpoint.url,
        BUCKET,
        credential={"account_name": endpoint.user, "account_key": endpoint.password},
    )
    with suppress(exists):
        container.create_container()
    atexit.register(container.close)
    return container


class AzureFolder:
    """A folder of a container, reached through Azure's own client."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.folder = uuid4().hex
        self.container: Any = _azure_container(endpoint)

    def look(self) -> dict[str, bytes]:
        names = self.container.list_blob_names(name_starts_with=f"{self.folder}/")
        return {name.partition("/")[2]: self.container.download_blob(name).readall() for name in [*names]}

    def place(self, key: str, content: bytes) -> None:
        self.container.upload_blob(f"{self.folder}/{key}", content, overwrite=True)

    def close(self) -> None:
        pass


class GcsFolder:
    """A folder of a bucket, reached through Google's JSON API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.folder = uuid4().hex
        try:
            self._call(
                "/storage/v1/b?project=test", json.dumps({"name": BUCKET}).encode(), "application/json"
            )
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 409:
                    raise

    def _call(self, path: str, body: bytes | None = None, kind: str = "application/octet-stream") -> bytes:
        request = urllib.request.Request(self.endpoint.url + path, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=20) as answer:
            content: bytes = answer.read()
            return content

    def look(self) -> dict[str, bytes]:
        listed = json.loads(self._call(f"/storage/v1/b/{BUCKET}/o?prefix={self.folder}/"))
        names = [item["name"] for item in listed.get("items", ())]
        return {
            name.partition("/")[2]: self._call(
                f"/download/storage/v1/b/{BUCKET}/o/{urllib.parse.quote(name, safe='')}?alt=media"
            )
            for name in names
        }

    def place(self, key: str, content: bytes) -> None:
        name = urllib.parse.quote(f"{self.folder}/{key}", safe="")
        self._call(f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", content)

    def close(self) -> None:
        pass


@contextmanager
def closing(place: Any) -> Iterator[Any]:
    try:
        yield place
    finally:
        place.close()
