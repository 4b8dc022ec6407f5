"""Start the servers once, name them in the environment, run a command: `python -m tests.servers COMMAND...`.

A server that cannot be started here is left out, and said.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from _pytest.outcomes import OutcomeException

from tests.servers import SERVERS
from tests.servers.process import end


def main(command: Sequence[str]) -> int:
    """Run *command* and return its exit code; all servers end with it, also at SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filecolumn-servers-")))
        environment = dict(os.environ)
        with ThreadPoolExecutor(len(SERVERS)) as pool:
            for started in pool.map(lambda name: _start(name, folder, stack), SERVERS):
                environment |= started
        process = subprocess.Popen(command, env=environment)
        stack.callback(end, process)
        return process.wait()


def _start(name: str, folder: Path, stack: ExitStack) -> dict[str, str]:
    """Start a server, and return the environment that names it."""
    variable, serving = SERVERS[name]
    if os.environ.get(variable):
        return {}
    (folder / name).mkdir()
    try:
        endpoint = stack.enter_context(serving(folder / name))
    except (Exception, OutcomeException) as error:
        sys.stderr.write(f"{name} is not started: {error}\n")
        return {}
    return {variable: str(endpoint)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
