"""The notebook of the documentation runs, and what is stored of its outputs is what comes out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

for package in ("ipykernel", "matplotlib", "nbclient"):
    pytest.importorskip(package)

import nbformat  # noqa: E402 - skipped above where it is missing
from nbclient.exceptions import CellExecutionError  # noqa: E402 - as above

from tests.project.notebook import executed, texts  # noqa: E402 - as above
from tests.project.test_docs import ROOT  # noqa: E402 - as above

pytestmark = pytest.mark.extended

TOUR = ROOT / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(TOUR, as_version=4)


def words(notebook: Any) -> list[list[str]]:
    # Pythons differ in what they call a WAV, and with it in the spaces of a table
    return [text.replace("audio/vnd.wave", "audio/x-wav").split() for text in texts(notebook)]


def test_the_tour_prints_what_is_stored_and_leaves_no_file(stored: Any, tmp_path: Path) -> None:
    assert words(executed(TOUR, tmp_path)) == words(stored)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "ipython" not in path.parts]
    assert left == []


def test_the_tour_has_run_as_a_whole_and_its_picture_has_a_text(stored: Any) -> None:
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    [drawn] = [cell for cell in cells if "(picture)" in texts(stored)[cells.index(cell)]]
    assert len(drawn.metadata.mystnb.image.alt) > 80


def test_a_kernel_ends_with_a_cell_that_fails(stored: Any, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    code = f"import os, pathlib\npathlib.Path({str(noted)!r}).write_text(str(os.getpid()))\n1 / 0"
    failing = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata=stored.metadata)
    nbformat.write(failing, tmp_path / "failing.ipynb")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        executed(tmp_path / "failing.ipynb", tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)
