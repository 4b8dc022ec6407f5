"""One table: a row has a file, and a thumbnail of it if it is a picture."""

from __future__ import annotations

from advanced_alchemy.base import BigIntAuditBase
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from sqlalchemy.orm import Mapped, mapped_column

from filecolumn import FileObject, StoredObject

__all__ = ("FILE", "Item", "ItemService")

FILE = StoredObject(
    backend="gallery",
    max_size=500_000_000,
    accept={"image/*", "video/*", "audio/*", "application/pdf", "text/plain"},
)
"""What may be uploaded: an SVG may not, since no wildcard accepts what a browser runs."""


class Item(BigIntAuditBase):
    """An uploaded file."""

    __tablename__ = "items"

    file: Mapped[FileObject] = mapped_column(FILE)
    thumbnail: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="gallery", max_size=1024 * 1024, accept={"image/webp"})
    )


class ItemService(SQLAlchemyAsyncRepositoryService[Item]):
    """advanced-alchemy's service, as it is: files need nothing from it."""

    class Repository(SQLAlchemyAsyncRepository[Item]):
        """advanced-alchemy's repository, as it is."""

        model_type = Item

    repository_type = Repository
