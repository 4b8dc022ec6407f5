"""How much the state machines of the tests make up: `FILECOLUMN_EXAMPLES` histories, or a share of them."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FILECOLUMN_EXAMPLES", "200"))
SECONDS = 300 + 2 * EXAMPLES
"""How long a machine may take."""


def bounds(share: float = 1.0) -> settings:
    """Return the size of a run; the histories of servers and event loops take longer."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
