"""A quiet start of TensorFlow, seeds, and what a run ran on.

TensorFlow's native libraries write to file descriptor 2 while they load and when they first look for devices, whatever
the log level, and a notebook shows all of it. Importing this module loads TensorFlow and Keras with the lines that
are known to be harmless removed; anything else that is written meanwhile is passed on. Hence the order of imports in
notebooks: `from effnet_helpers import runtime` first.

What other projects have set in `KERAS_BACKEND` or `keras.json` does not count, and where it differs that is said: Keras
runs on TensorFlow, channels last, in float32.
"""

from __future__ import annotations

import contextlib
import logging
import numbers
import os
import platform
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from effnet_helpers import machine, records

import numpy as np

# Lines of a normal start. Matched by their message, since the prefix (date, level, thread) differs between versions.
HARMLESS_START_UP_LINES = tuple(
    re.compile(pattern)
    for pattern in (
        # Only introduces the lines that follow.
        r"All log messages before absl::InitializeLog\(\) is called are written to STDERR",
        # Announce instructions that are in use, or that a build from source could use in addition.
        r"oneDNN custom operations are on\. You may see slightly different numerical results",
        r"This TensorFlow binary is optimized (to use|with oneAPI)",
        r"^To enable the following instructions: .*rebuild TensorFlow with the appropriate compiler flags",
        # A computer without NVIDIA driver (303: no driver library) or without a GPU. Any other failure of cuInit is a
        # driver that does not work, which its owner wants to read.
        r"Could not find cuda drivers on your machine, GPU will not be used",
        r"failed call to cuInit: .*(UNKNOWN ERROR \(303\)|CUDA_ERROR_NO_DEVICE)",
        # TensorRT is an optional product that this course does not use.
        r"TF-TRT Warning: Could not find TensorRT",
        # Two of TensorFlow's own libraries register the same plug-ins; the second registration is ignored.
        r"Unable to register cu(DNN|BLAS|FFT) factory: Attempting to register factory for plugin",
        r"computation placer already registered\. Please check linkage",
    )
)


@dataclass(frozen=True)
class Gpu:
    """A graphics processor.

    Attributes:
        name: As its maker calls it.
        compute_capability: The version of NVIDIA's instruction set, such as (8, 9); None if it is of another maker.
    """

    name: str
    compute_capability: tuple[int, int] | None


@dataclass(frozen=True)
class Machine:
    """What a run ran on; memory in GB (2**30 bytes), one name for each GPU."""

    system: str
    python: str
    tensorflow: str
    keras: str
    cores: int
    memory_gb: float
    gpus: tuple[str, ...]

    def __str__(self) -> str:
        gpus = f"GPU {', '.join(self.gpus)}" if self.gpus else "no GPU"
        return (
            f"Python {self.python}, TensorFlow {self.tensorflow} and Keras {self.keras} on {self.system} "
            f"with {self.cores} CPU cores, {self.memory_gb:.0f} GB of memory and {gpus}."
        )


@contextlib.contextmanager
def filtered_stderr(harmless: tuple[re.Pattern[str], ...] = HARMLESS_START_UP_LINES) -> Iterator[None]:
    """Holds back what is written to file descriptor 2, then passes on the lines that match no harmless pattern.

    It works on the descriptor, not on `sys.stderr`, because native libraries know only the descriptor. A process
    without one (`pythonw`) runs unfiltered, and so does one where the reader asked for everything by setting
    `TF_CPP_MIN_LOG_LEVEL=0`: the way to read the last words of a library that kills Python while it loads.

    Args:
        harmless: Compiled patterns; a line in which one of them is found is dropped.
    """
    try:
        descriptor = os.dup(2)
    except OSError:
        descriptor = None
    if descriptor is None or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    with tempfile.TemporaryFile() as held_back:
        _flush_stderr()
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        finally:
            _flush_stderr()
            os.dup2(descriptor, 2)
            os.close(descriptor)
            held_back.seek(0)
            for line in held_back.read().splitlines(keepends=True):
                text = line.decode("utf-8", errors="replace")
                if not any(pattern.search(text) for pattern in harmless):
                    os.write(2, line)


def set_seed(seed: int) -> None:
    """Seeds Python, NumPy, TensorFlow and Keras.

    Runs on the same machine then draw the same numbers. Sums on several cores may still be added in another order, so
    that results agree closely rather than to the last digit.

    Args:
        seed: Integer from 0 to 2**32 - 1.

    Raises:
        ValueError: If `seed` is not such an integer.
    """
    is_integer = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    records.expect(is_integer and 0 <= seed < 2**32, "seed", seed, "an integer from 0 to 4294967295")
    keras.utils.set_random_seed(int(seed))


def gradient(function: Callable[[Any], Any], at: np.ndarray) -> np.ndarray:
    """Computes by how much a function's sum rises with each number that goes in.

    Args:
        function: From a float32 tensor to a tensor, of operations that Keras knows.
        at: The values of that tensor.

    Returns:
        float32, in the shape of `at`.

    Example:
        >>> runtime.gradient(lambda x: x**2, np.array([1.0, 3.0])).tolist()
        [2.0, 6.0]
    """
    point = tf.convert_to_tensor(at, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(point)
        out = function(point)
    return tape.gradient(out, point).numpy()


def describe() -> Machine:
    """Describes the machine and the versions in use; `print(describe())` gives one sentence."""
    gpus = tf.config.list_physical_devices("GPU")
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        tensorflow=tf.__version__,
        keras=keras.__version__,
        cores=machine.usable_cores(),
        memory_gb=round(machine.memory_gb()[0], 1),
        gpus=tuple(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus),
    )


def first_gpu() -> Gpu | None:
    """Returns the GPU that TensorFlow computes on unless told otherwise; None without one."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    return Gpu(details.get("device_name", "GPU"), details.get("compute_capability"))


def read_checkpoint(prefix: str | os.PathLike, wanted: Callable[[str], object]) -> dict[str, np.ndarray]:
    """Reads arrays of a TensorFlow checkpoint.

    Args:
        prefix: What the names of its files begin with.
        wanted: Is asked for each name.

    Raises:
        OSError: If a file is missing or damaged.
    """
    try:
        reader = tf.train.load_checkpoint(os.fspath(prefix))
        return {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map()) if wanted(name)}
    except (tf.errors.OpError, RuntimeError) as error:
        raise OSError(str(error).partition("\n")[0]) from error


def _flush_stderr() -> None:
    """Flushes `sys.stderr`, which is None under `pythonw`, so that its text stays in order with the descriptor's."""
    if sys.stderr is not None:
        sys.stderr.flush()


# Matplotlib announces on its first import ever that it looks through the installed fonts.
logging.getLogger("matplotlib.font_manager").addFilter(lambda line: "building the font cache" not in line.getMessage())
# Lessons build many networks and call them with several batch sizes; each is traced anew, as it must be.
logging.getLogger("tensorflow").addFilter(lambda line: "triggered tf.function retracing" not in line.getMessage())
# Information lines that appear later (a GPU's name, the version of cuDNN, XLA's services) are never about a problem.
# Warnings and errors stay on, and a level that the reader has chosen wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# Otherwise one kernel takes nearly all memory of all GPUs, and a second notebook that is opened finds none.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
machine.keep_freed_memory()
if "keras" in sys.modules and (_backend := sys.modules["keras"].config.backend()) != "tensorflow":
    raise ImportError(
        f"effnet_helpers needs Keras on TensorFlow, but here Keras has been imported on {_backend!r} before. Restart "
        "Python, and import effnet_helpers first."
    )
if _foreign := machine.foreign_keras_settings():
    _ours = ", ".join(map(str, machine.KERAS_SETTINGS.values()))
    print(f"{', '.join(_foreign)}, which does not count here: effnet_helpers uses {_ours}.", file=sys.stderr)
os.environ["KERAS_BACKEND"] = machine.KERAS_SETTINGS["backend"]
with filtered_stderr():
    import keras
    import tensorflow as tf

    keras.config.set_image_data_format(machine.KERAS_SETTINGS["image_data_format"])
    keras.config.set_floatx(machine.KERAS_SETTINGS["floatx"])
    keras.config.set_epsilon(machine.KERAS_SETTINGS["epsilon"])
    if keras.config.dtype_policy().name in ("float16", "float64"):  # made of another floatx
        keras.config.set_dtype_policy("float32")
    tf.config.list_physical_devices()  # the first look for devices tries CUDA, and says so
    # float32 means float32 on every device: TF32 keeps 10 bits of a mantissa, and what is compared with files that run
    # elsewhere would differ. Training on GPUs that have it is in float16 anyway, see `devices`.
    tf.config.experimental.enable_tensor_float_32_execution(False)

# Keras 3.15 says this of its own default, to everyone who trains on a `tf.data.Dataset`.
warnings.filterwarnings("ignore", message="`shuffle=True` was passed, but will be ignored")
