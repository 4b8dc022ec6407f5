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

from filecolumn.files.facts import PUBLIC_FIELDS, PublicField
from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList

__all__ = (
    "FileSchemaPlugin",
    "FilesDTO",
)


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
    properties = {name: _property(field) for name, field in PUBLIC_FIELDS.items()}
    return Schema(
        type=OpenAPIType.OBJECT, title="File", properties=dict(properties), required=list(properties)
    )


def _property(field: PublicField) -> Schema:
    kind, description = OpenAPIType(field.type), field.description or None
    if not field.nullable:
        return Schema(type=kind, description=description)
    return Schema(one_of=[Schema(type=kind), Schema(type=OpenAPIType.NULL)], description=description)


_Fields = Generator[DTOFieldDefinition, None, None]


class FilesDTO:
    """A mixin for DTOs of models with files: `class DocumentDTO(FilesDTO, SQLAlchemyDTO[Document]): ...`.

    It describes a `FileObjectList` as `list[FileObject]`, because Litestar expects every collection to be
    generic.  It is not a DTO by itself: the other base names the model.
    """

    __slots__ = ()

    @classmethod
    def generate_field_definitions(cls, model_type: type[object]) -> _Fields:
        """Yield the fields of the other base, with lists of files as `list[FileObject]`."""
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
