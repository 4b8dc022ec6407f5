"""gcp-storage-emulator: Google's JSON API, for gcsfs; obstore speaks the XML API, which it has not.

It does not enforce `ifGenerationMatch=0`: of two creations both succeed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.servers.process import Endpoint, free_port, running, unavailable


@contextmanager
def serving(folder: Path) -> Iterator[Endpoint]:
    """Start a project that lives in memory."""
    if find_spec("gcp_storage_emulator") is None:
        unavailable("gcp-storage-emulator is not installed")
    port = free_port()
    start = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--quiet"]
    with running([sys.executable, "-m", "tests.servers.gcs_emulator", *start], port, folder / "log"):
        yield Endpoint(f"http://127.0.0.1:{port}")
