"""Eight processes race for twenty rows on PostgreSQL, while two drain and one sweeps without any grace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from filecolumn import storages
from filecolumn.backends.obstore import ObstoreBackend
from tests.faults.oracle import look, put_right
from tests.profiles import PROFILE
from tests.scenarios.models import Base
from tests.servers.databases import own_database

SECONDS = PROFILE.race_seconds
LIMIT = SECONDS + 60


@pytest.mark.server
@pytest.mark.sized
@pytest.mark.timeout(SECONDS + 120)
def test_nothing_is_read_wrong_and_nothing_stays(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    storages.register_backend(ObstoreBackend("docs", f"file://{folder}/", fsync=False), replace=True)
    with own_database("postgresql", tmp_path, Base.metadata) as engine:
        url = engine.url.render_as_string(hide_password=False)
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.hot", url, str(folder), kind, str(seed), str(SECONDS)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for seed, kind in enumerate(["work"] * 8 + ["drain"] * 2 + ["sweep"])
        ]
        counts: Counter[str] = Counter()
        try:
            for process in processes:
                output, errors = process.communicate(timeout=LIMIT)
                assert process.returncode == 0, errors
                counts.update(json.loads(output))
        finally:
            for process in processes:
                process.kill()
        assert counts["wrong"] == 0, counts
        assert counts["replace"] > 10, counts
        assert counts["read"] > 10, counts
        put_right(engine)
        finding = look(engine, folder)
        assert finding.nothing_is_lost, finding
        assert finding.orphans == []
