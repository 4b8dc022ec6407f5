"""Thumbnails of pictures, by Pillow: another file of the row, stored and removed with it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from anyio import CapacityLimiter, to_thread
from PIL import Image, ImageOps, UnidentifiedImageError

from filecolumn import FileObject

__all__ = ("Picture", "look_at")

WIDTH = 640
"""Pixels of the longer side."""
MAX_PIXELS = 64_000_000
"""Larger pictures are shown without a thumbnail: decoding them would take a gigabyte."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP")
UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    SyntaxError,
    ValueError,
)
"""What Pillow raises for a corrupt picture."""

# Decoding is work for a processor, and each picture in work takes memory
_decoders = CapacityLimiter(2)


@dataclass(frozen=True, slots=True)
class Picture:
    """The dimensions and the thumbnail of a picture."""

    width: int
    height: int
    thumbnail: bytes
    """WebP, upright, without the location or other metadata of the camera."""


async def look_at(file: FileObject) -> Picture | None:
    """Return dimensions and thumbnail of a stored picture; None if it cannot be decoded."""
    if not file.content_type.startswith("image/"):
        return None
    return await to_thread.run_sync(_look_at, file, limiter=_decoders)


def _look_at(file: FileObject) -> Picture | None:
    with file.open() as content:
        try:
            return _decode(content)
        except UNREADABLE:
            return None


def _decode(content: BinaryIO) -> Picture | None:
    with Image.open(content, formats=FORMATS) as image:
        # from the header: nothing is decoded yet
        if image.width * image.height > MAX_PIXELS:
            return None
        full = image.size
        image.draft("RGB", (WIDTH, WIDTH))
        upright = ImageOps.exif_transpose(image)
        is_turned = image.getexif().get(0x0112, 1) >= 5
        width, height = reversed(full) if is_turned else full
        upright.thumbnail((WIDTH, WIDTH))
        target = io.BytesIO()
        upright.convert("RGBA" if upright.has_transparency_data else "RGB").save(target, "WEBP", quality=80)
    return Picture(width, height, target.getvalue())
