"""`FileObjectList` is a list that tells its owner of every change."""

from __future__ import annotations

import bisect
import copy
import gc
import heapq
import json
import pickle
import random
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn import CorruptFileMetadataError, FileObject, FileObjectList
from filecolumn.files.file import file_from_row
from filecolumn.files.file_list import list_from_row, list_state, set_list_parent


class Owner:
    """An owner that counts what it is told."""

    is_gone = has_expired = False

    def __init__(self) -> None:
        self.told: list[object] = []

    def changed(self, value: object, /) -> None:
        self.told.append(value)


def saved(name: str) -> FileObject:
    return file_from_row({"filename": name, "to_filename": name, "backend": "docs", "size": 1})


def rows(*names: str) -> list[dict[str, object]]:
    return [saved(name).to_dict() for name in names]


def owned(*names: str) -> tuple[FileObjectList, Owner]:
    files, owner = FileObjectList(map(saved, names)), Owner()
    list_state(files).flushed(files)
    set_list_parent(files, owner)  # type: ignore[arg-type]
    return files, owner


def names(files: FileObjectList) -> list[str]:
    return [file.filename for file in files]


def swap(files: FileObjectList) -> None:
    files[0], files[1] = files[1], files[0]


def add_in_place(files: FileObjectList) -> None:
    files += [saved("x")]


def double(files: FileObjectList) -> None:
    files *= 2  # type: ignore[misc]


def set_item(files: FileObjectList) -> None:
    files[0] = saved("x")


def set_slice(files: FileObjectList) -> None:
    files[1:] = [saved("x"), saved("y"), saved("z")]


def set_stepped_slice(files: FileObjectList) -> None:
    files[::2] = [saved("x"), saved("y")]


def delete_item(files: FileObjectList) -> None:
    del files[-1]


def delete_slice(files: FileObjectList) -> None:
    del files[:2]


MUTATIONS: dict[str, tuple[Callable[[FileObjectList], object], list[str]]] = {
    "append": (lambda files: files.append(saved("x")), ["b", "c", "a", "x"]),
    "extend": (lambda files: files.extend([saved("x"), saved("y")]), ["b", "c", "a", "x", "y"]),
    "+=": (add_in_place, ["b", "c", "a", "x"]),
    "*=": (double, ["b", "c", "a", "b", "c", "a"]),
    "insert": (lambda files: files.insert(0, saved("x")), ["x", "b", "c", "a"]),
    "set item": (set_item, ["x", "c", "a"]),
    "set slice": (set_slice, ["b", "x", "y", "z"]),
    "set stepped slice": (set_stepped_slice, ["x", "c", "y"]),
    "delete item": (delete_item, ["b", "c"]),
    "delete slice": (delete_slice, ["a"]),
    "remove": (lambda files: files.remove(saved("c")), ["b", "a"]),
    "pop": (lambda files: files.pop(), ["b", "c"]),
    "pop first": (lambda files: files.pop(0), ["c", "a"]),
    "clear": (lambda files: files.clear(), []),
    "sort": (lambda files: files.sort(key=lambda file: file.filename), ["a", "b", "c"]),
    "sort reversed": (
        lambda files: files.sort(key=lambda file: file.filename, reverse=True),
        ["c", "b", "a"],
    ),
    "reverse": (lambda files: files.reverse(), ["a", "c", "b"]),
    "swap": (swap, ["c", "b", "a"]),
    "bisect.insort": (
        lambda files: bisect.insort(files, saved("z"), key=lambda file: file.filename),
        ["b", "c", "a", "z"],
    ),
    "random.shuffle": (lambda files: random.Random(1).shuffle(files), ["c", "a", "b"]),
}


@pytest.mark.parametrize(("mutate", "left"), MUTATIONS.values(), ids=MUTATIONS)
def test_each_mutation_changes_the_list_and_tells_the_owner(
    mutate: Callable[[FileObjectList], object], left: list[str]
) -> None:
    files, owner = owned("b", "c", "a")
    mutate(files)
    assert names(files) == left
    assert owner.told
    assert all(told is files for told in owner.told)


@pytest.mark.parametrize(("mutate", "left"), MUTATIONS.values(), ids=MUTATIONS)
def test_each_mutation_works_on_a_list_from_a_row_without_an_owner(
    mutate: Callable[[FileObjectList], object], left: list[str]
) -> None:
    files = list_from_row(json.dumps(rows("b", "c", "a")))
    mutate(files)
    assert names(files) == left


def test_reading_tells_nobody() -> None:
    files, owner = owned("a", "b")
    assert len(files) == 2
    assert files[0] == saved("a")
    assert files[-1:] == [saved("b")]
    assert saved("a") in files
    assert saved("x") not in files
    assert files.index(saved("b")) == 1
    assert files.count(saved("a")) == 1
    assert list(reversed(files)) == [saved("b"), saved("a")]
    assert files.copy() == [saved("a"), saved("b")]
    assert files + [saved("c")] == [saved("a"), saved("b"), saved("c")]  # noqa: RUF005 - `+` is tested
    assert bool(files)
    assert not FileObjectList()
    assert repr(files).startswith("[<FileObject 'a'")
    assert owner.told == []


def test_a_copy_and_a_slice_are_plain_lists_of_their_own() -> None:
    files, owner = owned("a", "b")
    files.copy().clear()
    files[:].clear()
    assert names(files) == ["a", "b"]
    assert owner.told == []


@pytest.mark.parametrize("wrong", [b"x", "x", {"filename": "x"}, None, 1, [saved("x")]])
def test_what_is_no_file_is_refused_at_once(wrong: Any) -> None:
    files, _ = owned("a", "b")

    def set_item() -> None:
        files[0] = wrong

    def set_slice() -> None:
        files[:] = [wrong]

    for call in (
        lambda: files.append(wrong),
        lambda: files.insert(0, wrong),
        lambda: files.extend([wrong]),
        lambda: FileObjectList([wrong]),
        set_item,
        set_slice,
    ):
        with pytest.raises(TypeError, match="FileObject"):
            call()
    assert names(files) == ["a", "b"]


def test_a_slice_takes_an_iterable() -> None:
    files, _ = owned("a")
    with pytest.raises(TypeError, match="iterable"):
        files[:] = saved("x")  # type: ignore[call-overload]


def test_a_position_that_is_not_there_is_an_index_error() -> None:
    files, _ = owned("a")
    with pytest.raises(IndexError):
        files[1]
    with pytest.raises(IndexError):
        files[1] = saved("x")
    with pytest.raises(IndexError):
        files.pop(5)
    with pytest.raises(ValueError):
        files.remove(saved("x"))
    assert names(files) == ["a"]


def test_lists_are_equal_by_their_files() -> None:
    assert FileObjectList([saved("a")]) == FileObjectList([saved("a")])
    assert FileObjectList([saved("a")]) == [saved("a")]
    assert [saved("a")] == FileObjectList([saved("a")])
    assert FileObjectList([saved("a")]) != FileObjectList([saved("b")])
    assert FileObjectList([saved("a")]) != []
    assert FileObjectList() == []
    assert FileObjectList() != ()
    assert FileObjectList() is not None


def test_a_list_is_not_hashable_as_a_list_is_not() -> None:
    with pytest.raises(TypeError):
        hash(FileObjectList())


TEXTS = {
    "none": ([], 0),
    "one": (rows("a"), 1),
    "three": (rows("a", "b", "c"), 3),
    "a nested object": ([{**rows("a")[0], "metadata": {"a": {"b": 1}, "c": {}}}, *rows("b")], 2),
    "nested lists of objects": ([{**rows("a")[0], "metadata": {"a": [{"b": 1}, {"c": 2}]}}, *rows("b")], 2),
    "a row in the metadata": ([{**rows("a")[0], "metadata": {"was": rows("x", "y")}}], 1),
    "a name like a list": ([*rows('a}, {"b": 1}, {', "}, {", "}],[{", '}, {\\"a', '"}, {"a'), *rows("b")], 6),
    "others than objects": ([*rows("a"), None, *rows("b"), "text", *rows("c"), 1, [], *rows("d")], 8),
    "names of other kinds": ([{"1": 1, **rows("a")[0]}, {"A": 1, **rows("b")[0]}, {"": {}}, *rows("c")], 4),
}
SEPARATORS = {"ours": None, "compact": (",", ":"), "wide": (" , ", " : "), "lines": (",\n", ":\n")}


@pytest.mark.parametrize("separators", SEPARATORS.values(), ids=SEPARATORS)
@pytest.mark.parametrize(("row", "count"), TEXTS.values(), ids=TEXTS)
def test_a_row_is_split_into_what_its_json_holds(
    row: list[object], count: int, separators: tuple[str, str] | None
) -> None:
    files = list_from_row(json.dumps(row, separators=separators, ensure_ascii=False))
    decoded = list_from_row(row)
    assert len(files) == len(decoded) == count
    assert repr(files) == repr(decoded)


TEXT = st.text(st.sampled_from('{}[],:"\\ a'), max_size=8)
NAMES = st.sampled_from(["a", "b"]) | TEXT
VALUES = st.recursive(
    st.none() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, min_size=1, max_size=3),
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)


@given(st.lists(OBJECTS | VALUES, max_size=4), st.sampled_from(list(SEPARATORS.values())))
def test_any_list_is_split_into_what_its_json_holds(
    row: list[object], separators: tuple[str, str] | None
) -> None:
    files = list_from_row(json.dumps(row, separators=separators))
    assert repr(files) == repr(list_from_row(row))


@pytest.mark.parametrize("style", ["ours", "compact"])
def test_a_list_is_loaded_without_decoding_it(style: str) -> None:
    row = [{**each, "metadata": {"a": {"b": 1}}, "v": 1} for each in rows("a", "b")]
    text = json.dumps(row, separators=SEPARATORS[style])
    files = list_from_row(text)
    assert [type(each._row) for each in files] == [str, str]


def test_a_list_holds_its_files_before_any_of_its_methods_is_called() -> None:
    files = list_from_row(json.dumps(rows("a", "b")))
    assert list.__len__(files) == 2
    assert [] + files == [saved("a"), saved("b")]  # noqa: RUF005 - `+` reads the list's memory
    assert list_state(files).committed == (saved("a"), saved("b"))


def test_what_the_row_holds_stays_known_after_a_change() -> None:
    files = list_from_row(rows("a", "b"))
    files.pop(0)
    assert list_state(files).committed == (saved("a"), saved("b"))
    list_state(files).flushed(files)
    assert list_state(files).committed == (saved("b"),)


@pytest.mark.parametrize("row", ["{", "{}", "null", 12, None, {"filename": "a"}, b"\xff", "[{]", "[1}]"])
def test_a_row_that_is_no_list_is_one_file_that_raises_when_it_is_used(row: object) -> None:
    files = list_from_row(row)
    assert len(files) == 1
    assert "corrupt" in repr(files)
    assert list_state(files).committed is None
    for file in (files[0], pickle.loads(pickle.dumps(files))[0], copy.deepcopy(files)[0]):
        with pytest.raises(CorruptFileMetadataError):
            _ = file.filename
    files[:] = [saved("x")]
    assert names(files) == ["x"]
    assert list_state(files).committed is None


@pytest.mark.parametrize("bad", [1, None, "x", {}, {"filename": "a", "size": -1}])
def test_a_corrupt_item_raises_when_it_is_used_and_the_others_can_be(bad: object) -> None:
    files = list_from_row([*rows("a"), bad])
    assert len(files) == 2
    assert files[0].filename == "a"
    assert "corrupt" in repr(files)
    with pytest.raises(CorruptFileMetadataError):
        _ = files[1].filename


def test_a_change_of_a_file_is_told_to_the_owner() -> None:
    files, owner = owned("a", "b")
    files[1].update_metadata({"k": 1})
    assert owner.told == [files[1]]


COPIES: list[Callable[[FileObjectList], FileObjectList]] = [
    lambda files: pickle.loads(pickle.dumps(files)),
    copy.deepcopy,
]


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy"])
def test_a_copy_is_equal_and_has_no_owner(made: Callable[[FileObjectList], FileObjectList]) -> None:
    files, owner = owned("a", "b")
    other = made(files)
    assert other == files
    other.clear()
    assert names(files) == ["a", "b"]
    assert owner.told == []


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy"])
def test_a_copy_of_a_list_that_was_not_read_yet_reads_its_row(
    made: Callable[[FileObjectList], FileObjectList],
) -> None:
    other = made(list_from_row(json.dumps(rows("a")), ("docs",)))
    assert names(other) == ["a"]
    assert list_state(other).committed == (saved("a"),)


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy"])
def test_a_copy_of_a_list_that_was_read_works_as_it_does(
    made: Callable[[FileObjectList], FileObjectList],
) -> None:
    files = list_from_row(rows("a", "b"), ("docs",))
    files.pop()
    other = made(files)
    assert names(other) == ["a"]
    assert list_state(other).committed == (saved("a"), saved("b"))
    other.append(saved("c"))
    assert names(other) == ["a", "c"]


@pytest.mark.parametrize("made", COPIES, ids=["pickle", "deepcopy"])
def test_a_change_of_a_file_in_a_copy_does_not_reach_the_original(
    made: Callable[[FileObjectList], FileObjectList],
) -> None:
    files, owner = owned("a")
    made(files)[0].update_metadata({"k": 1})
    assert owner.told == []
    assert files[0].metadata == {}


def test_a_shallow_copy_is_a_list_of_the_same_files_and_has_no_owner() -> None:
    files, owner = owned("a", "b")
    other = copy.copy(files)
    assert type(other) is FileObjectList
    assert [one is two for one, two in zip(files, other, strict=True)] == [True, True]
    other.clear()
    assert names(files) == ["a", "b"]
    assert owner.told == []


def test_sums_products_and_slices_are_plain_lists_of_the_same_files() -> None:
    files, owner = owned("a", "b")
    for other in (files + [saved("c")], [saved("c")] + files, files * 2, 2 * files, files[:], files.copy()):  # noqa: RUF005
        assert type(other) is list
        other.clear()
    assert names(files) == ["a", "b"]
    assert owner.told == []


def test_an_iterable_that_raises_leaves_the_list_as_it_was() -> None:
    files, owner = owned("a")

    def broken() -> Iterator[FileObject]:
        yield saved("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.extend(broken())
    with pytest.raises(RuntimeError):
        files[:] = broken()
    assert names(files) == ["a"]
    assert owner.told == []


def test_a_list_can_be_added_to_itself() -> None:
    files, _ = owned("a", "b")
    files += files
    files.extend(files)
    assert names(files) == ["a", "b"] * 4


def test_files_have_no_order_of_their_own() -> None:
    files, _ = owned("a", "b")
    with pytest.raises(TypeError, match="'<' not supported"):
        files.sort()


def test_what_writes_past_the_methods_is_seen_with_the_next_change() -> None:
    files, owner = owned("a")
    heapq.heappop(files)  # type: ignore[type-var]
    assert owner.told == []
    files.append(saved("b"))
    assert owner.told == [files]
    assert list_state(files).committed == (saved("a"),)


def test_a_loaded_list_goes_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        files = list_from_row(json.dumps(rows("a", "b")))
        assert names(files) == ["a", "b"]
        gone = weakref.ref(files)
        del files
        assert gone() is None
    finally:
        gc.enable()


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(-6, 6), st.sampled_from("xyz")),
        st.tuples(st.just("append"), st.just(0), st.sampled_from("xyz")),
        st.tuples(st.just("pop"), st.integers(-6, 6), st.just("")),
        st.tuples(st.just("set"), st.integers(-6, 6), st.sampled_from("xyz")),
        st.tuples(st.just("slice"), st.integers(-6, 6), st.sampled_from("xyz")),
        st.tuples(st.just("del"), st.integers(-6, 6), st.just("")),
        st.tuples(st.just("reverse"), st.just(0), st.just("")),
    ),
    max_size=12,
)


def perform(files: Any, step: str, index: int, file: FileObject | None) -> object:
    try:
        match step:
            case "insert":
                files.insert(index, file)
            case "append":
                files.append(file)
            case "pop":
                return files.pop(index)
            case "set":
                files[index] = file
            case "slice":
                files[index : index + 2] = [file, file]
            case "del":
                del files[index]
            case _:
                files.reverse()
    except IndexError as error:
        return type(error)
    return None


@given(OPERATIONS)
def test_it_behaves_as_a_list_does(steps: list[tuple[str, int, str]]) -> None:
    model = [saved(name) for name in "abcd"]
    files = FileObjectList(model)
    for step, index, name in steps:
        file = saved(name) if name else None
        assert perform(files, step, index, file) == perform(model, step, index, file)
        assert files == model
