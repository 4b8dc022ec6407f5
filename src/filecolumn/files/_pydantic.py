"""How pydantic validates and writes files; imported when a pydantic model has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from pydantic_core import core_schema

from filecolumn.files.facts import PUBLIC_FIELDS, PublicField

__all__ = ("file_list_schema", "file_schema")

F = TypeVar("F")
V = TypeVar("V")

_SENT = core_schema.str_schema(metadata={"pydantic_js_updates": {"format": "binary"}})
_TYPES: Mapping[str, Callable[[], core_schema.CoreSchema]] = {
    "string": core_schema.str_schema,
    "integer": core_schema.int_schema,
    "number": core_schema.float_schema,
}


def file_schema(validate: Callable[[object], F], encode: Callable[[F], object]) -> core_schema.CoreSchema:
    """Return the schema of a file, which *validate* makes of what was sent, and *encode* shows to clients."""
    return _schema(validate, encode, _SENT, _returned())


def file_list_schema(
    validate: Callable[[object], Iterable[F]], encode: Callable[[F], object]
) -> core_schema.CoreSchema:
    """Return the schema of a list of files, each of which *encode* shows to clients."""

    def encode_all(files: Iterable[F]) -> list[object]:
        return [encode(file) for file in files]

    sent, returned = core_schema.list_schema(_SENT), core_schema.list_schema(_returned())
    return _schema(validate, encode_all, sent, returned)


def _schema(
    validate: Callable[[object], V],
    encode: Callable[[V], object],
    sent: core_schema.CoreSchema,
    returned: core_schema.CoreSchema,
) -> core_schema.CoreSchema:
    writing = core_schema.plain_serializer_function_ser_schema(
        encode, return_schema=returned, when_used="json"
    )
    return core_schema.no_info_plain_validator_function(
        validate, json_schema_input_schema=sent, serialization=writing
    )


def _returned() -> core_schema.CoreSchema:
    return core_schema.typed_dict_schema(
        {name: core_schema.typed_dict_field(_type(field)) for name, field in PUBLIC_FIELDS.items()}
    )


def _type(field: PublicField) -> core_schema.CoreSchema:
    schema = _TYPES[field.type]()
    return core_schema.nullable_schema(schema) if field.nullable else schema
