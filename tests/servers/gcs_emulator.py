"""gcp-storage-emulator, with the answer to a cancelled upload that it lacks: `python -m tests.servers.gcs_emulator`.

Google answers 499 (https://docs.cloud.google.com/storage/docs/performing-resumable-uploads#cancel-upload).
The emulator's own 501 is tried again by gcsfs for half a minute.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

from gcp_storage_emulator import server
from gcp_storage_emulator.__main__ import main

UPLOADS = r"^/upload/storage/v1/b/(?P<bucket_name>[-.\w]+)/o$"


def cancel(request: Any, response: Any, storage: Any) -> None:
    """End a resumable upload, of which nothing is kept."""
    response.status = SimpleNamespace(value=499, phrase="Client Closed Request")


if __name__ == "__main__":
    handlers = dict(server.HANDLERS)
    handlers[UPLOADS] = {**handlers[UPLOADS], server.DELETE: cancel}
    server.HANDLERS = tuple(handlers.items())
    sys.exit(main())
