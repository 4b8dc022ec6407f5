"""Runs the notebooks of the documentation; `python -m tests.project.notebook FILE...` stores their outputs anew."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

import filecolumn

__all__ = ("executed", "texts")


def executed(path: Path, folder: Path) -> Any:
    """Return the notebook, run in *folder* by a kernel of its own, which ends in any case."""
    notebook = nbformat.read(path, as_version=4)
    # neither the settings nor the history of whoever runs this
    environment = {
        **os.environ,
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "PYTHONPATH": str(Path(filecolumn.__file__).parent.parent),
        "TMPDIR": str(folder),
    }
    work = folder / "work"
    work.mkdir()
    client = NotebookClient(
        notebook,
        timeout=30,
        startup_timeout=30,
        kernel_name="python3",
        record_timing=False,
        # what a cell prints comes in pieces, by chance
        coalesce_streams=True,
        resources={"metadata": {"path": str(work)}},
    )
    client.execute(env=environment)
    # which Python ran it says nothing to a reader, and changes the file
    notebook.metadata.language_info.pop("version", None)
    return notebook


def texts(notebook: Any) -> list[str]:
    """Return what each cell of code printed or returned as text; of pictures, that there is one."""
    return [
        "".join(_text(output) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    if "image/png" in output.data:
        return "(picture)"
    return str(output.data["text/plain"])


def main() -> None:
    """Run the notebooks that are named, and write them with their outputs."""
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(Path(name), Path(folder)), name)


if __name__ == "__main__":
    main()
