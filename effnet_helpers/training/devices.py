"""Precision and batch size for the device that this computer has: one line in a notebook, which says what it chose.

Mixed precision computes in float16 and keeps weights in float32 (Micikevicius et al., arXiv 1710.03740). NVIDIA's GPUs
gain from it from compute capability 7.0 on (TensorFlow's guide to mixed precision); processors lose.
"""

from effnet_helpers import records, runtime
from effnet_helpers.runtime import keras

FLOAT16_GAINS_FROM = (7, 0)
PROCESSOR_BATCH, GPU_BATCH = 32, 64


def use_device(batch_size: int = 0) -> int:
    """Sets the precision for models that are built from now on, chooses a batch size if asked to, and says so.

    Args:
        batch_size: Images in a step; 0 takes 32 on a processor and 64 on a GPU.

    Returns:
        The batch size to use.

    Raises:
        ValueError: If `batch_size` is no whole number from 0 up.

    Example:
        >>> batch_size = training.use_device(batch_size=16)
        Device: ..., 16 images in a step.
    """
    is_number = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    records.expect(is_number and batch_size >= 0, "batch_size", batch_size, "a whole number from 1 up, or 0 to choose")
    gpu = runtime.first_gpu()
    gains = gpu is not None and tuple(gpu.compute_capability or ()) >= FLOAT16_GAINS_FROM
    device = "a processor without GPU" if gpu is None else gpu.name
    precision = "mixed_float16, from which it gains" if gains else "float32"
    batch_size = batch_size or (GPU_BATCH if gpu else PROCESSOR_BATCH)
    if gains:
        keras.config.set_dtype_policy("mixed_float16")
    print(f"Device: {device}; {precision}, {batch_size} images in a step.")
    return batch_size
