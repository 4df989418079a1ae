"""Picture files: read, turned upright and made RGB, or refused with what is wrong with them."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path

from effnet_helpers import runtime  # noqa: F401  loads TensorFlow without its start-up chatter

import numpy as np
import tensorflow as tf
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # by Pillow's names
ORIENTATION = 0x0112  # EXIF's tag
TURNS = dict(enumerate(("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE",
                        "ROTATE_90"), start=2))  # fmt: skip
# Remarks on damaged metadata and on very large pictures; `data.audit` says both, once, and with what to do.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_rgb(path: str | os.PathLike, image_size: int | None = None, mode: str = "crop", bits: int = 16) -> Image.Image:
    """Reads a picture file as a Pillow image in mode RGB, as `load_image` does before it makes numbers of it.

    Args:
        path: The file.
        image_size: If given, a JPEG that is at least twice as large as `resize` to this size needs is decoded at a
            half, a quarter or an eighth of its scale, which its format allows and which takes a fraction of the time.
        mode: How it will be resized, see `resize`.
        bits: How many bits the values of 16-bit pictures use, such as 12 of many cameras and X-rays.

    Raises:
        ValueError: If there is no such file, or it cannot be read as a picture.
    """
    path = os.path.expanduser(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image_size is not None:
                needed = image_size / (max(image.size) if mode == "pad" else min(image.size))
                image.draft(None, (math.ceil(image.width * needed), math.ceil(image.height * needed)))
            is_halved = coding_of(image).endswith(";16B") and not image.mode.startswith("I")
            image.load()
            return upright_rgb(image, bits, _deep_colours(path) if is_halved and bits < 16 else None)
    except Exception as error:  # decoders raise anything from OSError to SyntaxError on damaged files
        raise ValueError(
            f"No picture could be read: {why_unreadable(Path(path), error)}. "
            f"Formats that work: {', '.join(FORMATS)}. Received: path={os.fspath(path)!r}"
        ) from None


def picture_size(path: str | os.PathLike) -> tuple[int, int] | None:
    """Reads from the first bytes of a picture how wide and how high it is stored; None if it is no picture."""
    try:
        with Image.open(os.path.expanduser(path), formats=FORMATS) as image:
            return image.size
    except Exception:  # see `read_rgb`
        return None


def coding_of(image: Image.Image) -> str:
    """Returns how the pixels of a picture that was opened and not loaded are stored: "RGB;16B", which Pillow halves."""
    return str(image.tile[0].args) if image.tile else ""


def orientation_of(image: Image.Image) -> int:
    """Returns the EXIF orientation of a picture, 1 to 8; 1, which is upright, where it has none or EXIF is damaged."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # whatever damaged EXIF raises; it says nothing of the pixels
        return 1
    return orientation if orientation in range(1, 9) else 1


def upright_rgb(image: Image.Image, bits: int = 16, deep: np.ndarray | None = None) -> Image.Image:
    """Turns a loaded picture upright by its EXIF orientation, and makes it RGB: what every reader of pictures does.

    Args:
        image: The picture, in any mode.
        bits: How many bits its values use if it is 16-bit grey.
        deep: Its pixels in 16 bits, `(height, width, channels)`, where Pillow gives half of them.
    """
    turn, transparency = TURNS.get(orientation_of(image)), image.info.get("transparency")
    if deep is None and image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        deep, transparency = np.asarray(image), None
    if deep is not None:
        image = Image.fromarray(np.round(deep * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8))
    if turn:  # not by ImageOps.exif_transpose, which writes EXIF anew and stops at tags that it cannot write
        image = image.transpose(Image.Transpose[turn])
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or transparency is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _deep_colours(path: str | os.PathLike) -> np.ndarray | None:
    """Reads a PNG's 16 bits a channel with TensorFlow; None if it refuses what Pillow reads."""
    try:
        return tf.io.decode_png(Path(path).read_bytes(), dtype=tf.uint16).numpy()
    except tf.errors.OpError:
        return None


def why_unreadable(path: Path, error: Exception) -> str:
    """Says in a few words why a picture could not be decoded."""
    if isinstance(error, PermissionError):
        return "it may not be read"
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "it is a folder"
    if path.stat().st_size == 0:
        return "zero bytes"
    if isinstance(error, Image.UnidentifiedImageError):
        return "its content is not a picture"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow takes for a picture"
    return f"truncated or damaged ({getattr(error, 'strerror', None) or error})"  # the system's own text has the path
