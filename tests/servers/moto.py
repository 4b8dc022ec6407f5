"""moto: S3 as AWS answers it, versions and conditional requests included.

It takes any signature, also one that has expired: what is proved of those is proved on radosgw.
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
    """Start an S3 that is empty at first; its log is the file `log` in *folder*."""
    if find_spec("moto") is None:
        unavailable("moto is not installed")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, folder / "log"):
        yield Endpoint(f"http://127.0.0.1:{port}")
