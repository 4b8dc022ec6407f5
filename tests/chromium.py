"""The Chromium that looks at pages, and how it is started."""

from __future__ import annotations

import os
import shutil

__all__ = ("ARGUMENTS", "CHROMIUM")

CHROMIUM = os.environ.get("FILECOLUMN_TEST_CHROMIUM") or shutil.which("chromium")
"""Its program; None where there is none."""
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
