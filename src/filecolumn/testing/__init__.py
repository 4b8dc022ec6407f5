"""For tests: whether rows and storages agree, the proof of a backend, and storages that fail or are slow on purpose.

Needs pytest and Hypothesis, the extra `testing`: `pip install "filecolumn[testing]"`.
"""

from filecolumn.errors import MissingDependencyError

try:
    import hypothesis as hypothesis
    import pytest
except ImportError as _missing:
    raise MissingDependencyError(
        "filecolumn.testing needs pytest and hypothesis: pip install 'filecolumn[testing]'"
    ) from _missing

# pytest explains only the asserts of modules that it knows before they are imported
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("harness", "suite", "stateful")))

from filecolumn.testing.consistency import assert_consistent, assert_consistent_async  # noqa: E402
from filecolumn.testing.stateful import BackendMachine, check_against_model  # noqa: E402
from filecolumn.testing.suite import BackendSuite  # noqa: E402
from filecolumn.testing.wrappers import (  # noqa: E402
    Fault,
    FaultKind,
    FaultyBackend,
    Operation,
    Passage,
    SlowBackend,
    WrappedBackend,
)

__all__ = (
    "BackendMachine",
    "BackendSuite",
    "Fault",
    "FaultKind",
    "FaultyBackend",
    "Operation",
    "Passage",
    "SlowBackend",
    "WrappedBackend",
    "assert_consistent",
    "assert_consistent_async",
    "check_against_model",
)
