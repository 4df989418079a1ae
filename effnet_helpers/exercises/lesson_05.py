"""Checks of the exercises of lesson 05: unfreezing."""

import math
from collections.abc import Callable
from typing import Any

from effnet_helpers.exercises.core import Exercise, Mistake, close

SHOWN = ["live backbone norm", "last 20 layers", "head not first", "no warm-up", "peak 1e-4", "weights averaged"]


def _trains(open_from: Callable, at_first: bool) -> set[str]:
    """Names of the layers that train in a small model after the learner's function, from one state or the other."""
    import keras

    x = inputs = keras.Input((4,))
    for name in ("stem", "block1a", "block2a", "top"):
        x = keras.layers.Dense(4, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head_probabilities")(x))
    for layer in model.layers:
        layer.trainable = at_first
    opened = open_from(model, "block2a")
    return {layer.name for layer in opened.layers if layer.trainable_weights}


def _opened(answer: Any) -> tuple[bool, bool]:
    """Whether batch normalization trains, and whether anything else does, in the blocks of a model."""
    from effnet_helpers.models import block_of

    import keras

    layers = [layer for layer in answer[0].layers if block_of(layer) and layer.trainable_weights]
    norms = [isinstance(layer, keras.layers.BatchNormalization) for layer in layers]
    return any(norms), not all(norms)


def _rings(answer: Any) -> bool:
    """Whether a validation loss lies above log K."""
    model, history = answer
    losses = getattr(history, "history", history)["val_loss"]
    return max(losses) > math.log(model.output_shape[-1])


def _shown() -> set[str]:
    from effnet_helpers import evaluation

    runs = evaluation.measured("recipes").query("stage == 'screening'")
    worth = evaluation.paired_differences(runs, SHOWN).query("set == 'all' and (low > 0 or high < 0)")
    return set(worth["candidate"])


EXERCISES = {
    "05.1": Exercise(
        right=lambda answer: close(answer, 1, 1),
        why="the cut leaves the first convolution of block6d frozen and trains what it feeds",
        hint="add up whole blocks from the end of the table until you pass 20: by how much did you pass?",
        form="a whole number",
        mistakes={
            "layers_opened": Mistake(
                lambda answer: close(answer, 9, 9),
                "so many layers of the block that is cut are opened. How many has it in all, and how many are left?",
            ),
            "no_cut": Mistake(
                lambda answer: close(answer, 0, 0),
                "top and block7a have 11 layers, with block6d they are 21: so 20 end inside a block",
            ),
        },
    ),
    "05.2": Exercise(
        right=lambda answer: all(
            _trains(answer, at_first) == {"block2a_conv", "top_conv", "head_probabilities"}
            for at_first in (True, False)
        ),
        why="it sets every layer, so it comes to the same whatever was frozen before. Compile after it",
        hint="go through the layers in order, remember whether the block has been reached, and set `trainable` of each",
        form="a function of a model and the name of a block that returns the model",
        mistakes={
            "batch_norm_live": Mistake(
                lambda answer: "top_bn" in _trains(answer, False) | _trains(answer, True),
                "batch normalization trains in your model. Its statistics come from a million images: leave it frozen",
            ),
            "below_left_open": Mistake(
                lambda answer: "block1a_conv" in _trains(answer, True),
                "where everything was open before, layers below the block still train. Set them to False, too",
            ),
            "never_opened": Mistake(
                lambda answer: "block2a_conv" not in _trains(answer, False),
                "where everything was frozen before, the block stays frozen. Set `trainable` to True as well as False",
            ),
            "only_that_block": Mistake(
                lambda answer: "top_conv" not in _trains(answer, False),
                "the block itself trains, what lies above it does not. From the block on means up to the model's end",
            ),
        },
    ),
    "05.3": Exercise(
        right=lambda answer: _opened(answer) == (False, True) and not _rings(answer),
        why="the statistics that came with the weights still fit them, and no step was large enough to destroy them",
        hint="ask of each line of the careless training what the lesson says about it: what is opened, and how fast",
        form="the model and what `fit` returned",
        mistakes={
            "batch_norm_live": Mistake(
                lambda answer: _opened(answer)[0],
                "batch normalization of the block trains: batches of eight replace what it knew by noise",
            ),
            "block_frozen": Mistake(
                lambda answer: not _opened(answer)[1],
                "nothing of the block trains. That avoids the collapse and learns nothing: open `top_conv`",
            ),
            "rate_too_high": Mistake(
                _rings,
                "what is open is well chosen, and a validation loss still lies above log K: look at the rate",
            ),
        },
    ),
    "05.4": Exercise(
        right=lambda answer: close(answer, 44, 44),
        why="0.9 to the power of 44 is the first below 0.01; the lesson validates every dozen steps, much sooner",
        hint="after n steps 0.9 to the power of n is left of what was there before",
        form="a whole number",
        mistakes={
            "as_if_in_a_line": Mistake(
                lambda answer: close(answer, 9, 12),
                "each step takes a tenth of what is left, not a tenth of what there was at first",
            ),
            "keras_default": Mistake(
                lambda answer: close(answer, 458, 459), "that belongs to a momentum of 0.99. The head's is 0.9"
            ),
            "one_too_few": Mistake(
                lambda answer: close(answer, 43, 43.9), "nearly: 0.9 to the power of 43 is still a little above 0.01"
            ),
        },
    ),
    "05.5": Exercise(
        right=lambda answer: set(answer) == _shown(),
        why="only there does the whole interval lie on one side of zero. The others may matter; these runs cannot tell",
        hint="does the interval from `low` to `high` contain zero? Then the runs are compatible with no difference",
        form="a list of names",
        mistakes={
            "everything": Mistake(
                lambda answer: set(answer) == set(SHOWN), "no mean is exactly zero. Look at the intervals as well"
            ),
            "the_others": Mistake(
                lambda answer: set(answer) == set(SHOWN) - _shown(),
                "these are the ones whose interval contains zero: of them nothing is shown",
            ),
            "by_the_mean": Mistake(
                lambda answer: set(answer) > _shown(),
                "a large mean is not enough: few runs that scatter widely give one by chance. Look at the intervals",
            ),
        },
    ),
}
