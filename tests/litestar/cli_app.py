"""The application that the tests of `litestar files` load."""

from __future__ import annotations

from litestar import Litestar

from filecolumn.litestar import FileColumnConfig, FileColumnPlugin

app = Litestar([], plugins=[FileColumnPlugin(FileColumnConfig(backends={"documents": "memory://"}))])
