"""Rows that have lists of files: what an append, a clearing and a deletion cost against the list's length."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders.base import storing
from benchmarks.measuring import Measure, Sample, sampled


def append(contender: Any, times: int, files: int) -> Sample:
    key = contender.fill_list(files)
    with storing(contender, times), sampled(times) as sample:
        for _ in range(times):
            contender.append(key)
    return sample


def clear(contender: Any, _times: int, files: int) -> Sample:
    key = contender.fill_list(files)
    with sampled(files) as sample:
        contender.clear_list(key)
    return sample


def delete(contender: Any, _times: int, files: int) -> Sample:
    key = contender.fill_list(files)
    with sampled(files) as sample:
        contender.delete_list(key)
    return sample


MEASURES = (
    *(
        Measure(
            name=f"append-{files}",
            title=f"append a file to {files:,}, commit",
            work=append,
            needs="lists",
            usual=8,
            amount=files,
        )
        for files in (10, 100, 1000)
    ),
    *(
        Measure(
            name=f"{name}-{files}",
            title=f"{name} a list of {files:,} files, commit",
            work=work,
            needs="lists",
            amount=files,
            # to fill the lists takes the others seconds
            contenders=("filecolumn", "floor+L", "advanced-alchemy"),
        )
        for name, work in (("clear", clear), ("delete", delete))
        for files in (500, 2000)
    ),
)
