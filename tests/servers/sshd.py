"""OpenSSH's server on loopback, with a key of its own: `apt-get install openssh-server`."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.process import free_port, program, running

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
    known_hosts: str


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A server that shows the files of this machine to the user of these tests."""
    command = program("sshd", hint=HINT)
    keygen = program("ssh-keygen", hint=HINT)
    folder = tmp_path_factory.mktemp("sshd")
    port = free_port()
    for name in ("host", "login"):
        make = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True, timeout=30)
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    if os.geteuid() == 0:
        # the folder of the privilege separation is made by an init script elsewhere
        with suppress(FileExistsError):
            Path("/run/sshd").mkdir(mode=0o755)
    log = folder / "log"
    with running([command, "-D", "-e", "-f", str(folder / "config")], port, log):
        time.sleep(0.1)
        user = pwd.getpwuid(os.geteuid()).pw_name
        yield SshServer(port, user, str(folder / "login"), str(folder / "known_hosts"))
