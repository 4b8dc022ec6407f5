"""Content on its way in: what a caller may give, how it is read, and what a column accepts."""

from filecolumn.content.handles import AsyncReader, Reader
from filecolumn.content.policy import ContentPolicy
from filecolumn.content.sources import Content, Upload, source_of

__all__ = (
    "AsyncReader",
    "Content",
    "ContentPolicy",
    "Reader",
    "Upload",
    "source_of",
)
