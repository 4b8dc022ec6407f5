"""Draw the pictures of the documentation: `python -m tests.project.pictures`."""

from __future__ import annotations

from tests.project.pictures import FOLDER, drawn

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in drawn().items():
        (FOLDER / name).write_text(text)
