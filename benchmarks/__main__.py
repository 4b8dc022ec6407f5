"""Speed, memory and calls against the floor and against peers: `python -m benchmarks [subject ...]`.

Contenders work in turn within one run, and what counts are ratios of their medians: seconds of
different machines, or of different hours, do not compare.
"""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from benchmarks import calls, flushes, large, latency, saves, selects, web
from benchmarks.measure import Sizes, show

SUBJECTS = {
    "saves": (saves, "Save and commit one 4 KiB file (wall time)"),
    "selects": (selects, "SELECT {sizes.rows:,} rows with a file column (processor time)"),
    "flushes": (flushes, "Flush {sizes.instances:,} instances (processor time)"),
    "calls": (calls, "Calls of one file (filecolumn's, and all), and the longest functions"),
    "latency": (latency, "Flush 50 files on a storage that takes 20 ms (wall time)"),
    "large": (large, "A large file (wall time; up includes fsync, down and up include SHA-256)"),
    "web": (web, "A large file over HTTP (wall time; up includes SHA-256, no fsync)"),
}
QUICK = Sizes(saves=150, rows=20_000, instances=5_000, rounds=5, megabytes=128, large_rounds=9)
FULL = Sizes(saves=500, rows=20_000, instances=5_000, rounds=15, megabytes=512, large_rounds=7)
TINY = Sizes(saves=2, rows=20, instances=20, rounds=1, megabytes=1, large_rounds=1)
PACKAGES = ("SQLAlchemy", "obstore", "aiosqlite", "advanced-alchemy")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="*", help=f"of {', '.join(SUBJECTS)}; all if none is named")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--full", dest="sizes", action="store_const", const=FULL, help="more rounds, 512 MiB")
    sizes.add_argument(
        "--tiny", dest="sizes", action="store_const", const=TINY, help="only see that it works"
    )
    parser.add_argument("--megabytes", type=int, help="size of the large file")
    parser.set_defaults(sizes=QUICK)
    arguments = parser.parse_args()
    if unknown := set(arguments.subject) - SUBJECTS.keys():
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    chosen: Sizes = arguments.sizes
    if arguments.megabytes:
        chosen = replace(chosen, megabytes=arguments.megabytes)
    print(
        f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} processors;", _versions()
    )
    for name in arguments.subject or SUBJECTS:
        subject, title = SUBJECTS[name]
        show(title.format(sizes=chosen), subject.measure(chosen))


def _versions() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in PACKAGES)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
