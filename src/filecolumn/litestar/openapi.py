"""Files in the OpenAPI schema: binary in what is sent, an object with a URL in what comes back."""

from __future__ import annotations

import inspect

from litestar._openapi.schema_generation import SchemaCreator  # its plugins are typed by it
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList

__all__ = ("FileSchemaPlugin",)

_NUMBER_OR_NULL = [Schema(type=OpenAPIType.NUMBER), Schema(type=OpenAPIType.NULL)]
_STRING_OR_NULL = [Schema(type=OpenAPIType.STRING), Schema(type=OpenAPIType.NULL)]


class FileSchemaPlugin(OpenAPISchemaPlugin):
    """Describes `FileObject` and `FileObjectList`.

    One model for both directions has one component in the schema, as Litestar makes it: the
    direction that it meets first.
    """

    @staticmethod
    def is_plugin_supported_type(value: object) -> bool:
        return inspect.isclass(value) and issubclass(value, FileObject | FileObjectList)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        # Litestar prefers aliases in what is sent, and names in what comes back
        item = _sent() if schema_creator.prefer_alias else _returned()
        if field_definition.is_subclass_of(FileObjectList):
            return Schema(type=OpenAPIType.ARRAY, items=item)
        return item


def _sent() -> Schema:
    return Schema(
        type=OpenAPIType.STRING,
        format=OpenAPIFormat.BINARY,
        content_media_type="application/octet-stream",
        description="a file; in JSON, the grant of an upload",
    )


def _returned() -> Schema:
    properties = {
        "filename": Schema(type=OpenAPIType.STRING),
        "content_type": Schema(type=OpenAPIType.STRING),
        "size": Schema(one_of=_NUMBER_OR_NULL, description="bytes"),
        "checksum": Schema(one_of=_STRING_OR_NULL, description="sha256:<hex>"),
        "last_modified": Schema(one_of=_NUMBER_OR_NULL, description="seconds since the epoch, UTC"),
        "url": Schema(one_of=_STRING_OR_NULL, description="reads the content for an hour"),
    }
    return Schema(
        type=OpenAPIType.OBJECT, title="File", properties=dict(properties), required=list(properties)
    )
