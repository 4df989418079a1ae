"""Precision and batch size for the device that this computer has: one line in a notebook, which says what it chose.

Mixed precision computes in float16 and keeps weights in float32 (Micikevicius et al., arXiv 1710.03740). NVIDIA's GPUs
gain from it from compute capability 7.0 on (TensorFlow's guide to mixed precision); processors lose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from effnet_helpers import models, records, runtime
from effnet_helpers.runtime import Gpu, keras

import numpy as np

CPU_BATCH = 32
SMALLEST_BATCH, LARGEST_BATCH = 8, 512
SHARE_OF_MEMORY = 0.8
"""The rest is for what a measurement of one step does not see: other layouts, fragments, validation."""

FLOAT16_GAINS_FROM = (7, 0)

Measure = Callable[[str, int], tuple[int, int]]
"""Takes a precision and a batch size; gives bytes at the peak of a training step and bytes there are."""


@dataclass(frozen=True)
class DeviceSettings:
    """What was chosen for a device, and why.

    Attributes:
        precision: "float32" or "mixed_float16", a dtype policy of Keras.
        batch_size: images in a step.
        reason: one sentence.
    """

    precision: str
    batch_size: int
    reason: str


def use_device(batch_size: int, variant: str, image_size: int) -> int:
    """Chooses precision and, if asked to, batch size; sets the precision for models built from now on; says so.

    Call it before `runtime.set_seed`, since a measurement builds a network with random weights.

    Args:
        batch_size: Images in a step, or 0 to choose: 32 on a processor; on an NVIDIA GPU the largest power of two up to
            512 with which training the whole network is expected to take at most 80 % of its memory.
        variant: Which EfficientNet will be trained.
        image_size: Side of its images in pixels.

    Returns:
        The batch size to use.

    Raises:
        ValueError: If `batch_size` is no whole number from 0 up, or a GPU has no memory for even 8 images.
    """
    is_number = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    records.expect(is_number and batch_size >= 0, "batch_size", batch_size, "a whole number from 1 up, or 0 to choose")
    settings = choose(
        batch_size, runtime.first_gpu(), lambda precision, images: _measure(precision, images, variant, image_size)
    )
    if settings.precision != "float32":
        keras.config.set_dtype_policy(settings.precision)
    print(settings.reason)
    return settings.batch_size


def choose(batch_size: int, gpu: Gpu | None, measure: Measure) -> DeviceSettings:
    """Decides; everything that it needs to know comes in.

    Args:
        batch_size: Images in a step, or 0 to choose.
        gpu: The GPU, or None where there is only a processor.
        measure: Called if a batch size for an NVIDIA GPU is to be chosen.

    Raises:
        ValueError: If a GPU has no memory for even 8 images; `measure` says so by a `MemoryError`.
    """
    if gpu is None or gpu.compute_capability is None:
        kind = "a processor without GPU" if gpu is None else f"{gpu.name}, not an NVIDIA GPU"
        return _settings(kind, "float32", batch_size or CPU_BATCH, "as set" if batch_size else "the usual size")
    gains = tuple(gpu.compute_capability) >= FLOAT16_GAINS_FROM
    precision = "mixed_float16" if gains else "float32"
    capability = ".".join(map(str, gpu.compute_capability))
    kind = (
        f"{gpu.name} of compute capability {capability}, {'which gains' if gains else 'too low to gain'} from float16"
    )
    if batch_size:
        return _settings(kind, precision, batch_size, "as set")
    try:
        peak, total = measure(precision, SMALLEST_BATCH)
    except MemoryError as error:
        raise ValueError(
            f"batch_size: {gpu.name} has no memory for a training step with {SMALLEST_BATCH} images. Choose a smaller "
            f"variant or image_size, or try a batch_size below {SMALLEST_BATCH}. Received: {batch_size}"
        ) from error
    # In proportion, although a part of the peak is the same for every batch: that errs on the side that fits.
    fitting = int(SHARE_OF_MEMORY * total / peak * SMALLEST_BATCH)
    chosen = min(max(2 ** (fitting.bit_length() - 1) if fitting else 0, SMALLEST_BATCH), LARGEST_BATCH)
    why = f"since {SMALLEST_BATCH} took {peak / 2**30:.2f} of {total / 2**30:.1f} GB"
    return _settings(kind, precision, chosen, why)


def _settings(kind: str, precision: str, batch_size: int, why: str) -> DeviceSettings:
    sentence = f"Device: {kind}; so {precision}, and {batch_size} images in a step, {why}."
    return DeviceSettings(precision, batch_size, sentence)


def _measure(precision: str, batch_size: int, variant: str, image_size: int) -> tuple[int, int]:
    """Trains a network with all its blocks open for one step: no lesson takes more memory for the same batch."""
    keras.config.set_dtype_policy(precision)
    model = models.add_head(models.build_backbone(variant, weights=None, image_size=image_size), num_classes=2)
    model.compile(keras.optimizers.Adam(), loss="sparse_categorical_crossentropy")
    images = np.zeros((batch_size, image_size, image_size, 3), "float32")
    return runtime.peak_gpu_memory(lambda: model.train_on_batch(images, np.zeros(batch_size, "int32")))
