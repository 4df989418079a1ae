"""One training in several processes, or on devices of one: `python together.py devices|processes OUT [head]`."""

import dataclasses
import sys
from pathlib import Path

from effnet_helpers import data, models, training

import numpy as np
import tensorflow as tf
import tiny

AUGMENT = {"flip": "both", "rotation": 20}
HEAD = {"epochs": 2, "batch_size": 16, "learning_rate": 0.03}
TUNING = {
    "steps": 4,
    "validations": 2,
    "batch_size": 37,  # of 38 images: in the last batch one replica has none
    "learning_rate": 3e-3,
    "warmup_steps": 0,
    "augment": AUGMENT,
    "balance": "class_weights",
}


def train(processes=None, folder=None, head=False):
    """Fine-tunes; dropout, skipped blocks, batch normalization, views and class weights all take part."""
    depth = tiny.TINY
    tiny.TINY = dataclasses.replace(depth, depth=0.3)
    try:
        model = tiny.tiny_classifier()
    finally:
        tiny.TINY = depth
    textile = data.load("textile", image_size=32, resize_mode="crop", limit_per_class=19)
    common = {"processes": processes, "checkpoint_dir": folder}
    fits = [training.fit_head(model, textile, **HEAD, **common)] if head else []
    models.unfreeze_blocks(model, last=2)
    return model, [*fits, training.fine_tune(model, textile, **TUNING, views=2, **common)]


def result(model, fits, folder):
    """All that two trainings are compared by: model and history, and the last weights and state of the optimizer."""
    last = max(Path(folder).glob("fine_tune-0*.npz"))
    with np.load(last) as archive:
        state = [archive[name] for name in archive.files[1:]]
    histories = [np.array(list(fit.history.values())) for fit in fits]
    return [*(variable.numpy() for variable in model.variables), *histories, *state]


def processes_of(kind):
    """Joins the other processes, or takes two devices."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if kind == "devices":
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
        return training.Processes(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    return training.join_processes()


if __name__ == "__main__":
    kind, out, *head = sys.argv[1:]
    joined = processes_of(kind)
    trained = train(joined, f"{out}-state", bool(head))
    joined.wait()
    np.savez(f"{out}-{joined.rank}", *result(*trained, f"{out}-state"))
