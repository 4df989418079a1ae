import json
import os
import re
import subprocess
import sys
from pathlib import Path

from effnet_helpers import machine, runtime

import keras
import numpy as np
import pytest
import tensorflow as tf

KNOWN = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795382890.962318 3154 port.cc:153] oneDNN custom operations are on. You may see slightly different "
    "numerical results due to floating-point round-off errors from different computation orders.\n"
    "I0000 00:00:1795382890.962676 3154 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not "
    "be used.\n"
    "2025-01-01 00:00:00.000000: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is "
    "optimized to use available CPU instructions in performance-critical operations.\n"
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate "
    "compiler flags.\n"
)
NO_DRIVER = "E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: UNKNOWN ERROR (303)\n"
BROKEN_DRIVER = (
    "E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\n"
)
UNKNOWN = "W0000 something_new.cc:1] planted by a test\n"


def run_python(code, path="", **environment):
    """Runs code in a new process, with a folder searched before the installed packages."""
    env = {**os.environ, "PYTHONPATH": str(path), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)


@pytest.fixture
def noisy_tensorflow(tmp_path):
    """A folder with stand-ins for TensorFlow and Keras that are noisy at import and at the first look for devices."""
    Path(tmp_path, "keras.py").write_text("from unittest.mock import MagicMock\nconfig = MagicMock()\n")
    Path(tmp_path, "tensorflow.py").write_text(
        "import contextlib, os\n"
        "def say(text):\n"
        "    with contextlib.suppress(OSError):\n"  # native code does not mind a closed descriptor either
        "        os.write(2, text.encode())\n"
        f"say({KNOWN + UNKNOWN!r})\n"
        "class config:\n"
        f"    list_physical_devices = staticmethod(lambda: say({NO_DRIVER!r}))\n"
        "    class experimental:\n"
        "        enable_tensor_float_32_execution = staticmethod(lambda enabled: None)\n"
    )
    return tmp_path


def test_float32_is_float32_on_a_gpu_and_memory_is_taken_as_needed():
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert "TF_FORCE_GPU_ALLOW_GROWTH" in os.environ


def test_package_alone_loads_no_framework():
    loaded = run_python(
        "import sys, effnet_helpers; print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_start_drops_known_lines_and_passes_on_the_rest(noisy_tensorflow):
    run = run_python("from effnet_helpers import runtime; print('alive')", noisy_tensorflow)
    assert run.stdout == "alive\n"
    assert run.stderr == UNKNOWN


def test_level_0_shows_everything(noisy_tensorflow):
    run = run_python("from effnet_helpers import runtime", noisy_tensorflow, TF_CPP_MIN_LOG_LEVEL="0")
    assert run.stderr == KNOWN + UNKNOWN + NO_DRIVER


def test_kept_activations_are_served_without_a_word_of_tensorflow():
    """It prints an error at the sight of float16, on processors that do not compute with it: most of them."""
    served = run_python(
        "from effnet_helpers import data; import numpy as np\n"
        "print(*data.from_arrays(np.ones((1, 1), 'float16'), [0]).take(1).as_numpy_iterator())"
    )
    assert served.stdout.startswith("(array([[1.]], dtype=float32)")
    assert served.stderr == ""


@pytest.mark.parametrize("absent", ["import os; os.close(2)", "import os, sys; sys.stderr = None; os.close(2)"])
def test_start_without_descriptor_2(noisy_tensorflow, absent):
    run = run_python(f"{absent}\nfrom effnet_helpers import runtime; print('alive')", noisy_tensorflow)
    assert (run.returncode, run.stdout) == (0, "alive\n")


def test_start_survives_a_failing_import_and_shows_why(noisy_tensorflow):
    with Path(noisy_tensorflow, "tensorflow.py").open("a") as stand_in:
        stand_in.write("raise ImportError('no engine')")
    run = run_python("from effnet_helpers import runtime", noisy_tensorflow)
    assert run.returncode != 0
    assert UNKNOWN in run.stderr
    assert "no engine" in run.stderr
    assert "oneDNN" not in run.stderr


def test_notebook_start_is_silent_and_records_leave_their_mime(run_cells):
    start, record, planted, pause = run_cells(
        "from effnet_helpers import records, runtime\nimport tensorflow as tf\nx = tf.zeros(3) + 1",
        "records.record('val_accuracy', 0.81253)",
        f"import os\nwith runtime.filtered_stderr():\n    written = os.write(2, {(UNKNOWN + KNOWN).encode()!r})",
    ).cells
    assert start.outputs == []
    assert record.outputs[0].data == {
        "text/html": "",
        "text/plain": "val_accuracy = 0.8125",
        "application/vnd.effnet.record+json": {"name": "val_accuracy", "value": 0.81253},
    }
    stderr = [output.text for output in planted.outputs + pause.outputs if output.get("name") == "stderr"]
    assert "".join(stderr) == UNKNOWN


def test_filter_keeps_a_driver_failure_that_has_a_gpu_behind_it(capfd):
    with runtime.filtered_stderr():
        os.write(2, (NO_DRIVER + BROKEN_DRIVER).encode())
    assert capfd.readouterr().err == BROKEN_DRIVER


def test_filter_passes_on_lines_of_a_failing_body_and_bytes_that_are_no_text(capfdbinary):
    with pytest.raises(RuntimeError, match="inside"), runtime.filtered_stderr():
        os.write(2, b"\xff no text, no line end")
        raise RuntimeError("inside")
    assert capfdbinary.readouterr().err == b"\xff no text, no line end"


def test_filter_takes_other_patterns(capfd):
    with runtime.filtered_stderr((re.compile("^drop"),)):
        os.write(2, b"drop me\nkeep me, and do not drop\n")
    assert capfd.readouterr().err == "keep me, and do not drop\n"


def test_keras_settings_of_other_projects_do_not_count_and_are_said(tmp_path):
    foreign = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.1}
    Path(tmp_path, "keras.json").write_text(json.dumps(foreign))
    code = (
        "from effnet_helpers import runtime\nimport json, keras\n"
        "print(json.dumps({name: getattr(keras.config, name)() for name in runtime.machine.KERAS_SETTINGS}))\n"
        "print(keras.layers.Dense(1).compute_dtype)"
    )
    run = run_python(code, KERAS_HOME=str(tmp_path), KERAS_BACKEND="torch")
    settings, dtype = run.stdout.splitlines()
    assert (json.loads(settings), dtype) == (machine.KERAS_SETTINGS, "float32")
    assert run.stderr == (
        "backend is torch in KERAS_BACKEND, image_data_format is channels_first in keras.json, floatx is float64 in "
        "keras.json, epsilon is 0.1 in keras.json, which does not count here: effnet_helpers uses tensorflow, "
        "channels_last, float32, 1e-07.\n"
    )


def test_keras_on_another_backend_is_refused_in_one_sentence(noisy_tensorflow):
    with Path(noisy_tensorflow, "keras.py").open("a") as stand_in:
        stand_in.write("config.backend.return_value = 'jax'\n")
    run = run_python("import keras\nfrom effnet_helpers import runtime", noisy_tensorflow)
    assert run.stderr.splitlines()[-1] == (
        "ImportError: effnet_helpers needs Keras on TensorFlow, but here Keras has been imported on 'jax' before. "
        "Restart Python, and import effnet_helpers first."
    )


def test_set_seed_repeats_numpy_and_keras():
    def draw():
        return np.random.rand(), keras.random.normal((2,)).numpy().tolist()  # noqa: NPY002

    runtime.set_seed(3)
    first = draw()
    assert draw() != first
    runtime.set_seed(3)
    assert draw() == first


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "1", True, None])
def test_set_seed_refuses(seed):
    with pytest.raises(ValueError, match=r"seed: expected an integer from 0 to 4294967295\. Received: "):
        runtime.set_seed(seed)


def test_describe_is_one_sentence_without_paths():
    machine = runtime.describe()
    assert machine.cores >= 1
    assert 0.5 < machine.memory_gb < 100_000
    text = str(machine)
    assert keras.__version__ in text
    assert ("no GPU" in text) == (machine.gpus == ())
    assert "/" not in text
    assert text.endswith(".")


def test_machine_names_its_gpus():
    machine = runtime.Machine("Linux x86_64", "3.12.1", "2.21.0", "3.15.1", 8, 31.4, ("NVIDIA L4", "NVIDIA L4"))
    assert str(machine) == (
        "Python 3.12.1, TensorFlow 2.21.0 and Keras 3.15.1 on Linux x86_64 with 8 CPU cores, 31 GB of memory and "
        "GPU NVIDIA L4, NVIDIA L4."
    )
