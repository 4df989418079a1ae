"""Exercises of lesson 04, training a head: what is right, why, and which mistakes are known."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np

COUNTS = {"nominal": 300, "global": 120, "local": 80}
FEATURES, CLASSES = 1280, 10
HEAD = 2 * FEATURES + FEATURES * CLASSES + CLASSES  # scale and shift of each feature; the weighted sums
IMAGES = 12  # of the check's own batches
VERDICTS = ("B is better", "they are equally good", "cannot tell")
HISTORY = {  # training goes on improving, validation turns, and its accuracy peaks later than its loss
    "loss": [1.2, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2],
    "accuracy": [0.4, 0.5, 0.6, 0.8, 0.85, 0.9, 1.0],
    "val_loss": [1.1, 0.9, 0.8, 0.85, 0.9, 1.0, 1.3],
    "val_accuracy": [0.4, 0.5, 0.6, 0.6, 0.65, 0.6, 0.6],
}
BEST = 3


def _is(value: float) -> Callable[[Any], bool]:
    return lambda answer: close(answer, value, value)


def _trainable(model: Any) -> dict[str, int]:
    """Trainable parameters of each layer that has some."""
    counts = {layer.name: sum(math.prod(w.shape) for w in layer.trainable_weights) for layer in model.layers}
    return {name: count for name, count in counts.items() if count}


def _prepared(function: Callable) -> tuple[dict[str, int], dict[str, int] | None]:
    """What trains in a small network after a function has prepared it, and what did when it was compiled last."""
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="block1a_conv")(inputs)
    x = keras.layers.BatchNormalization(name="block1a_bn")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = keras.layers.BatchNormalization(name="head_bn")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="head_probabilities")(x))
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    compile_it, at_compile = model.compile, []

    def watched(*arguments: Any, **options: Any) -> None:
        compile_it(*arguments, **options)
        at_compile.append(_trainable(model))

    model.compile = watched
    prepared = function(model)
    return _trainable(prepared), at_compile[-1] if at_compile else None


def _head_trains(function: Callable) -> bool:
    trains, when_compiled = _prepared(function)
    return set(trains) == {"head_bn", "head_probabilities"} and trains == when_compiled


@functools.cache
def _pooling() -> Any:
    """A network that averages images, built once."""
    import keras

    inputs = keras.Input((2, 2, 3))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))


def _pairs(function: Callable) -> tuple[np.ndarray, np.ndarray]:
    """What a function makes of batches in which the feature of an image is its label; they come shuffled."""
    from effnet_helpers import data

    labels = np.arange(IMAGES)
    pixels = np.broadcast_to(labels[:, None, None, None], (IMAGES, 2, 2, 3)).astype("float32")
    features, numbers = function(_pooling(), data.from_arrays(pixels, labels, 4, shuffle=True))
    return np.asarray(features), np.asarray(numbers)


def _belong_together(function: Callable) -> bool:
    features, numbers = _pairs(function)
    complete = features.shape == (IMAGES, 3) and sorted(numbers.tolist()) == list(range(IMAGES))
    return complete and np.allclose(features[:, 0], numbers)


def _apart(total: int) -> bool:
    """Whether the intervals of 86 % and 89 % of so many images lie apart."""
    from effnet_helpers.evaluation import accuracy_interval

    (_, high), (low, _) = (accuracy_interval(round(share * total), total) for share in (0.86, 0.89))
    return high < low


def _first_apart() -> int:
    return next(total for total in range(200, 100_000, 100) if _apart(total))


EXERCISES = {
    "04.1": Exercise(
        right=lambda answer: close(answer[0], 0.595, 0.605) and close(answer[1], 0.935, 0.95),
        why="neither 0.60 right nor a loss of 0.94 would be an achievement here. Log K is the limit for classes of one "
        "size; where some are rare, a network has to get below what their shares cost.",
        hint="Which answer is right most often? And give each class the probability with which it occurs: the loss is "
        "minus the logarithm of what the right class got, on average over the pictures.",
        mistakes={
            "percent": Mistake(lambda answer: close(answer[0], 59, 61), "As a share between 0 and 1, please."),
            "accuracy_of_guessing": Mistake(
                lambda answer: close(answer[0], 0.32, 0.34),
                "That is what guessing gets. Always giving the answer that is most often right gets more.",
            ),
            "evenly": Mistake(
                lambda answer: close(answer[1], 1.09, 1.11),
                "That is a third each. Give more to the class that occurs more: surprise there is paid most often.",
            ),
            "other_logarithm": Mistake(
                lambda answer: close(answer[1], 0.405, 0.415) or close(answer[1], 1.35, 1.37),
                "The loss takes the natural logarithm, which is np.log, neither log10 nor log2.",
            ),
            "one_class_only": Mistake(
                lambda answer: close(answer[1], 0.5, 0.52),
                "That is what a nominal picture costs. The others cost more, and count by their shares.",
            ),
        },
        form="two numbers: (best_accuracy, best_loss)",
    ),
    "04.2": Exercise(
        right=_is(HEAD),
        why="batch normalization learns a scale and a shift for each feature, the last layer a weight for each feature "
        "and class, and a bias for each class. Pooling and dropout have nothing to learn.",
        hint="Batch normalization keeps four numbers for each feature; gradients change two of them. The dense layer "
        "has a weight for each pair of feature and class, and a bias for each class.",
        mistakes={
            "running_averages_counted": Mistake(
                _is(HEAD + 2 * FEATURES),
                "You counted batch normalization's running mean and variance. They change in "
                "training, but by averaging and not by gradients, so they are not trainable.",
            ),
            "batch_normalization_forgotten": Mistake(
                _is(HEAD - 2 * FEATURES), "That is the dense layer. The head's batch normalization learns, too."
            ),
            "biases_forgotten": Mistake(_is(HEAD - CLASSES), "Ten are missing: each class has a bias."),
            "frozen_counted": Mistake(
                lambda answer: close(answer, 1e6, 1e8),
                "That is about what the whole network has. The backbone is frozen; count the head only.",
            ),
        },
        form="a whole number",
    ),
    "04.3": Exercise(
        right=_head_trains,
        why="exactly the head's parameters train, 2 · 4 of batch normalization and 4 · 3 + 3 of the last layer, and "
        "that is what `compile` found. Whenever you change what trains, compile again.",
        hint="Two things, in this order: mark every layer of the backbone, batch normalization included, as not "
        "trainable; then let Keras look at what trains, which it does in `compile`.",
        mistakes={
            "not_compiled_again": Mistake(
                lambda answer: _prepared(answer)[1] is None,
                "The network was compiled, and has trained, before it was "
                "frozen, and steps go on as they were built then. Freezing takes effect with the next `compile`.",
            ),
            "everything_frozen": Mistake(
                lambda answer: not _prepared(answer)[0], "Now nothing trains at all. The head should."
            ),
            "compiled_before_freezing": Mistake(
                lambda answer: len(set(map(str, _prepared(answer)))) == 2,
                "You compiled first and changed what trains "
                "afterwards. `compile` fixes how a network behaves, so it comes last. Keras may look again at the "
                "first step; once that is built, it does not.",
            ),
            "batch_normalization_left_live": Mistake(
                lambda answer: "block1a_bn" in _prepared(answer)[0],
                "The backbone's batch normalization still trains. It belongs to the backbone.",
            ),
            "head_frozen_too": Mistake(
                lambda answer: "head_bn" not in _prepared(answer)[0],
                "The head's own batch normalization is frozen. It belongs to the head, so it should train.",
            ),
        },
        form="a function of a network that returns the network",
    ),
    "04.4": Exercise(
        right=_belong_together,
        why="images and their labels come out of one and the same pass, so no order can part them.",
        hint="Go over the batches once, and take from each both: the features of its images, and its labels.",
        mistakes={
            "incomplete": Mistake(
                lambda answer: len(_pairs(answer)[0]) < IMAGES,
                "Some images are missing. Collect the results of all "
                "batches in lists, and join them with np.concatenate at the end.",
            ),
            "labels_sorted": Mistake(
                lambda answer: _pairs(answer)[1].tolist() == list(range(IMAGES)),
                "Sorting the labels brings them into "
                "an order that the features do not have. Take both from the same pass.",
            ),
            "two_passes": Mistake(
                lambda answer: not np.allclose(_pairs(answer)[0][:, 0], _pairs(answer)[1]),
                "The labels are those of "
                "other images: you pass over the batches twice, and each pass comes in another order.",
            ),
        },
        form="a function of an extractor and batches that returns two arrays: features and labels",
    ),
    "04.5": Exercise(
        right=lambda answer: answer(HISTORY) == BEST,
        why="validation images are those by which one chooses, and their loss also counts how sure the network is. The "
        "training loss falls until the end, overfitting or not.",
        hint="Which of the four lists tells when the network begins to overfit? np.argmin counts from 0.",
        mistakes={
            "counted_from_0": Mistake(
                lambda answer: answer(HISTORY) == BEST - 1, "One too few: lists are counted from 0, epochs from 1."
            ),
            "training_loss": Mistake(
                lambda answer: answer(HISTORY) in (6, 7),
                "The training images are learned by heart in the end, so they cannot say when to stop.",
            ),
            "validation_accuracy": Mistake(
                lambda answer: answer(HISTORY) in (4, 5),
                "The right images, but the lesson goes by their loss: an "
                "accuracy moves in steps of a whole image, and does not see how sure the network is.",
            ),
            "the_loss_itself": Mistake(
                lambda answer: close(answer(HISTORY), 0.79, 0.81), "That is the loss. In which epoch was it reached?"
            ),
        },
        form="a function of a dictionary of lists that returns a whole number",
    ),
    "04.6": Exercise(
        right=lambda answer: answer[0] == "cannot tell" and close(answer[1], _first_apart() - 99, _first_apart() + 100),
        why="each figure lies within the other's interval, so the images may have decided; and to see three points one "
        "needs not hundreds but thousands. Two intervals that lie apart are a strict demand: on the *same* images the "
        "lesson counts those that only one of the two gets right, which takes fewer.",
        hint="Is 89 % within the interval of A, and 86 % within that of B? For the second, let a loop add 100 images "
        "until the upper end of A lies below the lower end of B.",
        mistakes={
            "believed": Mistake(
                lambda answer: answer[0] == "B is better",
                "B was better on these 200. Each of the figures lies within "
                "the other's interval: what would 200 others have said?",
            ),
            "called_equal": Mistake(
                lambda answer: answer[0] == "they are equally good",
                "That the images do not show a difference is not "
                "to say that there is none: the intervals also admit a difference of several points.",
            ),
            "another_sentence": Mistake(
                lambda answer: answer[0] not in VERDICTS,
                "The first answer is one of the three sentences, word for word.",
            ),
            "still_overlapping": Mistake(
                lambda answer: not _apart(int(answer[1])), "With so many images the intervals still overlap. Try more."
            ),
            "far_too_many": Mistake(
                lambda answer: answer[1] > _first_apart() + 100,
                "The intervals come apart with fewer. Go up from 200 in steps of 100, and stop as soon as they do.",
            ),
        },
        form='a sentence and a whole number, as in ("cannot tell", 300)',
    ),
}
