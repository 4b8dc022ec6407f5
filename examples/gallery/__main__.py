"""`python -m examples.gallery`: serve the gallery on this machine only."""

from __future__ import annotations

import argparse

import uvicorn

from .app import create_app


def main() -> None:
    """Read the port and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="gallery", description="a gallery on http://127.0.0.1:8000")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    print(f"The gallery is on http://127.0.0.1:{options.port}/  (Ctrl+C ends it)")
    uvicorn.run(create_app(), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
