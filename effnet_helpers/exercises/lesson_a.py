"""Checks of the exercises of the appendix: the Keras example."""

import functools
import itertools
from collections.abc import Callable, Sequence

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np


@functools.cache
def _counts() -> list[int]:
    """How many weights of the small model train after each of the four lines."""
    import keras

    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    inner = keras.Sequential([keras.Input((4,)), *layers])
    outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(3)])
    counts = []
    for part, trains in ((inner, False), (layers[2], True), (inner, True), (layers[1], False)):
        part.trainable = trains
        counts.append(len(outer.trainable_weights))
    return counts


def _trains(open_from: Callable) -> set[str]:
    """Names of the layers that train in a small nested model, frozen before, after the learner's function."""
    import keras

    x = inputs = keras.Input((4,))
    for name in ("block6a", "block7a", "top"):
        x = keras.layers.Dense(4, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    base = keras.Model(inputs, x, name="backbone")
    base.trainable = False
    head = keras.layers.Dense(2, name="head")
    outer = keras.Sequential([keras.Input((4,)), base, head])
    opened = {id(weight) for weight in open_from(outer, "block7a").trainable_weights}
    return {layer.name for layer in [*base.layers, head] if any(id(weight) in opened for weight in layer.weights)}


def _flat(batches: Sequence[Sequence[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def _passes(batches: Callable, training: bool) -> tuple[list[list[int]], list[list[int]]]:
    """The batches of two passes over 90 numbers in order, of which 8 are asked for at a time."""
    import tensorflow as tf

    made = batches(tf.data.Dataset.range(90), 8, training)
    first, second = ([np.asarray(batch).tolist() for batch in made.take(50)] for _ in range(2))  # were it endless
    return first, second


def _in_order(batches: Callable) -> bool:
    return all(_flat(each) == list(range(90)) for each in _passes(batches, False))


def _mixed(batches: Callable) -> bool:
    first, second = _passes(batches, True)
    return _spread(first) and first != second and len({*_flat(first)}) == len(_flat(first)) >= 88


def _spread(batches: Sequence[Sequence[int]]) -> bool:
    """Whether batches mix numbers from everywhere: those in order span 7, and any eight of 90 some 70."""
    return float(np.mean([max(batch) - min(batch) for batch in batches])) > 40


def _batches(answer: Sequence[Callable], pictures: int) -> list[tuple[int, list[int], list[int]]]:
    """For each batch of the learner's functions, over so many numbered pictures: axes, pictures, labels."""
    count, batch = answer
    numbered = np.arange(pictures)
    given = np.full((1, 2, 2, pictures), numbered, "float32").T
    batches = [batch(given, numbered + 100, 4, number) for number in range(count(given, 4))]
    return [(np.ndim(some), np.unique(some).tolist(), np.asarray(labels).tolist()) for some, labels in batches]


def _expected(pictures: int) -> list[tuple[int, list[int], list[int]]]:
    parts = [list(range(first, min(first + 4, pictures))) for first in range(0, pictures, 4)]
    return [(4, part, [number + 100 for number in part]) for part in parts]


def _first_batch(answer: Sequence[Callable]) -> tuple:
    return answer[1](np.zeros((10, 2, 2, 3)), np.zeros(10), 4, 0)


EXERCISES = {
    "A.1": Exercise(
        right=lambda answer: close(answer, 81, 81),
        why="260, 130, 65, 33, 17, 9: the last halvings round up, and a ninth row and column look mostly at padding",
        hint="halve 260 five times, rounding up each time, and then count rows times columns",
        form="a whole number",
        mistakes={
            "rounded_down": Mistake(
                lambda answer: close(answer, 64, 64), "an odd side is rounded up, not down: 65 to 33"
            ),
            "one_side": Mistake(
                lambda answer: close(answer, 9, 9), "that is one side: rows times columns are asked for"
            ),
            "not_rounded": Mistake(lambda answer: close(answer, 65, 67), "round up after each halving, not at the end"),
        },
    ),
    "A.2": Exercise(
        right=lambda answer: list(answer) == _counts(),
        why="setting it on a model sets it on everything inside, so the third line opens batch normalization as well",
        hint="count for each line: the head always trains, and a line about `inner` sets all that is inside",
        form="a list of four whole numbers",
        mistakes={
            "stays_frozen_inside": Mistake(
                lambda answer: list(answer) == [2, 2, 8, 6],
                "so it was in tf.keras. In Keras 3, what is opened inside a frozen model trains",
            ),
            "head_left_out": Mistake(
                lambda answer: list(answer) == [each - 2 for each in _counts()],
                "`outer` has a layer more than `inner`: its head trains all the time",
            ),
            "statistics_counted": Mistake(
                lambda answer: list(answer)[2:3] == [10],
                "mean and variance of batch normalization never count among the trainable weights",
            ),
            "choice_remembered": Mistake(
                lambda answer: list(answer)[2:3] == [4],
                "the third line does not go back to what was chosen before: it sets everything inside to True",
            ),
        },
    ),
    "A.3": Exercise(
        right=lambda answer: _trains(answer) == {"block7a_conv", "top_conv", "head"},
        why="the backbone first, as a whole, and then layer by layer: the last word is that of the layers",
        hint="find the backbone, set its `trainable`, and then go through *its* layers as in a flat model",
        form="a function of a model and the beginning of a name that returns the model",
        mistakes={
            "outer_layers": Mistake(
                lambda answer: _trains(answer) <= {"head"},
                "nothing of the backbone trains. The outer model lists it as one layer: look inside that layer",
            ),
            "opened_last": Mistake(
                lambda answer: {"block6a_bn", "block6a_conv"} <= _trains(answer),
                "everything trains, batch normalization as well: setting the backbone's `trainable` sets all inside, so"
                " it must not come after the choice of layers",
            ),
            "batch_norm_live": Mistake(
                lambda answer: {"block7a_bn", "top_bn"} & _trains(answer),
                "batch normalization of the opened blocks trains: it is to stay frozen",
            ),
            "whole_backbone": Mistake(
                lambda answer: "block6a_conv" in _trains(answer), "layers below the block train, too: freeze them"
            ),
        },
    ),
    "A.4": Exercise(
        right=lambda answer: _in_order(answer) and _mixed(answer),
        why="in training the order must change and a batch more or less is nothing; in a test every image counts",
        hint="shuffle before you batch, and only in training; let `drop_remainder` be True only in training",
        form="a function of a dataset, a size and True or False that returns a dataset",
        mistakes={
            "images_lost": Mistake(
                lambda answer: len(_flat(_passes(answer, False)[0])) < 90,
                "with `training=False` images are missing: the last, incomplete batch was dropped",
            ),
            "always_shuffled": Mistake(
                lambda answer: not _in_order(answer), "with `training=False` the images are not in their order"
            ),
            "never_shuffled": Mistake(
                lambda answer: _flat(_passes(answer, True)[0]) == sorted(_flat(_passes(answer, True)[0])),
                "with `training=True` the images come in the order of the dataset",
            ),
            "batches_shuffled": Mistake(
                lambda answer: not _spread(_passes(answer, True)[0]),
                "each batch holds neighbours, only the order of batches changes: shuffle the images, before `batch`",
            ),
            "same_in_every_pass": Mistake(
                lambda answer: len(set(map(str, _passes(answer, True)))) == 1,
                "the second pass brings the images in the same order as the first",
            ),
        },
    ),
    "A.5": Exercise(
        right=lambda answer: all(_batches(answer, count) == _expected(count) for count in (10, 8)),
        why="the number of batches is rounded up, and a slice that reaches too far ends with its array",
        hint="ten pictures in batches of four are three batches; batch 1 is what lies between 1 × 4 and 2 × 4",
        form="two functions, `(count, batch)`",
        mistakes={
            "last_left_out": Mistake(
                lambda answer: answer[0](np.zeros((10, 2)), 4) == 2,
                "of ten pictures in batches of four, two are missing: round the number of batches up",
            ),
            "counts_pictures": Mistake(
                lambda answer: answer[0](np.zeros((10, 2)), 4) == 10,
                "asked for is the number of batches, not of pictures",
            ),
            "one_too_many": Mistake(
                lambda answer: answer[0](np.zeros((8, 2)), 4) == 3,
                "eight pictures in batches of four are two batches, and your third one would be empty",
            ),
            "labels_left_out": Mistake(
                lambda answer: not isinstance(_first_batch(answer), tuple),
                "each batch is a pair: pictures and labels",
            ),
            "single_pictures": Mistake(
                lambda answer: np.ndim(_first_batch(answer)[0]) == 3,
                "a batch holds several pictures: take a slice, from its first picture to its last",
            ),
        },
    ),
}
