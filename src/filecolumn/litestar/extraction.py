"""Puts our reading of forms into Litestar's way from a request to a handler's `data`, which is private to it.

Litestar (2.25) runs the extractors of a handler's `KwargsModel`, one of which takes the form from `ScopeState.form`,
or parses it into there; then a DTO or the handler's signature makes `data` of it.  Here the form is parsed
before that, by `Request.form` or by an extractor of ours, and Litestar's extractor finds in its place what the
model is to be made of.  Where an upgrade moves one of these, tests/litestar/test_forms.py fails.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from types import TracebackType
from typing import ClassVar, NamedTuple, Protocol, cast

import msgspec
from litestar import Request
from litestar.datastructures import FormMultiDict, State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import ClientException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import Empty, EmptyType, Scope
from litestar.typing import FieldDefinition
from litestar.utils.predicates import is_non_string_sequence, is_optional_union
from litestar.utils.scope.state import ScopeState
from litestar.utils.typing import make_non_optional_union

from filecolumn.http.forms import LEFT_EMPTY, FormFiles, files_of_form
from filecolumn.http.multipart import close_files, read_form
from filecolumn.litestar.exceptions import client_exceptions, logged_path
from filecolumn.logs import warn

__all__ = ("close_form", "form_request", "receive_forms")

AnyRequest = Request[object, object, State]
SentForm = dict[str, str | list[str] | UploadFile]
Extractor = Callable[[dict[str, object], AnyRequest], Awaitable[None]]

_FRAMEWORK = frozenset("litestar msgspec multipart multidict urllib http email json codecs encodings".split())
"""Packages whose errors are about the request, as long as no handler runs."""

_FIELD = re.compile(r"`\$\.([^`]+)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`")


_UNREADABLE = (msgspec.ValidationError, RecursionError, LookupError, UnicodeError, RuntimeError)


class _Layer(Protocol):
    """The application, a router, a controller or a handler."""

    request_class: type[AnyRequest] | None


class _Backend(Protocol):
    annotation: object


class _Dto(Protocol):
    _dto_backends: ClassVar[Mapping[str, Mapping[str, _Backend]]]


class _Model(Protocol):
    """A `KwargsModel`."""

    extractors: list[Extractor]
    expected_form_data: tuple[RequestEncodingType | str, FieldDefinition] | None
    expected_data_dto: type[_Dto] | None
    expected_reserved_kwargs: set[str]


class _Signature(Protocol):
    parse_values_from_connection_kwargs: Callable[[AnyRequest, dict[str, object]], dict[str, object]]


class _FormRequest(Request[object, object, State]):
    """A request that reads forms as we do."""

    __slots__ = ()

    async def form(self) -> FormMultiDict:
        if self.content_type[0] == RequestEncodingType.MULTI_PART:
            await _parse(self, None)
        form = await super().form()
        if LEFT_EMPTY not in form.values():
            return form
        # the mark is a `str` of its own class, which encoders such as msgspec's refuse
        items = cast("Iterable[tuple[str, object]]", form.items())
        return FormMultiDict([(name, "" if value is LEFT_EMPTY else value) for name, value in items])


def form_request(base: type[AnyRequest] | None) -> type[AnyRequest]:
    """Return a class of requests that read forms as we do; *base* is the application's own."""
    base = base or Request
    if issubclass(base, _FormRequest):
        return base
    # messages name the class that an application wrote
    return cast("type[AnyRequest]", type(base.__name__, (_FormRequest, base), {"__slots__": ()}))


def receive_forms(route: HTTPRoute) -> None:
    """Let the handlers of *route* get forms as we read them, and answer what a client sent wrong with 400."""
    handlers = cast("Mapping[str, tuple[HTTPRouteHandler, _Model]]", route.route_handler_map)
    # several methods share one model
    for handler, model in {id(model): (handler, model) for handler, model in handlers.values()}.values():
        extractors = list(model.extractors)
        # those of the reserved names come first, in this order
        for index, name in enumerate(model.expected_reserved_kwargs):
            if name == "data" and model.expected_form_data is not None:
                extractors[index] = _with_form(extractors[index], model, handler)
        model.extractors = [_guarded(each) for each in extractors]
        _guard_signature(handler)
        handler.request_class = form_request(_own_request_class(handler))


def _own_request_class(handler: HTTPRouteHandler) -> type[AnyRequest] | None:
    """Return the class of requests that the closest layer has."""
    layers = cast("Sequence[_Layer]", handler.ownership_layers)
    return next((layer.request_class for layer in reversed(layers) if layer.request_class), None)


async def close_form(scope: Scope) -> None:
    """Close the files of the form that a request brought, also if no handler came to it."""
    form = ScopeState.from_scope(scope).form
    if form is not Empty:
        await close_files(cast("Mapping[str, object]", form).values())


def _with_form(extract: Extractor, model: _Model, handler: HTTPRouteHandler) -> Extractor:
    """Let an extractor of `data` find a form as the handler's model wants it."""
    if model.expected_form_data is None:
        return extract
    encoding, definition = model.expected_form_data
    limit: int | None = getattr(definition.kwarg_definition, "multipart_form_part_limit", None)
    files = cache(lambda: _files(model, definition, handler))
    shape = cache(lambda: _shape(definition))
    is_model = not (
        model.expected_data_dto or definition.is_non_string_sequence or definition.annotation is UploadFile
    )

    async def extractor(values: dict[str, object], request: AnyRequest) -> None:
        state = ScopeState.from_scope(request.scope)
        if encoding == RequestEncodingType.MULTI_PART:
            await _parse(request, limit)
        elif request.content_type[0] == RequestEncodingType.URL_ENCODED:
            await request.form()
        sent = cast("dict[str, object] | EmptyType", state.form)
        if sent is Empty:
            await extract(values, request)
            return
        decided = files().decided(sent)
        if files().is_list and not decided:
            # of an empty form Litestar would take the first value
            values["data"] = []
            return
        if is_model and decided and encoding == RequestEncodingType.MULTI_PART:
            values["data"] = shape().completed(decided)
            return
        state.form = cast("SentForm", decided)
        try:
            await extract(values, request)
        finally:
            # for `request.form()` in the handler, and for who closes its files
            state.form = cast("SentForm", sent)

    return extractor


async def _parse(request: AnyRequest, limit: int | None) -> None:
    """Parse a multipart form, unless that was done."""
    state = ScopeState.from_scope(request.scope)
    if state.form is Empty:
        with client_exceptions():
            form = await read_form(
                request.stream(),
                request.content_type[1].get("boundary", "").encode(),
                _upload,
                max_parts=request.app.multipart_form_part_limit if limit is None else limit,
            )
        state.form = cast("SentForm", form)


def _upload(filename: str, content_type: str, headers: dict[str, str]) -> UploadFile:
    return UploadFile(content_type=content_type, filename=filename, headers=headers)


def _files(model: _Model, definition: FieldDefinition, handler: HTTPRouteHandler) -> FormFiles:
    """Return the fields of a handler's `data` that have files."""
    model_type: object = definition.annotation
    if model.expected_data_dto is not None:
        # the names that a DTO renames are known there
        backends = model.expected_data_dto._dto_backends  # pyright: ignore[reportPrivateUsage]
        model_type = backends[handler.handler_id]["data_backend"].annotation
    try:
        return files_of_form(model_type)
    except NameError:
        # of an annotation that only its module's type checker can resolve: Litestar fails on it itself, and says why
        return FormFiles({})


class _Shape(NamedTuple):
    """Which fields of a model are not what a form sends for them, as Litestar's extractor has it.

    That one asks the annotations anew for each request, which takes longer than to parse a small form.
    """

    lists: frozenset[str]
    """Fields that take several values, of which a form may send one."""
    uploads: frozenset[str]
    """Fields for an upload or None, which a form sends as an empty text."""

    def completed(self, form: dict[str, object]) -> dict[str, object]:
        """Return the values of a model."""
        for name, value in form.items():
            if value == "" and name in self.uploads:
                form[name] = None
            elif value is not None and name in self.lists and not isinstance(value, list):
                form[name] = [value]
        return form


def _shape(definition: FieldDefinition) -> _Shape:
    lists: set[str] = set()
    uploads: set[str] = set()
    for name, hint in definition.get_type_hints().items():
        is_optional = is_optional_union(hint)
        inner: object = make_non_optional_union(hint) if is_optional else hint
        if is_non_string_sequence(hint) or is_non_string_sequence(inner):
            lists.add(name)
        if is_optional and isinstance(inner, type) and issubclass(inner, UploadFile):
            uploads.add(name)
    return _Shape(frozenset(lists), frozenset(uploads))


def _guarded(extract: Extractor) -> Extractor:
    async def extractor(values: dict[str, object], request: AnyRequest) -> None:
        try:
            await extract(values, request)
        except _UNREADABLE as error:
            _refuse(request, error)
            raise

    return extractor


def _guard_signature(handler: HTTPRouteHandler) -> None:
    """Refuse with 400 what cannot be read, also where `data` is made of it."""
    signature = cast("_Signature", handler.signature_model)
    parse = signature.parse_values_from_connection_kwargs

    def guarded(connection: AnyRequest, kwargs: dict[str, object]) -> dict[str, object]:
        try:
            return parse(connection, kwargs)
        except _UNREADABLE as error:
            _refuse(connection, error)
            raise

    signature.parse_values_from_connection_kwargs = guarded


def _refuse(request: AnyRequest, error: Exception) -> None:
    """Raise 400 for an error of Litestar's parsers or decoders about the request.

    Errors of the application's own code, in its models or DTOs, stay what they are.
    """
    if isinstance(error, msgspec.ValidationError):
        raise _invalid(request, error) from error
    if isinstance(error, RecursionError):
        raise ClientException(detail="Data nested too deeply") from error
    if isinstance(error, RuntimeError) and not isinstance(error.__cause__, StopIteration):
        return
    if _package(error.__traceback__) in _FRAMEWORK:
        # not what the error says: that of a decoder holds the whole body
        name = type(error).__name__
        warn("%s %s: malformed body: %s", request.method, logged_path(request.scope), name)
        raise ClientException(detail="Malformed request") from error


def _package(traceback: TracebackType | None) -> str:
    """Return the package of the code that raised."""
    name = ""
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
    return name.partition(".")[0]


def _invalid(request: AnyRequest, error: msgspec.ValidationError) -> ValidationException:
    """Return what Litestar answers to data without a DTO."""
    text = str(error)
    found = _FIELD.search(text) or _MISSING.search(text)
    message: dict[str, object] = {"message": text.partition(" - at ")[0], "source": "body"}
    if found is not None:
        message["key"] = found[1]
    return ValidationException(
        detail=f"Validation failed for {request.method} {request.url.path}", extra=[message]
    )
