"""The files of a model in a form: which fields they are, and what was sent for each; pure.

A parser gives the parts of a form by the names of their fields, with `LEFT_EMPTY` for a file input in which
nothing was chosen; `FormFiles.decided` returns the values that the model is made of.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, is_dataclass, replace
from dataclasses import fields as dataclass_fields
from importlib import import_module
from typing import Annotated, Final, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList

__all__ = ("LEFT_EMPTY", "FileField", "FormFiles", "files_of_form")


class _LeftEmpty(str):
    """An empty text that can be told from one that was sent as a text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LEFT_EMPTY"


LEFT_EMPTY: Final[str] = _LeftEmpty()
"""Stands for a file input in which nothing was chosen: browsers send `filename=""` and no bytes for it.

It equals the empty text, as frameworks read it.
"""

_Bound = Mapping[object, object]

_WRAPPERS = frozenset({"Required", "NotRequired", "ReadOnly", "Final"})
"""Special forms of `typing` and `typing_extensions` around the type of a field."""


class _PydanticField(Protocol):
    alias: object
    validation_alias: object

    def is_required(self) -> bool: ...


class _AttrsField(Protocol):
    name: str
    default: object


@dataclass(frozen=True, slots=True)
class FileField:
    """A field of a model whose type is a file or a list of files."""

    is_list: bool
    """Whether it is a list."""
    is_optional: bool
    """Whether it may be None, which an empty text then means."""
    is_required: bool = False
    """Whether it has no default."""

    def decided(self, parts: Sequence[object]) -> tuple[object] | None:
        """Return the value of the field, in a tuple; None if nothing was sent for it.

        A file input that was left empty counts as not sent, so the field gets its default; without a default it
        gets None or an empty list, where its type allows that.  An empty text clears the field.  Several parts for
        a single file stay a list, which is then refused.
        """
        sent = [part for part in parts if part is not LEFT_EMPTY]
        filled = [part for part in sent if part != ""]
        if not sent and not (self.is_required and (self.is_list or self.is_optional)):
            return None
        if self.is_list:
            return (filled,)
        if not filled:
            return (None if self.is_optional else "",)
        return (sent[0] if len(sent) == 1 else sent,)


@dataclass(frozen=True, slots=True)
class FormFiles:
    """The fields of a model that are files, by the names under which a form sends them."""

    fields: Mapping[str, FileField]
    """The fields by name, under each of its names."""
    others: FileField | None = None
    """Every other field, as in `dict[str, FileObject]`."""
    is_list: bool = False
    """Whether the model itself is a list of files, under any names."""

    def decided(self, form: Mapping[str, object]) -> dict[str, object]:
        """Return the values for the model: those of *form*, with its files as their fields need them.

        In *form* several parts of one name are a list.
        """
        values: dict[str, object] = {}
        if self.is_list:
            return {str(number): part for number, part in enumerate(_filled(form))}
        for name, value in form.items():
            parts = cast("list[object]", value) if isinstance(value, list) else [value]
            field = self.fields.get(name, self.others)
            if field is None:
                plain: list[object] = ["" if part is LEFT_EMPTY else part for part in parts]
                values[name] = plain if isinstance(value, list) else plain[0]
            elif sent := field.decided(parts):
                (values[name],) = sent
        return values


def _filled(form: Mapping[str, object]) -> Iterator[object]:
    for value in form.values():
        for part in cast("list[object]", value) if isinstance(value, list) else [value]:
            if part != "":
                yield part


def files_of_form(model: object) -> FormFiles:
    """Return the fields of *model* that are files.

    *model* is a type: a Struct, a dataclass, a pydantic model, an attrs class, a TypedDict, or a mapping, also
    optional, annotated or generic.  Raises NameError for an annotation that cannot be resolved.
    """
    fields: dict[str, FileField] = {}
    others: FileField | None = None
    whole = _file_field(model, {})
    if whole is not None:
        return FormFiles({}, is_list=whole.is_list)
    for member in _members(model, {}):
        origin = get_origin(member) or member
        if not isinstance(origin, type):
            continue
        if issubclass(origin, Mapping) and get_args(member):
            others = _file_field(get_args(member)[-1], {})
        elif origin.__module__ != "builtins":
            inner = cast("type[object]", origin)
            fields.update(_fields(inner, _bound(inner, member)))
    return FormFiles(fields, others)


def _fields(model: type[object], bound: _Bound) -> Iterator[tuple[str, FileField]]:
    declared = _declared(model)
    for name, annotation in get_type_hints(model, include_extras=True).items():
        field = _file_field(annotation, bound)
        if field is not None:
            names, is_required = declared.get(name, ({name}, False))
            for sent_name in names:
                yield sent_name, replace(field, is_required=is_required)


def _declared(model: type[object]) -> dict[str, tuple[Iterable[str], bool]]:
    """Return for the fields of a model under which names a form may send them, and whether they have no default."""
    if hasattr(model, "__struct_fields__"):
        fields = import_module("msgspec.structs").fields(model)
        return {each.name: ({each.encode_name}, each.required) for each in fields}
    of_pydantic: object = getattr(model, "__pydantic_fields__", None)
    if isinstance(of_pydantic, Mapping):
        infos = cast("Mapping[str, _PydanticField]", of_pydantic)
        return {
            name: ({name, *_aliases(info.validation_alias), *_aliases(info.alias)}, info.is_required())
            for name, info in infos.items()
        }
    if is_dataclass(model):
        return {
            each.name: ({each.name}, each.default is MISSING and each.default_factory is MISSING)
            for each in dataclass_fields(model)
        }
    of_attrs = cast("Iterable[_AttrsField]", getattr(model, "__attrs_attrs__", ()))
    required = cast("Iterable[str]", getattr(model, "__required_keys__", ()))
    return {
        **{each.name: ({each.name}, repr(each.default) == "NOTHING") for each in of_attrs},
        **{name: ({name}, True) for name in required},
    }


def _aliases(alias: object) -> Iterator[str]:
    """Yield the names in an alias of pydantic: a text, a path into the data, or a choice of these."""
    if isinstance(alias, str):
        yield alias
    for choice in cast("Iterable[object]", getattr(alias, "choices", ())):
        yield from _aliases(choice)
    path = cast("Sequence[object]", getattr(alias, "path", ()))
    if len(path) == 1 and isinstance(path[0], str):
        yield path[0]


def _file_field(annotation: object, bound: _Bound) -> FileField | None:
    members = list(_members(annotation, bound))
    lists = [member for member in members if _is_list(member, bound)]
    if not lists and not any(_is_file(member) for member in members):
        return None
    # where a text is a value too, an empty one is
    return FileField(is_list=bool(lists), is_optional=types.NoneType in members and str not in members)


def _is_file(member: object) -> bool:
    return isinstance(member, type) and issubclass(member, FileObject)


def _is_list(member: object, bound: _Bound) -> bool:
    origin = get_origin(member) or member
    if not isinstance(origin, type):
        return False
    if issubclass(origin, FileObjectList):
        return True
    if not issubclass(origin, Iterable | Collection) or issubclass(origin, Mapping):
        return False
    return any(_is_file(item) for argument in get_args(member) for item in _members(argument, bound))


def _members(annotation: object, bound: _Bound) -> Iterator[object]:
    """Yield the types of a union, or the one type, without what is wrapped around them."""
    origin = get_origin(annotation)
    if annotation in bound:
        inner: Iterable[object] = (bound[annotation],)
    elif origin is Union or origin is types.UnionType:
        inner = get_args(annotation)
    elif origin is Annotated or getattr(origin, "_name", None) in _WRAPPERS:
        inner = get_args(annotation)[:1]
    elif hasattr(annotation, "__supertype__"):
        inner = (getattr(annotation, "__supertype__", None),)
    elif type(annotation).__name__ == "TypeAliasType":
        inner = (getattr(annotation, "__value__", None),)
    else:
        yield types.NoneType if annotation is None else annotation
        return
    for each in inner:
        yield from _members(each, bound)


def _bound(origin: type[object], member: object) -> _Bound:
    """Return what the type variables of a generic model stand for."""
    variables = cast("Sequence[TypeVar]", getattr(origin, "__parameters__", ()))
    return dict(zip(variables, get_args(member), strict=False))
