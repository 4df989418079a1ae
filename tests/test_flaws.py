"""The measure that finds a flaw without a network."""

from effnet_helpers import data, evaluation

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


def texture(seed=0, side=256):
    grey = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 2)
    return np.repeat(128 + 40 * (grey / grey.std())[..., None], 3, axis=-1).clip(0, 255)


@pytest.mark.parametrize("place", [(40, 200), (128, 128), (230, 20)])
def test_a_rough_patch_is_found_where_it_is(place):
    image, (row, column) = texture(), place
    image[row - 8 : row + 8, column - 4 : column + 4] = np.random.default_rng(1).uniform(0, 255, (16, 8, 1))
    found = evaluation.oddest_place(image)
    assert np.hypot(found.row - row, found.column - column) < 5
    assert found.strength > 3 * evaluation.oddest_place(texture()).strength


def test_the_border_that_padding_adds_is_no_flaw():
    image = texture()
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)))
    assert evaluation.oddest_place(padded).strength < 2 * evaluation.oddest_place(image).strength
    assert evaluation.oddest_place(np.zeros((64, 64, 3), np.uint8)).strength == 0


def test_strength_parts_the_local_flaw_from_both_other_classes():
    images = data.load("textile", image_size=256, resize_mode="pad", limit_per_class=60)
    labels = images.labels("train")
    strengths = np.array([evaluation.oddest_place(images.image("train", i)).strength for i in range(len(labels))])
    is_local = labels == images.class_names.index("local")
    assert strengths[is_local].min() > 12 > strengths[~is_local].max()


@pytest.mark.parametrize("shape", [(256, 256), (32, 256, 3), (1, 256, 256, 3)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="64 or more a side"):
        evaluation.oddest_place(np.zeros(shape))
