"""The application in a process of its own, whose memory is measured; its folder is named by the environment."""

from __future__ import annotations

import os
from pathlib import Path

from litestar import post
from litestar.di import NamedDependency
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession

from tests.litestar.application import Document, Form, application


@post("/unbounded", request_max_body_size=None)
async def unbounded(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> None:
    db_session.add(Document(title=data.title, file=data.file))


app = application(Path(os.environ["FILECOLUMN_TEST_FOLDER"]), handlers=[unbounded])
