"""gcp-storage-emulator: Google's JSON API, for gcsfs; obstore speaks the XML API, which it has not.

It does not enforce `ifGenerationMatch=0`: of two creations both succeed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.servers.process import Endpoint, free_port, running, unavailable


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The endpoint of a project."""
    # else gcsfs looks for a service that the emulator has not, for a minute
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    if named := Endpoint.named("FILECOLUMN_TEST_GCS"):
        yield named
        return
    try:
        import gcp_storage_emulator  # noqa: PLC0415 - needed by few
    except ImportError as error:
        unavailable(f"gcp-storage-emulator is not installed: {error}")
    assert gcp_storage_emulator
    port = free_port()
    log = tmp_path_factory.mktemp("gcs") / "log"
    start = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--quiet"]
    with running([sys.executable, "-m", "tests.servers.gcs_emulator", *start], port, log):
        yield Endpoint(f"http://127.0.0.1:{port}")
