"""The value in a row: files, lists of files, their facts, and the transfer of their content.

`file` is what users see, and `state` where its content is, with every step that changes it.  `facts` reads and writes
the row's JSON.  `transfer` and `taking` store content, which `execution` runs in sync and async sessions alike.
"""

from filecolumn.files.facts import Json, JsonObject
from filecolumn.files.file import AsyncFile, FileObject
from filecolumn.files.file_list import FileObjectList
from filecolumn.files.grants import UploadGrant, subject_source
from filecolumn.files.interchange import dec_hook, enc_hook

__all__ = (
    "AsyncFile",
    "FileObject",
    "FileObjectList",
    "Json",
    "JsonObject",
    "UploadGrant",
    "dec_hook",
    "enc_hook",
    "subject_source",
)
