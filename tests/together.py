"""Trainings in several processes, or on devices of one: `python together.py devices|processes OUT NAMES [WHERE …]`.

With WHERE, which is a moment of `MOMENTS`, and for each process a signal or none, those that get one are hit there.
"""

import dataclasses
import functools
import os
import signal
import sys
import threading
import time
from pathlib import Path

from effnet_helpers import data, evaluation, models, training
from effnet_helpers.training import checkpoint
from effnet_helpers.training.distributed import Replicas

import keras
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
    "views": 2,
}
TRAININGS = {
    "kept views": (None, TUNING, "float32"),
    "head first": (HEAD, TUNING, "float32"),
    "all of it, until it stops early": (
        None,
        {**TUNING, "cache": False, "balance": "balanced_sampling", "steps": 8, "validations": 8, "patience": 2},
        "float32",
    ),
    "float16": (None, {**TUNING, "steps": 6}, "mixed_float16"),
}
MOMENTS = {  # what begins there, and which time
    "set-up": (training, "join_processes", 1),
    "features in shares": (training.Processes, "join", 2),
    "head": (Replicas, "_train_on", 4),  # its second pass
    "validation": (Replicas, "evaluate", 2),
    "writing a checkpoint": (checkpoint.Checkpoint, "_write", 3),
    "a checkpoint half written": (checkpoint.os, "fsync", 3),
    "unfreezing": (models, "unfreeze_blocks", 1),
    "statistics": (Replicas, "training_pass", 2),  # of batch normalization, before fine-tuning is validated
}


def textile():
    return data.load("textile", image_size=32, resize_mode="crop", limit_per_class=19)


def train(name, processes=None, folder=None):
    """Fine-tunes; dropout, skipped blocks, batch normalization, views and class weights all take part."""
    head, tuning, policy = TRAININGS[name]
    depth, before = tiny.TINY, keras.config.dtype_policy()
    tiny.TINY = dataclasses.replace(depth, depth=0.3)
    keras.config.set_dtype_policy(policy)
    try:
        model = tiny.tiny_classifier()
        common = {"processes": processes, "checkpoint_dir": folder}
        fits = [training.fit_head(model, textile(), **head, **common)] if head else []
        models.unfreeze_blocks(model, last=2)
        return model, [*fits, training.fine_tune(model, textile(), **tuning, **common)]
    finally:
        tiny.TINY = depth
        keras.config.set_dtype_policy(before)


def result(model, fits, folder, processes=None):
    """All that two trainings are compared by: model, history, answers, and the last weights and optimizer's state."""
    if processes is None:
        answers = evaluation.evaluate(model, textile(), "test").probabilities
    else:
        answers = training.predict_in_shares(model, textile(), "test", 7, processes)
    last = max(Path(folder).glob("fine_tune-0*.npz"))
    with np.load(last) as archive:
        state = [archive[name] for name in archive.files[1:]]
    histories = [np.array(list(fit.history.values())) for fit in fits]
    return [*(variable.numpy() for variable in model.variables), *histories, *state, answers]


def processes_of(kind):
    """Joins the other processes, or takes two devices."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if kind == "devices":
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
        return training.Processes(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    return training.join_processes()


def be_hit(moment, sign, note):
    """Has this process get a signal, or hang, when `moment` comes, and notes when that was."""
    owner, name, call = MOMENTS[moment]
    real, calls = getattr(owner, name), []

    @functools.wraps(real)
    def hit(*args, **options):
        calls.append(0)
        if len(calls) == call:
            Path(note).write_text(str(time.time()))
            threading.Event().wait() if sign == "hangs" else os.kill(os.getpid(), getattr(signal, sign))
        return real(*args, **options)

    setattr(owner, name, hit)


if __name__ == "__main__":
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # as in conftest.py
    kind, out, names, *where = sys.argv[1:]
    if where:
        number = int(tf.distribute.cluster_resolver.TFConfigClusterResolver().task_id)
        if where[1 + number] != "none":
            be_hit(where[0], where[1 + number], f"{out}-hit")
    joined = processes_of(kind)
    for name in names.split(";"):
        folder = f"{out}-{name}-state"
        trained = train(name, joined, folder)
        joined.wait()
        np.savez(f"{out}-{name}-{joined.rank}", *result(*trained, folder, joined))
