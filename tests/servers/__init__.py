"""Servers that stand in for the clouds, one module for each, and the databases.

A server is found by an environment variable (`FILECOLUMN_TEST_S3=http://key:secret@host:port`), or
started on a free port of this machine and ended at the end of the run.  `python -m tests.servers
COMMAND...` starts all of them once for a command with many processes.
"""

from tests.servers import azurite, gcs, moto, radosgw, sshd
from tests.servers.process import Serving

__all__ = ("SERVERS",)

SERVERS: dict[str, tuple[str, Serving]] = {
    "azurite": ("FILECOLUMN_TEST_AZURE", azurite.serving),
    "gcs": ("FILECOLUMN_TEST_GCS", gcs.serving),
    "moto": ("FILECOLUMN_TEST_S3", moto.serving),
    "radosgw": ("FILECOLUMN_TEST_RADOSGW", radosgw.serving),
    "sshd": ("FILECOLUMN_TEST_SSH", sshd.serving),
}
"""By the name of the fixture: the environment variable that names a server, and what starts one."""
