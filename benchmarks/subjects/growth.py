"""What grows: the cost of a file against files in a commit, their size, and rows that are there already."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.contenders.base import CONTENT
from benchmarks.measuring import Measure, Sample, sampled
from benchmarks.subjects.saves import DELETED, save

KIB = 1024
CONTENDERS = ("filecolumn", "floor+L", "advanced-alchemy")


def save_size(contender: Any, times: int, kibibytes: int) -> Sample:
    contender.content = os.urandom(kibibytes * KIB)
    try:
        contender.save(1)
        with sampled(times) as sample:
            for _ in range(times):
                contender.save(1)
    finally:
        contender.content = CONTENT
    contender.delete(contender.keys(times + 1))
    return sample


def save_among(contender: Any, times: int, rows: int) -> Sample:
    _fill(contender, rows)
    return save(contender, times, 1)


def delete_among(contender: Any, _times: int, rows: int) -> Sample:
    _fill(contender, rows)
    keys = contender.keys(min(rows, DELETED))
    with sampled(len(keys)) as sample:
        contender.delete(keys)
    return sample


def _fill(contender: Any, rows: int) -> None:
    there = len(contender.keys(rows))
    while there < rows:
        files = min(rows - there, 500)
        contender.save(files)
        there += files


MEASURES = (
    *(
        Measure(
            name=f"commit-{files}",
            title=f"save {files:,} files in one commit",
            work=save,
            usual=max(1, 50 // files),
            amount=files,
            contenders=CONTENDERS,
        )
        for files in (1, 3, 10, 30, 100, 300, 1000)
    ),
    *(
        Measure(
            name=f"size-{size}",
            title=f"save and commit one file of {size:,} KiB",
            work=save_size,
            usual=max(3, 40 // (1 + size // 64)),
            amount=size,
            contenders=CONTENDERS,
        )
        for size in (1, 16, 64, 256, 1024, 8192)
    ),
    *(
        Measure(
            name=f"{name}-among-{rows}",
            title=f"{title}, {rows:,} rows being there",
            work=work,
            usual=20,
            amount=rows,
            contenders=CONTENDERS,
        )
        for rows in (1000, 4000, 16_000)
        for name, title, work in (
            ("save", "save and commit one file", save_among),
            ("delete", f"delete {DELETED} rows in one transaction", delete_among),
        )
    ),
)
