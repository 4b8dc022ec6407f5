"""Files in Litestar applications: receive, serve and sign them."""

from filecolumn.litestar.config import FileColumnConfig
from filecolumn.litestar.disposition import INLINE_TYPES
from filecolumn.litestar.dto import FilesDTO
from filecolumn.litestar.exceptions import exception_handlers
from filecolumn.litestar.health import StorageHealth, check_storages
from filecolumn.litestar.plugin import FileColumnPlugin
from filecolumn.litestar.receiving import file_from_body, type_decoders, type_encoders
from filecolumn.litestar.response import FileObjectResponse
from filecolumn.litestar.serving import Serving

__all__ = (
    "INLINE_TYPES",
    "FileColumnConfig",
    "FileColumnPlugin",
    "FileObjectResponse",
    "FilesDTO",
    "Serving",
    "StorageHealth",
    "check_storages",
    "exception_handlers",
    "file_from_body",
    "type_decoders",
    "type_encoders",
)
