"""The family's facts against the networks that are built, and against an independent count."""

import math

from effnet_helpers import models
from effnet_helpers.models.blocks import stochastic_depth_layers
from effnet_helpers.variants import CONTEMPORARIES, VARIANTS, Variant, get_variant

import keras
import pytest

# Keras documents these totals for `include_top=True`; Lite's are those of the authors' networks.
TOTAL_PARAMETERS = {
    "B0": 5_330_571,
    "B1": 7_856_239,
    "B2": 9_177_569,
    "B3": 12_320_535,
    "B4": 19_466_823,
    "B5": 30_562_527,
    "B6": 43_265_143,
    "B7": 66_658_687,
    "Lite0": 4_694_024,
    "Lite1": 5_470_344,
    "Lite2": 6_150_168,
}
PUBLISHED_DROP_CONNECT_RATE = 0.2


# One rule makes all of them: for the others, the deepest of which take half a minute, it is enough before a release.
OFTEN = ("B0", "B3", "Lite0", "Lite2")
PARAMETERS = [pytest.param(name, marks=[pytest.mark.release] * (name not in OFTEN)) for name in VARIANTS]


@pytest.fixture(scope="module", params=PARAMETERS)
def variant(request):
    return get_variant(request.param)


@pytest.fixture(scope="module")
def classifier(variant):
    """Built once for all tests of a variant, with zeros for random weights, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", lambda self, *args, **_: keras.ops.zeros(*args))
        return models.build_imagenet_classifier(variant.name, weights=None)


def independent_multiply_adds(variant: Variant) -> int:
    """Counts from the stages alone, following the side of the feature map down; knows nothing of Keras layers."""
    side = -(-variant.resolution // 2)
    stem = 32 if variant.is_lite else variant.filters(32)
    top = 1280 if variant.is_lite else variant.filters(1280)
    total = side * side * 3 * 3 * 3 * stem
    channels = stem
    for stage in variant.stages():
        for repeat in range(stage.repeats):
            expanded = channels * stage.expand_ratio
            if stage.expand_ratio != 1:
                total += side * side * channels * expanded
            if repeat == 0 and stage.strides == 2:
                side = -(-side // 2)
            total += side * side * stage.kernel_size**2 * expanded
            if not variant.is_lite:
                squeezed = max(1, int(channels * 0.25))
                total += 2 * expanded * squeezed
            total += side * side * expanded * stage.filters_out
            channels = stage.filters_out
    return total + side * side * channels * top + top * 1000


def test_multiply_adds_equal_an_independent_count_and_come_near_the_published(classifier, variant):
    counted = models.count_multiply_adds(classifier)
    assert counted == independent_multiply_adds(variant)
    assert counted == pytest.approx(variant.published_multiply_adds, rel=0.06)


def test_stochastic_depth_rises_linearly_with_depth(classifier):
    blocks = [block for block in models.block_names(classifier) if block.startswith("block")]
    layers = stochastic_depth_layers(classifier)
    assert layers
    for layer in layers:  # unfreezing sets the rate, and keeps the one that it was built with
        expected = PUBLISHED_DROP_CONNECT_RATE * blocks.index(models.block_of(layer)) / len(blocks)
        assert getattr(layer, "full_rate", layer.rate) == pytest.approx(expected)


def test_unfreezing_takes_whole_blocks(classifier, variant):
    backbone = keras.Model(classifier.input, classifier.get_layer("top_activation").output)
    model = models.add_head(backbone, 3)
    blocks = models.block_names(model)
    assert (blocks[:2], blocks[-2][:-1], blocks[-1]) == (["stem", "block1a"], "block7", "top")
    by_number = models.unfreeze_blocks(model, last=3)
    assert list(by_number.index[by_number["trains"]]) == [*blocks[-3:], "head"]
    assert models.unfreeze_blocks(model, from_block=blocks[-3]).equals(by_number)
    for layer in model.layers:
        block, is_norm = models.block_of(layer), isinstance(layer, keras.layers.BatchNormalization)
        if block and layer.weights:
            assert bool(layer.trainable_weights) == (block in blocks[-3:] and not is_norm), layer.name
    counted = by_number["trainable"].sum() + by_number["frozen"].sum()
    assert counted == model.count_params() - (0 if variant.is_lite else 7)  # less its normalization
    for layer in classifier.layers:  # a model that is trainable already does not pass this on
        layer.trainable = True


def test_parameters_equal_the_published(classifier, variant):
    counted = classifier.count_params()
    assert counted == TOTAL_PARAMETERS.get(variant.name, counted)
    trainable = sum(math.prod(weight.shape) for weight in classifier.trainable_weights)
    # Publications round to two digits and count what trains.
    assert trainable == pytest.approx(variant.published_parameters, rel=0.03)


def test_networks_have_the_published_resolution_and_channels(classifier, variant):
    assert classifier.input_shape == (None, variant.resolution, variant.resolution, 3)
    assert classifier.get_layer("block7a_project_conv").filters == variant.filters(320)
    blocks = [block for block in models.block_names(classifier) if block.startswith("block")]
    assert len(blocks) == sum(stage.repeats for stage in variant.stages())


@pytest.mark.parametrize("spelling", ["b0", "B0", "efficientnet-b0", "EfficientNetB0", " b0 "])
def test_names_are_forgiving_of_spelling(spelling):
    assert get_variant(spelling).name == "B0"


def test_an_unknown_name_is_refused_with_the_known_and_the_nearest():
    with pytest.raises(ValueError, match=r"Known: B0, B1.*Lite4\. Did you mean 'Lite2'\?.*Received: 'Light2'"):
        get_variant("Light2")


def test_filters_never_round_down_by_more_than_ten_percent():
    for variant in VARIANTS.values():
        for baseline in (16, 24, 32, 40, 80, 112, 192, 320, 1280):
            assert variant.filters(baseline) % 8 == 0
            assert variant.filters(baseline) >= 0.9 * baseline * variant.width


def test_other_networks_of_the_time_are_no_cheaper_than_a_b_variant_that_is_as_accurate_but_for_those_of_phones():
    for other in CONTEMPORARIES:
        match = next(v for v in VARIANTS.values() if v.published_top1 >= other.top1)
        ratio = other.multiply_adds / match.published_multiply_adds
        assert ratio < 1.6 if other.multiply_adds < 1e9 else 4 < ratio < 18, other.name
