"""The public names, and the tree of errors."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm.exc import StaleDataError

import filecolumn
from filecolumn import errors
from filecolumn.backends.obstore import ObstoreBackend

PACKAGE = Path(filecolumn.__file__).parent
BUILTINS: dict[str, type[Exception]] = {
    "ObjectNotFoundError": FileNotFoundError,
    "ObjectExistsError": FileExistsError,
    "InvalidKeyError": ValueError,
    "BackendNotRegisteredError": LookupError,
    "BackendAlreadyRegisteredError": ValueError,
    "BackendMismatchError": ValueError,
    "StorageError": OSError,
    "NotSupportedError": NotImplementedError,
    "PendingContentError": RuntimeError,
    "SourceConsumedError": RuntimeError,
    "SourceReadError": OSError,
    "ChecksumMismatchError": OSError,
    "ContentRejectedError": ValueError,
    "FileTooLargeError": ValueError,
    "ContentTypeRejectedError": ValueError,
    "CorruptFileMetadataError": ValueError,
    "OwnedFileError": RuntimeError,
    "StaleUploadError": RuntimeError,
    "InvalidGrantError": PermissionError,
    "ConcurrentFileChangeError": StaleDataError,
    "MaintenanceRefusedError": RuntimeError,
    "MissingDependencyError": ImportError,
    "CommitOutcomeUnknownError": ConnectionError,
    "MissingLedgerError": RuntimeError,
    "QueryError": errors.FileColumnError,
    "UnknownFieldError": LookupError,
    "InvalidConditionError": ValueError,
    "ProcessorDoesNotExist": LookupError,
    "LookupProcessorDoesNotExist": LookupError,
    "DataProcessorDoesNotExist": LookupError,
    "LookupAlreadyRegisteredError": RuntimeError,
    "StoreConnectionError": RuntimeError,
    "RecordNotFoundError": KeyError,
}


def modules() -> list[str]:
    names = (
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")
    )
    return sorted(name.removesuffix(".__init__") for name in names)


def load(name: str) -> ModuleType:
    try:
        if "alembic" in name:
            # it loads our plugin while it is itself imported
            importlib.import_module("alembic")
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"an optional package is missing: {error}")


def test_all_is_a_sorted_tuple_and_complete() -> None:
    assert isinstance(filecolumn.__all__, tuple)
    assert list(filecolumn.__all__) == sorted(filecolumn.__all__)
    public = {
        name for name, value in vars(filecolumn).items() if name[0] != "_" and not inspect.ismodule(value)
    }
    assert public == set(filecolumn.__all__)


@pytest.mark.parametrize("name", filecolumn.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(filecolumn, name) is not None


@pytest.mark.parametrize("name", modules())
def test_the_all_of_each_module_is_a_tuple_of_names_that_are_there(name: str) -> None:
    module = load(name)
    names = getattr(module, "__all__", ())
    assert isinstance(names, tuple)
    assert len(set(names)) == len(names)
    assert [missing for missing in names if not hasattr(module, missing)] == []
    defined = [
        defined
        for defined, value in vars(module).items()
        if defined[0] != "_" and getattr(value, "__module__", None) == name
    ]
    assert hasattr(module, "__all__") or not defined


@pytest.mark.parametrize("name", modules())
def test_each_module_says_what_it_is_for(name: str) -> None:
    path = PACKAGE.parent / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body


@pytest.mark.parametrize("name", errors.__all__)
def test_each_error_is_ours_and_the_builtin_that_a_caller_would_catch(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, errors.FileColumnError)
    assert issubclass(error, DontWrapMixin)
    assert issubclass(error, BUILTINS.get(name, Exception))
    assert error.__doc__
    assert getattr(filecolumn, name) is error


def test_no_error_is_left_out() -> None:
    assert {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    } == set(errors.__all__)
    assert set(BUILTINS) | {"FileColumnError"} == set(errors.__all__)


@pytest.mark.parametrize("name", ["FileObject", "FileObjectList", "StorageRegistry", "StoredObject"])
def test_each_public_method_has_a_docstring_and_annotations(name: str) -> None:
    kind = getattr(filecolumn, name)
    for method_name, method in inspect.getmembers(kind, inspect.isfunction):
        if method_name[0] == "_" or not method.__module__.startswith("filecolumn"):
            continue
        assert "return" in method.__annotations__, method_name
        assert inspect.getdoc(method), method_name


@pytest.mark.timeout(60)
def test_importing_the_package_does_not_import_what_is_optional() -> None:
    code = "import filecolumn, sys; print(sorted({'fsspec', 'litestar', 'alembic', 's3fs'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=PACKAGE.parent,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_backend_is_one_class_on_the_contract() -> None:
    assert [base.__name__ for base in ObstoreBackend.__mro__] == [
        "ObstoreBackend",
        "StorageBackend",
        "ABC",
        "object",
    ]


def test_a_file_is_of_one_class() -> None:
    assert filecolumn.FileObject.__mro__ == (filecolumn.FileObject, object)


def test_a_call_with_wrong_arguments_is_told_by_the_public_name() -> None:
    file = filecolumn.FileObject("a.txt", content=b"x")
    for call in (
        lambda: filecolumn.FileObject("a.txt", b"x"),  # type: ignore[misc]
        lambda: filecolumn.FileObject("a.txt", contents=b"x"),  # type: ignore[call-arg]
        lambda: file.get_content(1),  # type: ignore[call-arg]
        lambda: file.open_async(modes="rb"),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError, match=r"^FileObject\.\w+\(\) "):
            call()
