"""nginx in front of an application; Debian has it: `apt-get install nginx-light`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import free_port, program, running

CONFIG = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{application};
        }}
        {locations}
    }}
}}
"""


@contextmanager
def behind_nginx(application: int, locations: str, folder: Path) -> Iterator[str]:
    """Run nginx before the *application* on a port, with more *locations*; yield where it is."""
    command = program("nginx", hint="Debian: nginx-light")
    folder.mkdir()
    port = free_port()
    # its workers could not look into the folders of a test that runs as root
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        CONFIG.format(folder=folder, port=port, application=application, locations=locations, user=user)
    )
    options = ["-p", str(folder), "-c", str(config), "-e", str(folder / "log")]
    with running([command, *options], port, folder / "output"):
        yield f"http://127.0.0.1:{port}"
