"""Files in DTOs and in the OpenAPI schema: binary in requests, an object with a URL in responses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Union, cast

from litestar._openapi.schema_generation import SchemaCreator
from litestar.dto import DTOFieldDefinition
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.types import Empty
from litestar.typing import FieldDefinition

from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList

__all__ = (
    "FileSchemaPlugin",
    "FilesDTO",
)

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


_Fields = Generator[DTOFieldDefinition, None, None]


class FilesDTO:
    """Goes before another DTO: `class DocumentDTO(FilesDTO, SQLAlchemyDTO[Document]): ...`.

    Litestar takes every collection for a generic one, which `FileObjectList` is not; here it is
    a `list[FileObject]`.  It is not a DTO by itself: the other one names the model.
    """

    __slots__ = ()

    @classmethod
    def generate_field_definitions(cls, model_type: type[object]) -> _Fields:
        """Yield the other DTO's fields."""
        other = cast("Callable[[type[object]], _Fields]", super().generate_field_definitions)  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        for field in other(model_type):
            annotation = _without_own_lists(field)
            yield field if annotation is None else _with_type(field, annotation)


def _without_own_lists(field: FieldDefinition) -> object | None:
    """Return the type of a field with `list[FileObject]` for our lists; None if there are none."""
    if field.is_subclass_of(FileObjectList):
        return list[FileObject]
    if not field.is_union:
        return None
    found = [_without_own_lists(inner) for inner in field.inner_types]
    if not any(found):
        return None
    members = tuple(
        inner.annotation if own is None else own for inner, own in zip(field.inner_types, found, strict=True)
    )
    return cast("object", Union[members])  # noqa: UP007 - of types that are known at run time only


def _with_type(field: DTOFieldDefinition, annotation: object) -> DTOFieldDefinition:
    default: object = field.default
    default_factory: Callable[[], object] | None = field.default_factory
    if isinstance(default, FileObjectList):
        # one list for all instances otherwise, which OpenAPI cannot show either
        files = list(default)
        default, default_factory = Empty, files.copy
    definition = FieldDefinition.from_annotation(annotation, name=field.name, default=default)
    typed = DTOFieldDefinition.from_field_definition(
        definition,
        model_name=field.model_name,
        default_factory=default_factory,
        dto_field=field.dto_field,
        passthrough_constraints=field.passthrough_constraints,
    )
    return replace(typed, kwarg_definition=field.kwarg_definition)
