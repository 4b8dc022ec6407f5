"""How pydantic validates and writes files; imported when a pydantic model has one."""

from __future__ import annotations

from pydantic_core import core_schema

from filecolumn.files.file_list import FileObjectList
from filecolumn.files.interchange import enc_hook, file_from_input, files_from_input

__all__ = (
    "file_list_schema",
    "file_schema",
)

_FACTS = core_schema.typed_dict_schema(
    {
        "filename": core_schema.typed_dict_field(core_schema.str_schema()),
        "content_type": core_schema.typed_dict_field(core_schema.str_schema()),
        "size": core_schema.typed_dict_field(core_schema.nullable_schema(core_schema.int_schema())),
        "checksum": core_schema.typed_dict_field(core_schema.nullable_schema(core_schema.str_schema())),
        "last_modified": core_schema.typed_dict_field(
            core_schema.nullable_schema(core_schema.float_schema())
        ),
        "url": core_schema.typed_dict_field(core_schema.nullable_schema(core_schema.str_schema())),
    }
)
_INPUT = core_schema.str_schema(metadata={"pydantic_js_updates": {"format": "binary"}})


def file_schema() -> core_schema.CoreSchema:
    """Return the schema of a `FileObject`."""
    return core_schema.no_info_plain_validator_function(
        file_from_input,
        json_schema_input_schema=_INPUT,
        serialization=core_schema.plain_serializer_function_ser_schema(
            enc_hook, return_schema=_FACTS, when_used="json"
        ),
    )


def file_list_schema() -> core_schema.CoreSchema:
    """Return the schema of a `FileObjectList`."""
    return core_schema.no_info_plain_validator_function(
        _files,
        json_schema_input_schema=core_schema.list_schema(_INPUT),
        serialization=core_schema.plain_serializer_function_ser_schema(
            enc_hook, return_schema=core_schema.list_schema(_FACTS), when_used="json"
        ),
    )


def _files(value: object) -> FileObjectList:
    return value if isinstance(value, FileObjectList) else files_from_input(value)
