"""What all tests share: no window, a cache of their own, fixed seeds, our own warnings as errors, a real kernel.

Hundreds of networks are traced here to run a few steps each. TensorFlow's optimizer of graphs takes longer over each
than it saves then, so it is off (fitting and fine-tuning a tiny network: 5.7 instead of 8.8 seconds of CPU).
"""

import dataclasses
import os

os.environ["MPLBACKEND"] = "Agg"

from effnet_helpers import runtime

import nbformat
import pytest
import tensorflow as tf
import tiny
from hypothesis import settings
from nbclient import NotebookClient

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
tf.config.experimental.enable_tensor_float_32_execution(False)  # on a GPU: tests compare to more than its 10 bits

# the same examples in every run, and no verdict on how long one takes
settings.register_profile("course", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("course")


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error:::effnet_helpers")


def pytest_collection_modifyitems(items):
    for item in items if os.name == "nt" else ():
        if item.get_closest_marker("posix"):
            item.add_marker(pytest.mark.skip(reason="not on Windows"))


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_session(tmp_path_factory):
    """Keeps tests, and the processes they start, away from the reader's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def fixed_start():
    """What `effnet train` and lessons choose for a GPU does not reach the next test."""
    runtime.keras.config.set_dtype_policy("float32")
    runtime.set_seed(0)


@pytest.fixture(scope="module")
def short_network():
    """A tiny network with one block that is skipped at random: what takes long is that Keras traces each anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "TINY", dataclasses.replace(tiny.TINY, depth=0.3))
        yield


@pytest.fixture(scope="session")
def run_cells():
    """Gives a function that runs cells in a fresh kernel and returns the notebook with its outputs."""

    def run(*sources):
        # What native code writes to descriptor 2 reaches a notebook a moment later: leave it time to arrive.
        cells = [nbformat.v4.new_code_cell(source) for source in (*sources, "import time; time.sleep(1)")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PYTEST_CURRENT_TEST", raising=False)  # under pytest a kernel leaves descriptor 2 alone
            NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        return notebook

    return run
