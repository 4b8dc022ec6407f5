"""HTTP without a framework: receive files by requests and signed URLs, and send them as responses, over ASGI.

`conditional` evaluates Range headers and conditional requests, `serving` decides the response to a GET, and `sending`
sends it; `uploads` reads request bodies; `errors` maps errors to statuses.

The package imports no framework and no ORM.  An adapter passes the messages of ASGI to `FileSender` and
`RequestBody`, and turns the result of `http_error` into its framework's own errors; `filecolumn.litestar` is one.
"""

from filecolumn.http.asgi import ResponseBody, ResponseStart
from filecolumn.http.caching import cacheable_headers, is_file_response, mark_signed_url
from filecolumn.http.conditional import Validators
from filecolumn.http.errors import STATUS_BY_ERROR, ErrorStatus, HttpError, failed_commit, http_error
from filecolumn.http.forms import LEFT_EMPTY, FileField, FormFiles, files_of_form
from filecolumn.http.headers import INLINE_TYPES
from filecolumn.http.sending import FileSender
from filecolumn.http.serving import Decision, Representation, Serving, decide, request_headers
from filecolumn.http.signed import disposition_of, file_of, receive_upload, verified_claims
from filecolumn.http.uploads import (
    BodySource,
    RequestBody,
    announced_length,
    batches,
    check_encoding,
    check_form,
    check_length,
    has_body,
)

__all__ = (
    "INLINE_TYPES",
    "LEFT_EMPTY",
    "STATUS_BY_ERROR",
    "BodySource",
    "Decision",
    "ErrorStatus",
    "FileField",
    "FileSender",
    "FormFiles",
    "HttpError",
    "Representation",
    "RequestBody",
    "ResponseBody",
    "ResponseStart",
    "Serving",
    "Validators",
    "announced_length",
    "batches",
    "cacheable_headers",
    "check_encoding",
    "check_form",
    "check_length",
    "decide",
    "disposition_of",
    "failed_commit",
    "file_of",
    "files_of_form",
    "has_body",
    "http_error",
    "is_file_response",
    "mark_signed_url",
    "receive_upload",
    "request_headers",
    "verified_claims",
)
