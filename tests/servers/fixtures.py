"""A pytest plugin: the servers as fixtures, and the marker `server` on each test that uses one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers import SERVERS
from tests.servers.azurite import ACCOUNT, KEY
from tests.servers.process import Endpoint, named_or_started
from tests.servers.s3_faults import S3Server
from tests.servers.sshd import SshServer, ssh_server

__all__ = ("azurite", "gcs", "moto", "radosgw", "s3_server", "sshd")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server; before `-m` chooses among them."""
    for item in items:
        if not SERVERS.keys().isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


def _server(name: str, folders: pytest.TempPathFactory) -> Iterator[Endpoint]:
    variable, serving = SERVERS[name]
    with named_or_started(variable, serving, folders.mktemp(name)) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An account of Azure's blobs."""
    for endpoint in _server("azurite", tmp_path_factory):
        yield Endpoint(endpoint.url, ACCOUNT, KEY)


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A project of Google's storage."""
    # else gcsfs looks for a service that the emulator has not, for a minute
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    yield from _server("gcs", tmp_path_factory)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An S3 that believes every signature."""
    yield from _server("moto", tmp_path_factory)


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An S3 that checks signatures and their expiry."""
    yield from _server("radosgw", tmp_path_factory)


@pytest.fixture
def s3_server() -> Iterator[S3Server]:
    """An S3 in this process, empty and without faults; no server in the sense of the marker."""
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A server that shows the files of this machine to the user of these tests."""
    for endpoint in _server("sshd", tmp_path_factory):
        yield ssh_server(endpoint)
