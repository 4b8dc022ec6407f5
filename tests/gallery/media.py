"""Pictures and films that a browser can show, made for a test."""

from __future__ import annotations

import io
import math
import random
import wave
from collections.abc import Iterable
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFilter

__all__ = ("encode", "film", "landscape", "picture", "sound")


def picture(path: Path, size: tuple[int, int] = (900, 600), colour: str = "#3a7a6a") -> Path:
    """Write a picture with a gradient; its kind is that of the name."""
    shade = Image.linear_gradient("L").resize(size)
    Image.composite(Image.new("RGB", size, colour), Image.new("RGB", size, "#f3dfb8"), shade).save(path)
    return path


def film(path: Path, *, seconds: int = 30, rate: int = 2) -> Path:
    """Write a film of noise: some megabytes, so that a browser does not read all of it at once."""
    noise = (Image.effect_noise((480, 272), 120).convert("RGB") for _ in range(seconds * rate))
    return encode(path, noise, (480, 272), rate=rate, bit_rate=40_000_000)


def encode(
    path: Path, frames: Iterable[Image.Image], size: tuple[int, int], *, rate: int, bit_rate: int
) -> Path:
    """Write a film of *frames*, as WebM."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=rate, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate, stream.gop_size = bit_rate, 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    path.write_bytes(buffer.getvalue())
    return path


def landscape(
    size: tuple[int, int], sky: tuple[str, str], hills: str, *, sun: float = 0.3, seed: int = 1
) -> Image.Image:
    """Draw hills below a sky of two colours; the sun is at this part of the width."""
    width, height = size
    shade = Image.linear_gradient("L").resize(size)
    image = Image.composite(Image.new("RGB", size, sky[1]), Image.new("RGB", size, sky[0]), shade)
    disc = Image.new("L", size)
    x, y, radius = sun * width, height * (0.28 + 0.5 * (sun - 0.5) ** 2), height * 0.09
    ImageDraw.Draw(disc).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    image.paste("#fff3d6", mask=disc.filter(ImageFilter.GaussianBlur(height / 150)))
    waves = random.Random(seed)
    for layer in range(4):
        base, tall = height * (0.5 + 0.13 * layer), height * (0.1 - 0.015 * layer)
        steps = [(waves.uniform(1, 3) * k, waves.uniform(0, math.tau), tall / k) for k in (1, 2, 5)]
        line = [
            (at, base - sum(a * math.sin(f * math.tau * at / width + p) for f, p, a in steps))
            for at in range(0, width + 8, 8)
        ]
        tint = Image.blend(
            Image.new("RGB", (1, 1), sky[1]), Image.new("RGB", (1, 1), hills), 0.25 + 0.25 * layer
        )
        ImageDraw.Draw(image).polygon([*line, (width, height), (0, height)], fill=tint.getpixel((0, 0)))
    return image


def sound(path: Path, *, seconds: int = 2) -> Path:
    """Write silence, as WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(seconds * 16_000))
    return path
