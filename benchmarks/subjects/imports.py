"""What an import takes, each in a fresh process with bytecode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any, ClassVar

from benchmarks.contenders.base import Place
from benchmarks.measuring import Measure, Sample

PROGRAM = """
import json, time, warnings
warnings.simplefilter("ignore")
cpu, wall = time.process_time(), time.perf_counter()
import {module}
print(json.dumps({{"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}}))
"""


class Import:
    """Imports a module in a process of its own."""

    can: ClassVar[frozenset[str]] = frozenset({"import"})
    name: ClassVar[str]
    module: ClassVar[str]

    def __init__(self, place: Place) -> None:
        pass


class SqlalchemyOrm(Import):
    name = module = "sqlalchemy.orm"


class Filecolumn(Import):
    name = module = "filecolumn"


class AdvancedAlchemy(Import):
    name = "advanced-alchemy"
    module = "advanced_alchemy.types.file_object"


class SqlalchemyFile(Import):
    name = "sqlalchemy-file"
    module = "sqlalchemy_file"


def run(contender: Import, times: int, _amount: int) -> Sample:
    command = [sys.executable, "-c", PROGRAM.format(module=contender.module)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken: list[Sample] = [
        json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        )
        for _ in range(times)
    ]
    return min(taken, key=lambda sample: sample["cpu"])


CONTENDERS: dict[str, type[Any]] = {
    class_.name: class_
    for class_ in (SqlalchemyOrm, Filecolumn, AdvancedAlchemy, SqlalchemyFile)
    if find_spec(class_.module.partition(".")[0])
}
MEASURES = (Measure(name="import", title="import", work=run, needs="import", usual=2, item="process"),)
