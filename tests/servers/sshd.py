"""OpenSSH's server on loopback, with a key of its own: `apt-get install openssh-server`."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.process import Endpoint, free_port, program, running

HINT = "Debian: openssh-server"
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/login.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True)
class SshServer:
    """A server, and how to log in."""

    port: int
    user: str
    key_file: str


def ssh_server(endpoint: Endpoint) -> SshServer:
    """Read `ssh://user@127.0.0.1:port/folder`; the folder has the key."""
    parts = urlsplit(endpoint.url)
    assert parts.port is not None
    return SshServer(parts.port, endpoint.user, f"{parts.path}/login")


@contextmanager
def serving(folder: Path) -> Iterator[Endpoint]:
    """Start a server that shows the files of this machine to the user of these tests."""
    command = program("sshd", hint=HINT)
    keygen = program("ssh-keygen", hint=HINT)
    port = free_port()
    for name in ("host", "login"):
        make = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True, timeout=30)
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    if os.geteuid() == 0:
        # the folder of the privilege separation is made by an init script elsewhere
        with suppress(FileExistsError):
            Path("/run/sshd").mkdir(mode=0o755)
    with running([command, "-D", "-e", "-f", str(folder / "config")], port, folder / "log"):
        time.sleep(0.1)
        yield Endpoint(f"ssh://127.0.0.1:{port}{folder}", pwd.getpwuid(os.geteuid()).pw_name)
