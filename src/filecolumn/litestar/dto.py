"""`FilesDTO`: lets the DTOs of models have lists of files."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Union, cast

from litestar.dto import DTOFieldDefinition
from litestar.types import Empty
from litestar.typing import FieldDefinition

from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList

__all__ = ("FilesDTO",)

_Fields = Generator[DTOFieldDefinition, None, None]


class FilesDTO:
    """Goes before another DTO: `class DocumentDTO(FilesDTO, SQLAlchemyDTO[Document]): ...`.

    Litestar takes every collection for a generic one, which `FileObjectList` is not; here it is
    a `list[FileObject]`.  It is no DTO by itself, so the model is that of the other one.
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
