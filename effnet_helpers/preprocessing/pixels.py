"""A picture as numbers, brought to size; a batch augmented."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from effnet_helpers.preprocessing.pictures import read_rgb
from effnet_helpers.variants import WEIGHTS

import numpy as np
import tensorflow as tf
from PIL import Image

RESIZE_MODES = ("crop", "pad", "squash")
_UNKNOWN_MODE = 'resize mode must be "crop", "pad" or "squash". Received: {!r}'
AUGMENTATIONS = {
    "upright": {"translation": 0.05, "zoom": 0.1, "rotation": 7},
    "mirrored": {"translation": 0.05, "zoom": 0.1, "rotation": 7, "flip": "horizontal"},
    "any-way-up": {"translation": 0.05, "zoom": 0.1, "rotation": 180, "flip": "both"},
}
"""In one word, what a picture of a class may look like and still be of that class: arguments of `augment`."""
CROP_PADDING = 32  # of the published evaluation crop, see `load_image`


def load_image(path: str | os.PathLike, image_size: int | None = None, weights: str = "imagenet") -> np.ndarray:
    """Reads a picture file as float32 pixels.

    Reads JPEG, PNG, WebP, BMP and GIF (the first frame), turned the way its EXIF orientation says. Grey and palette
    pictures become RGB, transparent ones are laid on white, 16-bit grey is scaled to 8 bits, CMYK is converted
    without a colour profile.

    Args:
        path: The file.
        image_size: If given, the picture is cropped and resized as where the accuracy of its weights was measured: in
            EfficientNet's published evaluation (`preprocessing.py` in github.com/tensorflow/tpu,
            models/official/efficientnet) to the central square whose side is `image_size / (image_size + 32)` of the
            short side, and from there by bicubic interpolation without antialiasing: `tf.image.resize`. (Their code
            calls TensorFlow 1's, which places pixels half a pixel off, and for Lite asks for bilinear; neither is
            followed.) For your own classes pictures are brought to size by `resize`, which is antialiased.
        weights: Whose evaluation: a name in `variants.WEIGHTS`. "ra4" was measured with other crops, and antialiased.

    Returns:
        float32 array `(height, width, 3)`, values in [0, 255].

    Raises:
        ValueError: If there is no such file, or it cannot be read as a picture.
    """
    image = read_rgb(path)
    if image_size is not None:
        check_size(image_size)
        if (record := WEIGHTS.get(weights)) is None:
            raise ValueError(f"`weights` must be one of {', '.join(map(repr, WEIGHTS))}. Received: {weights!r}")
        side = max(1, int((record.crop_fraction or image_size / (image_size + CROP_PADDING)) * min(image.size)))
        left, top = (image.width - side + 1) // 2, (image.height - side + 1) // 2
        pixels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float32)
        pixels = tf.image.resize(pixels, (image_size, image_size), "bicubic", antialias=record.antialias)
        return np.clip(pixels, 0.0, 255.0)  # what overshoots beside an edge
    return np.asarray(image, dtype=np.float32)


def read_resized(path: str | os.PathLike, image_size: int, mode: str = "crop", bits: int = 16) -> np.ndarray:
    """Reads a picture file and brings it to size, as for training and prediction alike.

    Args:
        path: The file.
        image_size: Side of the result in pixels.
        mode: See `resize`.
        bits: How many bits the values of 16-bit pictures use.

    Returns:
        uint8 array `(image_size, image_size, 3)`.

    Raises:
        ValueError: If there is no such file, or it cannot be read as a picture.
    """
    return np.asarray(resize_picture(read_rgb(path, image_size, mode, bits), image_size, mode))


def resize_picture(image: Image.Image, image_size: int, mode: str = "crop") -> Image.Image:
    """Does what `resize` does to a Pillow image, several times as fast; pixels differ by rounding, at most 2.

    Args:
        image: In mode RGB.
        image_size: Side of the result in pixels.
        mode: See `resize`.

    Raises:
        ValueError: If `mode` or `image_size` is not one of those that `resize` takes.
    """
    check_size(image_size)
    target, bicubic = (image_size, image_size), Image.Resampling.BICUBIC
    width, height = image.size
    if mode == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side)).resize(target, bicubic)
    if mode == "pad":
        shrink = image_size / max(width, height)
        if shrink < 1:
            image = image.resize([max(1, round(side * shrink)) for side in image.size], bicubic)
        left, top = (image_size - image.width) // 2, (image_size - image.height) // 2
        return image.crop((-left, -top, image_size - left, image_size - top))  # black where there is no picture
    if mode == "squash":
        return image.resize(target, bicubic)
    raise ValueError(_UNKNOWN_MODE.format(mode))


def resize(images: tf.Tensor, image_size: int, mode: str = "crop") -> tf.Tensor:
    """Brings images to a square of `image_size`; works eagerly and inside `tf.data`, also on unknown shapes.

    Resampling is bicubic and antialiased. Where the size already fits, nothing is resampled and pixels stay exact.

    Args:
        images: Tensor `(height, width, 3)` or `(batch, height, width, 3)`, integer or float, values in [0, 255].
        image_size: Side of the result in pixels.
        mode: `"crop"` scales the short side to `image_size` and keeps the centre. `"pad"` keeps the whole picture:
            it never enlarges, shrinks only what is larger, and surrounds the rest evenly with black (0).
            `"squash"` ignores the aspect ratio.

    Returns:
        float32 tensor `(image_size, image_size, 3)`, with a batch axis in front if there was one, in [0, 255].

    Raises:
        ValueError: If `mode` or `image_size` is not one of the above.
    """
    check_size(image_size)
    images = tf.convert_to_tensor(images)
    height, width = tf.unstack(tf.shape(images)[-3:-1])
    target = (image_size, image_size)
    if mode == "crop":
        # The centre is cut out before scaling, not after: the same picture for fewer pixels to resample.
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images = _resample(images[..., top : top + side, left : left + side, :], target)
    elif mode == "pad":
        shrink = tf.minimum(image_size / tf.maximum(height, width), 1.0)
        sides = [tf.maximum(1, tf.cast(tf.round(tf.cast(n, tf.float64) * shrink), tf.int32)) for n in (height, width)]
        images = tf.image.resize_with_crop_or_pad(_resample(images, sides), *target)
    elif mode == "squash":
        images = _resample(images, target)
    else:
        raise ValueError(_UNKNOWN_MODE.format(mode))
    return tf.ensure_shape(images, (*images.shape[:-3], *target, 3))


def augment(
    images: tf.Tensor, *, seed: tf.Tensor, rotation: float = 0.0, translation: float = 0.0,
    zoom: float = 0.0, flip: str | None = None, contrast: float = 0.0, rows: tf.Tensor | None = None,
) -> tf.Tensor:  # fmt: skip
    """Changes each image of a batch a little, at random, by one projective warp for the whole batch.

    Every image gets its own draw, each drawn evenly from minus to plus the given strength. What comes into view at the
    border is the image reflected. The same seed gives the same result, eagerly and inside `tf.data`; with
    all strengths at 0 the images come back exactly.

    Args:
        images: float32 tensor `(batch, height, width, 3)`, values in [0, 255].
        seed: Integer tensor of shape `(2,)`.
        rotation: Largest angle, in degrees.
        translation: Largest shift, as a fraction of the side. In whole pixels, so that a shift alone does not blur.
        zoom: Largest enlargement and shrinking, as a fraction below 1: 0.1 scales by 0.9 to 1.1.
        flip: `None`, `"horizontal"` (left and right change places), `"vertical"` or `"both"`; each half the time.
        contrast: Largest change of contrast around the image's mean, as a fraction: 0.2 scales by 0.8 to 1.2.
        rows: Where these images are a share of a larger batch: the row of the first one, and how many rows there are.
            Each image then comes out as in the whole batch.

    Returns:
        float32 tensor of the same shape, values in [0, 255].

    Raises:
        ValueError: If `flip` is not one of the above, or `zoom` is 1 or more.

    Example:
        >>> images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
        >>> varied = preprocessing.augment(images, seed=(0, 1), rotation=10, flip="horizontal")
        >>> again = preprocessing.augment(images, seed=(0, 1), rotation=10, flip="horizontal")
        >>> bool(np.all(varied == again))
        True
    """
    if flip not in (None, "horizontal", "vertical", "both") or not 0 <= zoom < 1:
        raise ValueError(f'flip: None, "horizontal", "vertical", "both"; zoom: 0 to 1. Received: {flip!r}, {zoom!r}')
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    first, of = (0, tf.shape(images)[0]) if rows is None else tf.unstack(tf.cast(rows, tf.int32), 2)
    draw = tf.random.stateless_uniform((7, of), seed, -1.0, 1.0)[:, first : first + tf.shape(images)[0]]
    angle, scale = draw[0] * rotation * math.pi / 180, 1.0 + draw[1] * zoom
    cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
    mirror_x = tf.where(draw[2] < 0, -1.0, 1.0) if flip in ("horizontal", "both") else tf.ones_like(cos)
    mirror_y = tf.where(draw[3] < 0, -1.0, 1.0) if flip in ("vertical", "both") else tf.ones_like(cos)
    # Output pixel (x, y) is taken from input pixel (mirror_x (cos x - sin y) + left, mirror_y (sin x + cos y) + top).
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    left = centre_x - mirror_x * (cos * centre_x - sin * centre_y) + tf.round(draw[4] * translation * width)
    top = centre_y - mirror_y * (sin * centre_x + cos * centre_y) + tf.round(draw[5] * translation * height)
    rows = (mirror_x * cos, -mirror_x * sin, left, mirror_y * sin, mirror_y * cos, top)
    # Shifts by whole pixels and flips land on pixels: nothing lies in between, and the nearest is found sooner.
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=tf.stack([*rows, 0 * cos, 0 * cos], axis=1), output_shape=tf.shape(images)[1:3],
        fill_value=0.0, interpolation="BILINEAR" if rotation or zoom else "NEAREST", fill_mode="REFLECT",
    )  # fmt: skip
    gain = tf.reshape(1.0 + draw[6] * contrast, (-1, 1, 1, 1))
    mean = tf.reduce_mean(warped, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value(warped * gain + mean * (1.0 - gain), 0.0, 255.0)


def watch_pixel_range(batches: tf.data.Dataset, tell: Callable[[], None]) -> tf.data.Dataset:
    """Calls a function whenever a batch passes whose pixels lie in [0, 1], not in [0, 255]: maximum above 0, at most 1.

    Args:
        batches: Dataset whose elements begin with images.
        tell: What to call.

    Returns:
        Dataset of the same elements.
    """

    def check(*batch: tf.Tensor) -> object:
        brightest = tf.cast(tf.reduce_max(tf.nest.flatten(batch)[0]), tf.float32)
        tf.cond(
            (brightest > 0) & (brightest <= 1),
            lambda: tf.numpy_function(lambda: tell() or True, [], tf.bool),
            lambda: tf.constant(False),
        )
        return batch[0] if len(batch) == 1 else batch

    return batches.map(check)


def check_size(image_size: int) -> None:
    """Raises a ValueError unless `image_size` is a whole number of pixels, 1 or more."""
    if isinstance(image_size, bool) or not isinstance(image_size, int | np.integer) or image_size < 1:
        raise ValueError(f"image_size must be a whole number of pixels, 1 or more. Received: {image_size!r}")


def _resample(images: tf.Tensor, size: tuple[int, int] | list[tf.Tensor]) -> tf.Tensor:
    """Antialiased bicubic, or nothing at all where the size already fits."""

    def resampled() -> tf.Tensor:
        # One axis after the other, as Pillow does: beside a hard edge it matters when values are clipped.
        wide = tf.image.resize(images, (tf.shape(images)[-3], size[1]), "bicubic", antialias=True)
        result = tf.image.resize(tf.clip_by_value(wide, 0.0, 255.0), size, "bicubic", antialias=True)
        return tf.clip_by_value(result, 0.0, 255.0)

    return tf.cond(
        tf.reduce_all(tf.shape(images)[-3:-1] == tf.stack(size)), lambda: tf.cast(images, tf.float32), resampled
    )
