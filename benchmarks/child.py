"""One contender in a process of its own: reads requests as JSON, one a line, and answers each with a line."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import traceback
import warnings
from importlib import import_module
from typing import Any

from benchmarks.contenders.base import Place
from benchmarks.measuring import Measure, Sample
from benchmarks.subjects import measures_of


class Child:
    """What a process keeps between requests."""

    def __init__(self, subject: str, contender: str) -> None:
        module, _, name = contender.partition(":")
        # this one only: libraries listen to the sessions of others
        self.contender_class = getattr(import_module(module), name)
        self.measures: dict[str, Measure] = measures_of(subject)
        self.loop = asyncio.Runner()
        self.contender: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says."""
        if "place" in request:
            self.contender = self.contender_class(Place(**request["place"]))
            return {"ready": True}
        measure = self.measures[request["measure"]]
        outcome = measure.work(self.contender, request["times"], request["amount"])
        sample: Sample = self.loop.run(outcome) if inspect.iscoroutine(outcome) else outcome  # type: ignore[assignment]
        return {"sample": sample}


def main(subject: str, contender: str) -> None:
    """Answer until the requests end; what libraries print goes to the error output."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    child: Child | None = None
    for line in sys.stdin:
        try:
            child = child or Child(subject, contender)
            answer = child.answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever a contender fails with is shown
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
