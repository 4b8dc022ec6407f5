"""`FilesDTO`: lets the DTOs of models have lists of files."""

from __future__ import annotations

from collections.abc import Generator

from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.typing import FieldDefinition

from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList

__all__ = ("FilesDTO",)


class FilesDTO(AbstractDTO[object]):
    """Goes before another DTO: `class DocumentDTO(FilesDTO, SQLAlchemyDTO[Document]): ...`.

    Litestar takes every collection for a generic one, which `FileObjectList` is not; here it is
    a `list[FileObject]`.
    """

    @classmethod
    def generate_field_definitions(
        cls, model_type: type[object]
    ) -> Generator[DTOFieldDefinition, None, None]:
        for field in super().generate_field_definitions(model_type):
            if field.is_subclass_of(FileObjectList):
                yield _as_list(field)
            else:
                yield field


def _as_list(field: DTOFieldDefinition) -> DTOFieldDefinition:
    definition = FieldDefinition.from_annotation(
        list[FileObject], name=field.name, default=field.default, kwarg_definition=field.kwarg_definition
    )
    return DTOFieldDefinition.from_field_definition(
        definition,
        model_name=field.model_name,
        default_factory=field.default_factory,
        dto_field=field.dto_field,
    )
