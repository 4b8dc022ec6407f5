"""One large file up and down, local folder through obstore, with SHA-256 of the stream on both ways.

Time is measured in turn in one process, memory in a process for each.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from obstore.store import LocalStore

from benchmarks.measure import Figure, Sizes, child, medians
from filecolumn import FileObject, storages

MIB = 1024 * 1024
SLOWDOWN = 1 / 0.85
BUDGETS = {"ours": 64.0, "raw": None}


def measure(sizes: Sizes) -> list[Figure]:
    """Let both work in turn; each writes, then reads, the same file."""
    taken: dict[str, list[float]] = {f"{name} {way}": [] for name in WAYS for way in ("up", "down")}
    growth: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source.bin")
        with source.open("wb") as file:
            for _ in range(sizes.megabytes):
                file.write(os.urandom(MIB))
        for turn in range(sizes.large_rounds + 1):
            for name in list(WAYS)[:: -1 if turn % 2 else 1]:
                seconds = _up_and_down(name, source, Path(folder, "work").resolve())
                for way in seconds if turn else ():
                    taken[f"{name} {way}"].append(seconds[way])
        for name in WAYS:
            growth[name] = child("benchmarks.large", name, source, Path(folder, "work").resolve())["growth"]
    cost = medians(taken)
    size = f"{sizes.megabytes} MiB"
    return [
        _slower(f"{size} up: ours v raw obstore", cost["ours up"], cost["raw up"], sizes.megabytes),
        _slower(f"{size} down: ours v raw obstore", cost["ours down"], cost["raw down"], sizes.megabytes),
        *(
            Figure(what=f"{size}, memory of {name}", value=value, unit="MiB", budget=BUDGETS[name])
            for name, value in growth.items()
            if value >= 0
        ),
    ]


def _up_and_down(name: str, source: Path, folder: Path) -> dict[str, float]:
    up, down = WAYS[name](source, folder)
    taken: dict[str, float] = {}
    for way, work in (("up", up), ("down", down)):
        os.sync()  # else one pays for what the other has left to be written
        start = time.perf_counter()
        work()
        taken[way] = time.perf_counter() - start
    shutil.rmtree(folder)
    return taken


def _slower(what: str, ours: float, raw: float, megabytes: int) -> Figure:
    detail = f"{megabytes / ours:.0f} MiB/s v {megabytes / raw:.0f} MiB/s"
    return Figure(what=what, value=ours / raw, budget=SLOWDOWN, detail=detail)


def _ours(source: Path, folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    storages.register_backend(f"{folder.as_uri()}/", key="large")
    file = FileObject("large.bin", content=source)
    return file.save, file.verify


def _raw(source: Path, folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    store = LocalStore(folder, mkdir=True)
    digests: list[str] = []

    def up() -> None:
        digest = hashlib.sha256()
        store.put("large.bin", _read(source, digest.update))
        digests.append(digest.hexdigest())
        for path, flags in ((folder / "large.bin", os.O_RDONLY), (folder, os.O_RDONLY | os.O_DIRECTORY)):
            descriptor = os.open(path, flags)
            os.fsync(descriptor)
            os.close(descriptor)

    def down() -> None:
        digest = hashlib.sha256()
        for chunk in store.get("large.bin").stream(min_chunk_size=MIB):
            digest.update(chunk)
        assert digest.hexdigest() == digests[0]

    return up, down


def _read(source: Path, seen: Callable[[bytes], object]) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(MIB):
            seen(chunk)
            yield chunk


WAYS = {"ours": _ours, "raw": _raw}


def _peak() -> float:
    """Return the most memory of this process so far, in MiB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main(name: str, source: Path, folder: Path) -> None:
    """Print what memory grew by; -1 where that is not known."""
    before = _peak()
    _up_and_down(name, source, folder)
    print(json.dumps({"growth": _peak() - before if before else -1.0}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
