"""The EfficientNet family as facts: B0–B7 and Lite0–Lite4, and the ImageNet weights published for them.

Sources:
    - B0–B7: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
      arXiv 1905.11946v5, tables 1 and 2 (stages, top-1, multiply-adds in billions, which the paper calls FLOPS);
      coefficients, resolution and dropout as in the authors' code and in `keras.applications`.
    - Lite0–Lite4: README of the authors' `efficientnet/lite` (tensorflow/tpu repository).
    - Other ImageNet training recipes: README of the authors' `efficientnet` (same repository), table of checkpoints.
    - What belongs to each set of weights: `eval_ckpt_main.py`, `preprocessing.py`, `efficientnet_builder.py` there; of
      timm's, `models/efficientnet.py` in timm 1.0.31 and `results/results-imagenet.csv` (commit aa4b5850).
    - Other networks (`CONTEMPORARIES`): as named there.
"""

import math
from dataclasses import dataclass, replace

from effnet_helpers.records import did_you_mean

COMPOUND_ALPHA = 1.2
"""Depth grows by this factor with each step of the compound coefficient (paper, section 3.3)."""
COMPOUND_BETA = 1.1
"""Width grows by this factor with each step."""
COMPOUND_GAMMA = 1.15
"""Resolution grows by this factor with each step. alpha · beta² · gamma² is about 2: a step about doubles the cost."""


@dataclass(frozen=True)
class Stage:
    """One row of table 1 of the paper, before scaling: `repeats` inverted residual blocks of the same width."""

    kernel_size: int
    repeats: int
    filters_in: int
    filters_out: int
    expand_ratio: int
    strides: int


STAGES = (
    Stage(3, 1, 32, 16, 1, 1),
    Stage(3, 2, 16, 24, 6, 2),
    Stage(5, 2, 24, 40, 6, 2),
    Stage(3, 3, 40, 80, 6, 2),
    Stage(5, 3, 80, 112, 6, 1),
    Stage(5, 4, 112, 192, 6, 2),
    Stage(3, 1, 192, 320, 6, 1),
)
"""Stages 2–8 of the baseline network, which an architecture search in the manner of MnasNet found."""


@dataclass(frozen=True)
class Variant:
    """One member of the family.

    Attributes:
        name: "B0" … "B7", "Lite0" … "Lite4".
        width: Factor on the number of channels.
        depth: Factor on the number of blocks in a stage.
        resolution: Side of the square input in pixels that it was trained and published at.
        dropout: Rate before its own classification layer.
        published_top1: ImageNet validation accuracy in percent (single crop).
        published_multiply_adds: Multiplications with addition for one image.
        published_parameters: Parameters, as rounded in the publication.
    """

    name: str
    width: float
    depth: float
    resolution: int
    dropout: float
    published_top1: float
    published_multiply_adds: float
    published_parameters: float

    @property
    def is_lite(self) -> bool:
        """Whether this is one of the Lite variants, which leave out squeeze-and-excitation and swish."""
        return self.name.startswith("Lite")

    def filters(self, baseline: int) -> int:
        """Channels of a stage with `baseline` channels in B0: scaled, rounded to a multiple of 8, never 10 % below."""
        scaled = baseline * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    def repeats(self, baseline: int) -> int:
        """Blocks of a stage with `baseline` blocks in B0: scaled, rounded up."""
        return math.ceil(baseline * self.depth)

    def stages(self) -> tuple[Stage, ...]:
        """The seven stages after scaling. Lite keeps its stem, and the depth of its first and last stage, unscaled."""
        scaled = []
        for index, stage in enumerate(STAGES):
            keeps_depth = self.is_lite and index in (0, len(STAGES) - 1)
            repeats = stage.repeats if keeps_depth else self.repeats(stage.repeats)
            filters_in = stage.filters_in if self.is_lite and index == 0 else self.filters(stage.filters_in)
            filters_out = self.filters(stage.filters_out)
            scaled.append(replace(stage, repeats=repeats, filters_in=filters_in, filters_out=filters_out))
        return tuple(scaled)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("B0", 1.0, 1.0, 224, 0.2, 77.1, 0.39e9, 5.3e6),
        Variant("B1", 1.0, 1.1, 240, 0.2, 79.1, 0.70e9, 7.8e6),
        Variant("B2", 1.1, 1.2, 260, 0.3, 80.1, 1.0e9, 9.2e6),
        Variant("B3", 1.2, 1.4, 300, 0.3, 81.6, 1.8e9, 12e6),
        Variant("B4", 1.4, 1.8, 380, 0.4, 82.9, 4.2e9, 19e6),
        Variant("B5", 1.6, 2.2, 456, 0.4, 83.6, 9.9e9, 30e6),
        Variant("B6", 1.8, 2.6, 528, 0.5, 84.0, 19e9, 43e6),
        Variant("B7", 2.0, 3.1, 600, 0.5, 84.3, 37e9, 66e6),
        Variant("Lite0", 1.0, 1.0, 224, 0.2, 75.1, 407e6, 4.7e6),
        Variant("Lite1", 1.0, 1.1, 240, 0.2, 76.7, 631e6, 5.4e6),
        Variant("Lite2", 1.1, 1.2, 260, 0.3, 77.6, 899e6, 6.1e6),
        Variant("Lite3", 1.2, 1.4, 280, 0.3, 79.8, 1.44e9, 8.2e6),
        Variant("Lite4", 1.4, 1.8, 300, 0.3, 81.5, 2.64e9, 13.0e6),
    )
}

_TOP1 = {
    "baseline preprocessing": (76.7, 78.7, 79.8, 81.1, 82.5, 83.1),
    "AutoAugment": (77.1, 79.1, 80.1, 81.6, 82.9, 83.6, 84.0, 84.3),
    "AdvProp + AutoAugment": (77.6, 79.6, 80.5, 81.9, 83.3, 84.3, 84.8, 85.2),
    "Noisy Student + RandAugment": (78.8, 81.5, 82.4, 84.1, 85.3, 86.1, 86.4, 86.9),
}
RECIPES = {name: {f"B{number}": top1 for number, top1 in enumerate(row)} for name, row in _TOP1.items()}
"""Published ImageNet top-1, in percent, of the same architectures trained in other ways. Keras ships AutoAugment's."""


@dataclass(frozen=True)
class WeightsRecord:
    """One set of ImageNet weights for B0–B7, and what a network must do to answer as published with them.

    Attributes:
        name: What `weights=` takes.
        recipe: How they were trained.
        source: Where that, and the accuracy, is published.
        published_top1: ImageNet validation accuracy in percent, at the variant's own resolution, for each variant that
            was trained so.
        repositories: The variant's name on the Hugging Face hub; empty where Keras' own download is used.
        revision: Which state of those repositories; None, as none is published, for what they hold when they are asked.
        licence: Of the weights.
        mean, stddev: Pixels in [0, 1] are scaled by (pixel − mean) / stddev, one number each for red, green and blue.
        symmetric_padding: Whether convolutions of stride 2 pad all sides alike, as PyTorch does, and not as TensorFlow
            does, which pads an even side by one more on the right and below.
        batch_norm_epsilon: What batch normalization adds to the variance.
        crop_fraction: Side of the central square that the evaluation keeps, as a fraction of the short side; None for
            the authors' `size / (size + 32)`.
        antialias: Whether the evaluation's bicubic resampling averages over the pixels that fall together.
    """

    name: str
    recipe: str
    source: str
    published_top1: dict[str, float]
    repositories: dict[str, str]
    revision: str | None = None
    licence: str = "Apache-2.0"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    stddev: tuple[float, float, float] = (0.229, 0.224, 0.225)
    symmetric_padding: bool = False
    batch_norm_epsilon: float = 1e-3
    crop_fraction: float | None = None
    antialias: bool = False


def _ported(tag: str) -> dict[str, str]:
    return {f"B{number}": f"timm/tf_efficientnet_b{number}.{tag}" for number in range(8)}


_PLUS_MINUS_ONE = {"mean": (0.5,) * 3, "stddev": (0.5,) * 3}  # x / 127.5 − 1
WEIGHTS = {
    record.name: record
    for record in (
        WeightsRecord("imagenet", "AutoAugment", "arXiv 1805.09501", RECIPES["AutoAugment"], {}),
        WeightsRecord(
            "advprop", "AdvProp + AutoAugment", "arXiv 1911.09665",
            RECIPES["AdvProp + AutoAugment"], _ported("ap_in1k"), **_PLUS_MINUS_ONE,
        ),
        WeightsRecord(
            "noisy-student", "Noisy Student + RandAugment", "arXiv 1911.04252",
            RECIPES["Noisy Student + RandAugment"], _ported("ns_jft_in1k"),
        ),
        WeightsRecord(
            "ra4", "timm's RandAugment recipe, 3,600 epochs", "timm, results-imagenet.csv", {"B0": 78.6, "B1": 80.4},
            {"B0": "timm/efficientnet_b0.ra4_e3600_r224_in1k", "B1": "timm/efficientnet_b1.ra4_e3600_r240_in1k"},
            symmetric_padding=True, batch_norm_epsilon=1e-5, crop_fraction=0.9, antialias=True, **_PLUS_MINUS_ONE,
        ),
    )
}  # fmt: skip
"""What `weights=` takes by name, for B0–B7. (Lite's one set scales pixels as part of its architecture: `lite.py`.)"""


def get_variant(name: str) -> Variant:
    """Looks up a variant by name, whatever its case.

    Args:
        name: "B0" … "B7" or "Lite0" … "Lite4"; "efficientnet-b0" and "EfficientNetB0" are understood too.

    Returns:
        The `Variant`.

    Raises:
        ValueError: If there is no such variant; the message lists those there are, and the nearest.
    """
    short = str(name).lower().replace("efficientnet", "").strip("-_ ")
    by_short_name = {known.lower(): variant for known, variant in VARIANTS.items()}
    if short in by_short_name:
        return by_short_name[short]
    hint = did_you_mean(short, VARIANTS, cutoff=0.4)
    raise ValueError(f"Unknown EfficientNet variant. Known: {', '.join(VARIANTS)}.{hint} Received: {name!r}")


@dataclass(frozen=True)
class Published:
    """What a paper reports of another network: multiply-adds for one image, ImageNet top-1 in percent (single crop)."""

    name: str
    family: str
    multiply_adds: float
    top1: float


CONTEMPORARIES = (
    # Tan and Le, arXiv 1905.11946v5, table 2, which cites the networks' own papers.
    Published("ResNet-50", "ResNet and successors", 4.1e9, 76.0),
    Published("ResNet-152", "ResNet and successors", 11e9, 77.8),
    Published("ResNeXt-101", "ResNet and successors", 32e9, 80.9),
    Published("SENet", "ResNet and successors", 42e9, 82.7),
    Published("DenseNet-169", "DenseNet", 3.5e9, 76.2),
    Published("DenseNet-264", "DenseNet", 6.0e9, 77.9),
    Published("Inception-v3", "Inception", 5.7e9, 78.8),
    Published("Inception-v4", "Inception", 13e9, 80.0),
    Published("NASNet-A", "found by search", 24e9, 82.7),
    Published("AmoebaNet-C", "found by search", 41e9, 83.5),
    # Tan et al., arXiv 1807.11626, table 1.
    Published("MnasNet-A1", "found by search", 0.312e9, 75.2),
    # Sandler et al., arXiv 1801.04381, table 4.
    Published("MobileNetV2", "MobileNet", 0.300e9, 72.0),
    Published("MobileNetV2 × 1.4", "MobileNet", 0.585e9, 74.7),
    # Howard et al., arXiv 1905.02244, table 3, V3-Large 1.0.
    Published("MobileNetV3", "MobileNet", 0.219e9, 75.2),
)
"""Some well-known networks of EfficientNet's time, up to 2019, as published; the papers list more. Of table 2 five are
left out whose points would lie on others: Xception, Inception-ResNet-v2, PolyNet, AmoebaNet-A and PNASNet."""
