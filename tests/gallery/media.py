"""Pictures and films that a browser can show, made for a test."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import av
from PIL import Image

__all__ = ("film", "picture", "sound")


def picture(path: Path, size: tuple[int, int] = (900, 600), colour: str = "#3a7a6a") -> Path:
    """Write a picture with a gradient; its kind is that of the name."""
    shade = Image.linear_gradient("L").resize(size)
    Image.composite(Image.new("RGB", size, colour), Image.new("RGB", size, "#f3dfb8"), shade).save(path)
    return path


def film(path: Path, *, seconds: int = 30, rate: int = 2) -> Path:
    """Write a film of noise: some megabytes, so that a browser does not read all of it at once."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=rate, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = 480, 272, "yuv420p"
        stream.bit_rate, stream.gop_size = 40_000_000, 1
        for _ in range(seconds * rate):
            noise = Image.effect_noise((480, 272), 120).convert("RGB")
            container.mux(stream.encode(av.VideoFrame.from_image(noise)))
        container.mux(stream.encode())
    path.write_bytes(buffer.getvalue())
    return path


def sound(path: Path, *, seconds: int = 2) -> Path:
    """Write silence, as WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(seconds * 16_000))
    return path
