"""Files in Litestar applications: receive, serve and sign them."""

from filecolumn.backends.health import StorageHealth, check_storages
from filecolumn.http.headers import INLINE_TYPES
from filecolumn.http.serving import Serving
from filecolumn.litestar.config import FileColumnConfig
from filecolumn.litestar.exceptions import exception_handlers
from filecolumn.litestar.plugin import FileColumnPlugin
from filecolumn.litestar.receiving import file_from_body, type_decoders, type_encoders
from filecolumn.litestar.response import FileObjectResponse
from filecolumn.litestar.schema import FilesDTO

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
