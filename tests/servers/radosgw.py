"""radosgw: a real S3 server on a Ceph of one node that lives in memory.

Debian has it: `apt-get install ceph-mon ceph-osd ceph-common radosgw`.  It needs no systemd and no
manager.  With `auth = none` radosgw would wait for ever, so cephx is on.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from tests.servers.process import Endpoint, free_port, kept_running, program, running, unavailable

Running = Callable[[Sequence[str], int, Path], AbstractContextManager[object]]
PACKAGES = "Debian: ceph-mon ceph-osd ceph-common radosgw"
PROGRAMS = ("ceph-authtool", "ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin")
CONFIG = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {folder}/keyring
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 3221225472
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
osd pool default pg autoscale mode = off
mon allow pool size one = true
ms bind msgr1 = false
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 64
# without it, a gateway that is started again does not wait half a minute for the one before
rgw cache enabled = false
# one object of a request after the other: several at a time crash radosgw 16 now and then
rgw multi obj del max aio = 1
rgw gc max objs = 1
rgw gc obj min wait = 1
rgw gc processor period = 2
rgw gc processor max time = 2
rgw lc max objs = 1
rgw usage max shards = 1
rgw data log num shards = 1
rgw md log max shards = 1
rgw enable quota threads = false
"""


@contextmanager
def serving(folder: Path) -> Iterator[Endpoint]:
    """Start an S3 that checks signatures and their expiry."""
    paths = {name: program(name, hint=PACKAGES) for name in PROGRAMS}
    if os.geteuid() != 0:
        unavailable("Ceph's own folders need root; name a running radosgw by FILECOLUMN_TEST_RADOSGW")
    with ExitStack() as stack:
        yield _started(folder, paths, stack)


def _started(folder: Path, paths: dict[str, str], stack: ExitStack) -> Endpoint:
    port, mon_port = free_port(), free_port()
    config = folder / "ceph.conf"
    fsid = str(uuid4())
    config.write_text(CONFIG.format(fsid=fsid, folder=folder, port=port, mon_port=mon_port))
    for place in ("mon", "osd"):
        (folder / place).mkdir()
    keyring = str(folder / "keyring")

    def call(name: str, *arguments: str) -> str:
        options = () if name == "ceph-authtool" else ("-c", str(config))
        done = subprocess.run(
            [paths[name], *options, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def serve(name: str, listens: int, *arguments: str, run: Running = running) -> None:
        command = [paths[name], "-c", str(config), "-f", *arguments]
        stack.enter_context(run(command, listens, folder / f"{name}.out"))

    for user, caps in {
        "mon.": {"mon": "allow *"},
        "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
        "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    }.items():
        create = () if Path(keyring).exists() else ("--create-keyring",)
        granted = [word for daemon, cap in caps.items() for word in ("--cap", daemon, cap)]
        call("ceph-authtool", keyring, *create, "--gen-key", "-n", user, *granted)
    address = f"v2:127.0.0.1:{mon_port}"
    call("ceph-mon", "--mkfs", "-i", "a", "--fsid", fsid, "--keyring", keyring, "--public-addr", address)
    serve("ceph-mon", mon_port, "-i", "a", "--public-addr", address)
    call("ceph", "osd", "new", str(uuid4()))
    osd = json.loads(call("ceph", "osd", "dump", "-f", "json"))["osds"][0]["uuid"]
    call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    call("ceph", "auth", "import", "-i", keyring)
    # the daemon takes ports of its own, so the monitor's is what is asked for
    serve("ceph-osd", mon_port, "-i", "0")
    # it keeps nothing itself, and was seen to end in the middle of a run
    serve("radosgw", port, "-n", "client.admin", "--keyring", keyring, run=kept_running)
    endpoint = Endpoint(f"http://127.0.0.1:{port}")
    keys = (f"--access-key={endpoint.user}", f"--secret-key={endpoint.password}")
    call("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests", *keys)
    return endpoint
