"""Which fields of a model have files, and what is decided of the parts that were sent for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, replace
from importlib import import_module
from typing import Annotated, Any, Generic, NewType, NotRequired, Optional, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from msgspec import UNSET, UnsetType
from typing_extensions import TypeAliasType

from filecolumn import FileObject, FileObjectList
from filecolumn.http.forms import LEFT_EMPTY, FileField, FormFiles, files_of_form

T = TypeVar("T")
Picture = NewType("Picture", FileObject)
Pictures = TypeAliasType("Pictures", list[FileObject] | None)
ONE = FileField(is_list=False, is_optional=False)
NEEDED = FileField(is_list=False, is_optional=False, is_required=True)
MAYBE = FileField(is_list=False, is_optional=True)
MANY = FileField(is_list=True, is_optional=False)
MAYBE_MANY = FileField(is_list=True, is_optional=True)
NEEDED_MANY = replace(MANY, is_required=True)
NEEDED_MAYBE_MANY = replace(MAYBE_MANY, is_required=True)


class Mine(FileObject): ...


class OfStruct(msgspec.Struct, Generic[T], rename="camel"):
    title: str
    first_page: T
    all_pages: Sequence[T]
    note: dict[str, T]
    other: T | str | None = None


@dataclass
class OfDataclass:
    title: str
    by_name: Picture
    aliased: Pictures
    own: Mine | UnsetType = UNSET
    pages: tuple[FileObject, ...] = ()
    old: Optional[Annotated[FileObject, "of old"]] = None  # noqa: UP045 - as code of others has it
    passed: InitVar[int] = 0


class OfPydantic(pydantic.BaseModel):
    plain: FileObject
    short: FileObjectList = pydantic.Field(alias="s")
    choice: FileObject = pydantic.Field(
        validation_alias=pydantic.AliasChoices("a", pydantic.AliasPath("b"), pydantic.AliasPath("c", 0))
    )


class OfDict(TypedDict, total=False):
    file: NotRequired[Annotated[FileObject | None, "x"]]
    count: int


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            OfStruct[FileObject],
            {"firstPage": NEEDED, "allPages": NEEDED_MANY, "other": ONE},
        ),
        (
            Annotated[OfDataclass | None, "x"],
            {
                "by_name": NEEDED,
                "aliased": NEEDED_MAYBE_MANY,
                "own": ONE,
                "pages": MANY,
                "old": MAYBE,
            },
        ),
        (
            OfPydantic,
            {
                name: replace(MANY if name.startswith("s") else ONE, is_required=True)
                for name in ("plain", "short", "s", "choice", "a", "b")
            },
        ),
        (OfDict | OfDataclass, {**files_of_form(OfDataclass).fields, "file": MAYBE}),
        (int, {}),
        (Any, {}),
        (list[int], {}),
    ],
    ids=["struct", "dataclass", "pydantic", "two models", "int", "any", "list of others"],
)
def test_the_files_of_a_model_have_the_names_that_a_form_has(
    model: object, expected: dict[str, FileField]
) -> None:
    assert files_of_form(model) == FormFiles(expected)


@pytest.mark.extended
def test_attrs_classes_have_files_too() -> None:
    attrs = import_module("attrs")
    model = attrs.make_class(
        "OfAttrs", {"a": attrs.field(type=FileObject), "b": attrs.field(default=None, type=FileObject)}
    )
    assert files_of_form(model).fields == {"a": NEEDED, "b": ONE}


def test_a_mapping_or_a_list_may_be_the_whole_form() -> None:
    assert files_of_form(dict[str, FileObject]) == FormFiles({}, others=ONE)
    assert files_of_form(FileObjectList) == FormFiles({}, is_list=True)
    assert files_of_form(list[FileObject] | None) == FormFiles({}, is_list=True)


@pytest.mark.parametrize(
    ("field", "parts", "expected"),
    [
        (ONE, [LEFT_EMPTY], None),
        (NEEDED, [LEFT_EMPTY], None),
        (replace(MAYBE, is_required=True), [LEFT_EMPTY], (None,)),
        (NEEDED_MANY, [LEFT_EMPTY], ([],)),
        (ONE, [""], ("",)),
        (ONE, ["a"], ("a",)),
        (ONE, [LEFT_EMPTY, "a", LEFT_EMPTY], ("a",)),
        (ONE, ["a", "b"], (["a", "b"],)),
        (MAYBE, [LEFT_EMPTY, LEFT_EMPTY], None),
        (MAYBE, ["", LEFT_EMPTY], (None,)),
        (MAYBE, ["", "a"], (["", "a"],)),
        (MANY, [LEFT_EMPTY], None),
        (MANY, ["", LEFT_EMPTY], ([],)),
        (MAYBE_MANY, [""], ([],)),
        (MANY, ["", "a", LEFT_EMPTY, "b"], (["a", "b"],)),
    ],
)
def test_parts_say_that_a_field_is_set_or_cleared_or_nothing(
    field: FileField, parts: list[object], expected: tuple[object] | None
) -> None:
    assert field.decided(parts) == expected


def test_other_fields_get_what_they_would_get_without_files() -> None:
    decided = FormFiles({"file": ONE}).decided({"file": LEFT_EMPTY, "a": LEFT_EMPTY, "b": [LEFT_EMPTY, "x"]})
    assert decided == {"a": "", "b": ["", "x"]}
    assert type(decided["a"]) is str
