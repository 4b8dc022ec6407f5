"""One large file up and down a local folder through obstore, with SHA-256 of the stream on both ways."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from obstore.store import LocalStore

from benchmarks.contenders.base import Place
from benchmarks.measuring import Measure, Sample, forget_peak, memory, sampled

MIB = 1024 * 1024


class Raw:
    """obstore, and hashlib."""

    name: ClassVar[str] = "raw obstore with SHA-256"
    can: ClassVar[frozenset[str]] = frozenset({"large"})

    def __init__(self, place: Place) -> None:
        self.folder = Path(place.folder)
        self.source = Path(f"{place.folder}-source.bin")
        self.digest = ""

    def write_source(self, megabytes: int) -> None:
        """Make the file that is saved, once."""
        if self.source.exists() and self.source.stat().st_size == megabytes * MIB:
            return
        with self.source.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(MIB))

    def up(self) -> None:
        """Save it."""
        digest = hashlib.sha256()
        LocalStore(self.folder, mkdir=True).put("large.bin", _read(self.source, digest.update))
        self.digest = digest.hexdigest()
        for path, flags in (
            (self.folder / "large.bin", os.O_RDONLY),
            (self.folder, os.O_RDONLY | os.O_DIRECTORY),
        ):
            descriptor = os.open(path, flags)
            os.fsync(descriptor)
            os.close(descriptor)

    def down(self) -> None:
        """Read what was saved, and compare the hash."""
        digest = hashlib.sha256()
        for chunk in LocalStore(self.folder).get("large.bin").stream(min_chunk_size=MIB):
            digest.update(chunk)
        assert digest.hexdigest() == self.digest


class Ours(Raw):
    """filecolumn."""

    name = "filecolumn"

    def up(self) -> None:
        from filecolumn import FileObject, storages  # noqa: PLC0415 - the other must not have it

        storages.register_backend(f"{self.folder.as_uri()}/", key="large", replace=True)
        self.file = FileObject("large.bin", content=self.source).save()

    def down(self) -> None:
        self.file.verify()


def up(contender: Raw, _times: int, megabytes: int) -> Sample:
    contender.write_source(megabytes)
    shutil.rmtree(contender.folder, ignore_errors=True)
    return _measured(contender.up, megabytes)


def down(contender: Raw, _times: int, megabytes: int) -> Sample:
    contender.write_source(megabytes)
    shutil.rmtree(contender.folder, ignore_errors=True)
    contender.up()
    return _measured(contender.down, megabytes)


def _measured(work: Callable[[], object], megabytes: int) -> Sample:
    before = forget_peak()
    with sampled(megabytes) as sample:
        work()
    if before:
        sample["growth MiB"] = memory("VmHWM") - before
    return sample


def _read(source: Path, seen: Callable[[bytes], object]) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(MIB):
            seen(chunk)
            yield chunk


CONTENDERS: dict[str, type[Any]] = {class_.name: class_ for class_ in (Ours, Raw)}
MEASURES = tuple(
    Measure(
        name=name,
        title=f"256 MiB {name}",
        work=work,
        needs="large",
        amount=256,
        fixed=False,
        item="MiB",
        metrics=("cpu", "wall", "growth MiB"),
    )
    for name, work in (("up", up), ("down", down))
)
