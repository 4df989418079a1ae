"""How deep, how fast and how long to fine-tune: rules from what is known once the head is fitted.

They are what held on five collections of pictures unlike each other, whole and with 8 to 80 images a class:
`evaluation.measured("recipes")`, made by `make bench ROW=recipes`. From block4a on nothing was lost by going deep,
with few images neither; where the head is right nearly always, block6a did as well for less work. A peak of 0.0001 was
worse (by 3.3 points on test over 27 pairs of runs, 95 % interval 1.7 to 4.8), one of 0.001 neither better nor worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from effnet_helpers.records import expect

STEPS, LEARNING_RATE = 300, 3e-4
DEEP, SHALLOW = "block4a", "block6a"
NEAR = 0.95
"""From which accuracy of the head on only the upper blocks are opened."""


@dataclass(frozen=True)
class Recipe:
    """Choices for fine-tuning, and why.

    Attributes:
        from_block: The lowest block that trains, for `models.unfreeze_blocks`.
        learning_rate: The peak of the rate, for `fine_tune`.
        steps: Of the optimizer, for `fine_tune`.
        reasons: For each of these, why.
    """

    from_block: str
    learning_rate: float
    steps: int
    reasons: Mapping[str, str]

    def __str__(self) -> str:
        return "\n".join(f"{name}: {getattr(self, name)} ({reason})" for name, reason in self.reasons.items())


def choose_recipe(
    train_images: int,
    head_accuracy: float,
    *,
    from_block: str | None = None,
    learning_rate: float | None = None,
    steps: int | None = None,
    batch_size: int = 32,
) -> Recipe:
    """Chooses depth, rate and length of fine-tuning. What is given is not chosen.

    Where the head is right nearly always, the features fit already, and only the upper blocks need to move. Where it is
    not, the features must change.

    Args:
        train_images: How many there are to learn from; they decide how many steps a pass takes.
        head_accuracy: Of the fitted head on validation images, in [0, 1].
        from_block: The lowest block to train.
        learning_rate: The peak of the rate.
        steps: Of the optimizer; by default 300, or one pass over the training images if that is more.
        batch_size: Images per step.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: If `head_accuracy` is no share.

    Example:
        >>> print(training.choose_recipe(train_images=1000, head_accuracy=0.81))
        from_block: block4a (the head alone reaches 0.810: the features must change)
        learning_rate: 0.0003 (what held on pictures unlike each other)
        steps: 300 (at least 300, and one pass over the images)
    """
    expect(0 <= head_accuracy <= 1, "head_accuracy", head_accuracy, "a share from 0 to 1")
    if head_accuracy >= NEAR:
        block, why = SHALLOW, f"the head alone reaches {head_accuracy:.3f}: the features fit, only the top need move"
    else:
        block, why = DEEP, f"the head alone reaches {head_accuracy:.3f}: the features must change"
    chosen = {
        "from_block": (from_block, block, why),
        "learning_rate": (learning_rate, LEARNING_RATE, "what held on pictures unlike each other"),
        "steps": (steps, steps_for(train_images, batch_size), f"at least {STEPS}, and one pass over the images"),
    }
    values = {name: rule if given is None else given for name, (given, rule, _) in chosen.items()}
    reasons = {name: why if given is None else "as asked for" for name, (given, _, why) in chosen.items()}
    return Recipe(**values, reasons=reasons)


def steps_for(train_images: int, batch_size: int) -> int:
    """How many steps of the optimizer fine-tuning takes unless it is told."""
    return max(STEPS, -(-train_images // batch_size))
