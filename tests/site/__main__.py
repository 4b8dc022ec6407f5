"""Check a built site: `python -m tests.site docs/_build/html`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.site.faults import Fault
from tests.site.links import broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.site", description="Check a built site.")
    parser.add_argument("site", type=Path, help="the folder with its index.html")
    parser.add_argument("--only", default="", help="look at pages with this in their path only")
    arguments = parser.parse_args()
    site = arguments.site.resolve()
    started = time.monotonic()
    if not (site / "index.html").is_file():
        parser.error(f"{site} has no index.html: build the site first")
    faults = broken(site)
    _say(f"links: {len(faults)} faults after {time.monotonic() - started:.0f} s")
    faults += _seen(site, arguments.only)
    for fault in sorted(faults):
        _say(str(fault))
    _say(f"{len(faults)} faults after {time.monotonic() - started:.0f} s")
    return 1 if faults else 0


def _seen(site: Path, only: str) -> list[Fault]:
    # the links are checked without what drives a browser
    from tests.site.looks import CHROMIUM, look  # noqa: PLC0415

    if CHROMIUM is None:
        missing = Fault(
            "-", "all", "html", "not looked at", "install Chromium, or name it in FILECOLUMN_TEST_CHROMIUM"
        )
        if os.environ.get("CI") == "true":
            return [missing]
        _say(f"pages are not looked at in a browser: {missing.to_do}")
        return []
    return look(site, only)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
