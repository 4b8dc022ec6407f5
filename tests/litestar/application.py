"""A small application with advanced-alchemy, as users write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from advanced_alchemy.extensions.litestar import (
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar, Request, delete, get, post, put, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, MultipartBody
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin, FileObjectResponse, file_from_body

SIGNING_KEY = "0123456789abcdef0123456789abcdef"


class Base(DeclarativeBase): ...


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="files"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(backend="files", multiple=True), default=list)


class Form(msgspec.Struct):
    file: FileObject
    title: str = ""


class DocumentOut(msgspec.Struct):
    id: int
    title: str
    file: FileObject | None


def out(document: Document) -> DocumentOut:
    return DocumentOut(document.id, document.title, document.file)


@post("/documents")
async def upload_form(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> DocumentOut:
    document = Document(title=data.title, file=data.file)
    db_session.add(document)
    return DocumentOut(0, data.title, data.file)


@put("/raw/{name:str}", request_max_body_size=None)
async def upload_raw(
    request: Request[Any, Any, Any], name: FromPath[str], db_session: NamedDependency[AsyncSession]
) -> DocumentOut:
    document = Document(file=file_from_body(request, name, max_size=request.app.state.get("max_size")))
    db_session.add(document)
    await db_session.flush()
    return out(document)


@put("/stream/{name:str}", request_max_body_size=None)
async def upload_stream(
    request: Request[Any, Any, Any], name: FromPath[str], db_session: NamedDependency[AsyncSession]
) -> DocumentOut:
    document = Document(file=FileObject(name, content=request.stream()))
    db_session.add(document)
    await db_session.flush()
    return out(document)


@post("/attach")
async def attach(data: JSONBody[Form], db_session: NamedDependency[AsyncSession]) -> DocumentOut:
    document = Document(title=data.title, file=data.file)
    db_session.add(document)
    await db_session.flush()
    return out(document)


async def found(session: AsyncSession, number: int) -> Document:
    document = await session.get(Document, number)
    if document is None or document.file is None:
        raise NotFoundException
    return document


@route("/documents/{number:int}/file", http_method=["GET", "HEAD"])
async def download(
    request: Request[Any, Any, Any], number: FromPath[int], db_session: NamedDependency[AsyncSession]
) -> FileObjectResponse:
    document = await found(db_session, number)
    assert document.file is not None
    inline = request.query_params.get("show") == "1"
    return FileObjectResponse(document.file, request, disposition="inline" if inline else "attachment")


@get("/documents/{number:int}")
async def show(number: FromPath[int], db_session: NamedDependency[AsyncSession]) -> DocumentOut:
    return out(await found(db_session, number))


@put("/documents/{number:int}")
async def replace(
    number: FromPath[int], data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]
) -> DocumentOut:
    document = await found(db_session, number)
    document.file = data.file
    return DocumentOut(document.id, document.title, data.file)


@delete("/documents/{number:int}")
async def remove(number: FromPath[int], db_session: NamedDependency[AsyncSession]) -> None:
    await db_session.delete(await found(db_session, number))


@get("/count")
async def count(db_session: NamedDependency[AsyncSession]) -> int:
    return await db_session.scalar(select(func.count()).select_from(Document)) or 0


HANDLERS: list[HTTPRouteHandler] = [
    upload_form,
    upload_raw,
    upload_stream,
    attach,
    download,
    show,
    replace,
    remove,
    count,
]


def alchemy_config(
    folder: Path, database: str | None = None, *, autocommit: bool = True, engine: EngineConfig | None = None
) -> SQLAlchemyAsyncConfig:
    """Return a configuration for a database in *folder*, or another one."""
    return SQLAlchemyAsyncConfig(
        connection_string=database or f"sqlite+aiosqlite:///{folder / 'app.db'}",
        before_send_handler="autocommit" if autocommit else None,
        create_all=True,
        metadata=Base.metadata,
        engine_config=engine or EngineConfig(),
    )


def application(
    folder: Path,
    *,
    handlers: Any = (),
    alchemy: SQLAlchemyAsyncConfig | None = None,
    exception_handlers: Any = None,
    **config: Any,
) -> Litestar:
    """Return the application over a database and a storage in *folder*."""
    settings: dict[str, Any] = {
        "backends": {"files": f"file://{folder / 'files'}/"},
        "signing_key": SIGNING_KEY,
        **config,
    }
    alchemy = alchemy or alchemy_config(folder)

    async def dispose() -> None:
        # advanced-alchemy does it for the first configuration of a process only
        await alchemy.get_engine().dispose()

    return Litestar(
        route_handlers=[*HANDLERS, *handlers],
        on_shutdown=[dispose],
        exception_handlers=exception_handlers,
        logging_config=None,
        plugins=[
            SQLAlchemyPlugin(config=alchemy),
            FileColumnPlugin(FileColumnConfig(**settings)),
        ],
    )


def objects(folder: Path) -> list[Path]:
    """Every file below the storage's folder, unfinished ones included, but for our marks."""
    files = (path for path in (folder / "files").rglob("*") if path.is_file())
    return sorted(path for path in files if not is_mark(path))


def is_mark(path: Path) -> bool:
    """Return whether a file says whose the storage is, or what it can do."""
    if path.parent.name == ".filecolumn":
        return path.name in {"create", "place", "shared", "owner"}
    return path.parts[-4:-2] == (".filecolumn", "writers")
