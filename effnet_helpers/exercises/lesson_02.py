"""Exercises of lesson 02, the variant tour: what is right, why, and which mistakes are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from effnet_helpers import variants
from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np

RATE = 0.2
SLOW_FIRST, USUAL, DISTURBED = 2.0, 0.004, 0.5  # seconds that calls of the check's own step take


def _block_counts(kernel: int = 5, mixed: int = 1, places: int = 14 * 14) -> tuple[int, int]:
    """Multiply-adds of depthwise and last convolution of B0's block 5b, or what comes of a mistake."""
    stage = variants.VARIANTS["B0"].stages()[4]
    narrow, wide = stage.filters_out, stage.filters_out * stage.expand_ratio
    return places * kernel**2 * wide * mixed, places * wide * narrow


def _rates(first: int = 0, among: int | None = None, each_block: bool = False) -> list[float]:
    """Rates of stochastic depth in B0, or what comes of counting otherwise."""
    blocks = [place for stage in variants.VARIANTS["B0"].stages() for place in range(stage.repeats)]
    numbers = [k for k, place in enumerate(blocks) if place > 0 or each_block]
    if among is not None:
        numbers = list(range(among))
    return [RATE * (k + first) / (among or len(blocks)) for k in numbers]


def _same(answer: Any, expected: Any) -> bool:
    close(answer, -math.inf, math.inf)  # says so if these are no numbers
    return np.shape(answer) == np.shape(expected) and np.allclose(answer, expected, rtol=1e-3, atol=1e-4)


def _timed(function: Callable, usual: float = USUAL) -> float:
    """What a stopwatch makes of a step whose first call is slow and whose fourth is disturbed, by a made-up clock."""
    now, calls = 0.0, 0

    def step() -> None:
        nonlocal now, calls
        calls += 1
        now += SLOW_FIRST if calls == 1 else DISTURBED if calls == 4 else usual

    return float(function(step, lambda: now))


def _nearer(phis: tuple[int, int] = (6, 7)) -> dict[str, int]:
    """Which φ comes nearer to what is published of B7, for each factor and the cost."""
    b7, b0 = (variants.VARIANTS[name] for name in ("B7", "B0"))
    alpha, beta, gamma = variants.COMPOUND_ALPHA, variants.COMPOUND_BETA, variants.COMPOUND_GAMMA
    implied = {
        "depth": math.log(b7.depth, alpha),
        "width": math.log(b7.width, beta),
        "resolution": math.log(b7.resolution / b0.resolution, gamma),
        "cost": math.log(b7.published_multiply_adds / b0.published_multiply_adds, alpha * beta**2 * gamma**2),
    }
    return {name: min(phis, key=lambda phi: abs(phi - value)) for name, value in implied.items()}


EXERCISES = {
    "02.1": Exercise(
        right=lambda answer: close(answer[0], 0.99, 1.01) and close(answer[1], 3.8, 4.2),
        why="a filter is the same wherever it is applied, so no parameter is added; but there are four times as many "
        "places to apply it at. The count is a little below 4: squeeze-and-excite works on averages, one a channel.",
        hint="Which of the two depends on how often a filter is applied, and at how many places of the grid is it?",
        mistakes={
            "side_counted_once": Mistake(
                lambda answer: close(answer[1], 1.9, 2.1), "The grid doubles both ways. How many places has it then?"
            ),
            "parameters_grow": Mistake(
                lambda answer: answer[0] > 1.5,
                "Parameters are the numbers in the filters. Does a filter change when it is applied at more places?",
            ),
            "nothing_grows": Mistake(
                lambda answer: close(answer[1], 0.99, 1.01),
                "The filters are the same, so the parameters are, too. "
                "But each filter is applied at every place of a larger grid.",
            ),
        },
        form="two numbers, as in (1.5, 1.5)",
    ),
    "02.2": Exercise(
        right=lambda answer: _same(answer, _block_counts()),
        why="each channel has one filter of its own, so a place costs 25 multiply-adds a channel and no sum over "
        "channels. The two 1 × 1 convolutions, which mix, cost nine tenths of the block.",
        hint="At every place of the grid, for every channel that comes out: how many numbers are multiplied and added?",
        mistakes={
            "mixes_channels": Mistake(
                lambda answer: _same(answer[0], _block_counts(mixed=672)[0]),
                "That is an ordinary convolution, in "
                "which every output sums over all 672 channels. A depthwise one sums over its own channel only.",
            ),
            "one_place_only": Mistake(
                lambda answer: _same(answer, _block_counts(places=1)) or _same(answer[0], 25 * 672),
                "That is the price at one place (and the number of weights). How many places has the grid?",
            ),
            "three_by_three": Mistake(
                lambda answer: _same(answer[0], _block_counts(kernel=3)[0]), "The filters of this stage are 5 × 5."
            ),
        },
        form="two whole numbers: (depthwise, project)",
    ),
    "02.3": Exercise(
        right=lambda answer: _same(answer, _rates()),
        why="nine blocks have a skip connection, so only these can be left out. None reaches 0.2: the last block, "
        "whose turn it would nearly be, is the only one of its stage and has no skip.",
        hint="Number all 16 blocks from 0. Cross out the first of each stage. Each that is left gets 0.2 · k / 16.",
        mistakes={
            "every_block": Mistake(
                lambda answer: _same(answer, _rates(each_block=True)),
                "These are all 16 blocks. Which of them change "
                "the number of channels or the grid, so that there is nothing to add?",
            ),
            "counted_among_the_skipped": Mistake(
                lambda answer: len(answer) == 9 and _same(answer, _rates(among=9)),
                "You numbered the nine blocks that "
                "can be skipped. Number all 16; the others count, though they get no rate.",
            ),
            "counted_from_one": Mistake(
                lambda answer: _same(answer, _rates(first=1)),
                "You counted from 1. The first block at the input is number 0.",
            ),
            "same_for_all": Mistake(
                lambda answer: np.ptp(answer) == 0, "The rate rises with depth: it is not the same for all blocks."
            ),
        },
        form="a list of numbers",
    ),
    "02.4": Exercise(
        right=lambda answer: all(close(_timed(answer, t), 900 * t, 1100 * t) for t in (USUAL, 3 * USUAL)),
        why="the first call with a size compiles, which is paid once and not in use; and a median does not care how "
        "late the one disturbed call was.",
        hint="What happens in the first call, and never again? And which summary of five numbers ignores one odd one?",
        mistakes={
            "in_seconds": Mistake(
                lambda answer: close(_timed(answer) * 1000, 0.5 * USUAL * 1000, DISTURBED * 1000),
                "Your function seems to return seconds; milliseconds are asked for.",
            ),
            "another_clock": Mistake(
                lambda answer: _timed(answer) < 0.1 * USUAL * 1000,
                "Next to no time has passed for your function. Read the time from `clock()`, around `step()`.",
            ),
            "first_call_counted": Mistake(
                lambda answer: _timed(answer) > 1000 * SLOW_FIRST / 10,
                "Your function counts the first call, in which "
                "the network is compiled. Call `step` once before you time anything.",
            ),
            "averaged": Mistake(
                lambda answer: _timed(answer) > 2000 * USUAL,
                "Better: the first call is out. But one disturbed call "
                "still pulls the mean up. Time each call by itself, and take the median.",
            ),
        },
        form="a function of `step` and `clock` that returns a number",
    ),
    "02.5": Exercise(
        right=lambda answer: {name: int(phi) for name, phi in answer.items()} == _nearer(),
        why="of four quantities only the depth fits φ = 6, so the lists are not borne out; but 7 does not give B7 "
        "either, whose depth stays behind the rule.",
        hint="For the depth, 1.2**6 is 2.99 and 1.2**7 is 3.58, and 3.1 is published: nearer to the first. Go on so.",
        mistakes={
            "as_the_lists_say": Mistake(
                lambda answer: set(answer.values()) == {6},
                "That is the claim. Does a cost of about 50 times B0's, "
                "which the rule gives at 6, come near the published one?",
            ),
            "all_alike": Mistake(
                lambda answer: set(answer.values()) == {7},
                "Three of the four, yes. Look again at the one that stays behind in the lesson's figure.",
            ),
            "doubled_each_step": Mistake(
                lambda answer: answer == _nearer() | {"cost": 6},
                "A step costs α · β² · γ² times as much, which is "
                "only about 2. Over six or seven steps the difference from 2 adds up, so take the product itself.",
            ),
        },
        form='a dictionary with the keys "depth", "width", "resolution" and "cost", and 6 or 7 for each',
    ),
}
