"""Pixels that were divided by 255 before a model that scales by itself are noticed, in whatever form they come."""

import warnings

from effnet_helpers.models import ScaledPixelsWarning, guard_pixel_range

import keras
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def model():
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return guard_pixel_range(model)


class Pictures(keras.utils.PyDataset):
    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.images, np.zeros(len(self.images))


def in_every_form(images):
    labels = np.zeros(len(images))
    return {
        "array": (images, labels),
        "tensor": (tf.constant(images), labels),
        "dataset": (tf.data.Dataset.from_tensor_slices((images, labels)).batch(2),),
        "pydataset": (Pictures(images),),
    }


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [warning for warning in caught if warning.category is ScaledPixelsWarning]


SCALED = np.full((4, 8, 8, 3), 0.5, np.float32)


@pytest.mark.parametrize("form", ["array", "tensor", "dataset", "pydataset"])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_scaled_pixels_are_noticed_once(model, method, form):
    data = in_every_form(SCALED)[form][: 1 if method == "predict" else 2]
    (warning,) = warned(lambda: [getattr(model, method)(*data, verbose=0) for _ in range(2)])
    assert "do not divide by 255" in str(warning.message)
    if form != "dataset":
        assert warning.filename == __file__


@pytest.mark.parametrize("form", ["array", "tensor", "dataset", "pydataset"])
@pytest.mark.parametrize("brightest", [0.0, 1.5, 255.0])
def test_black_and_proper_pixels_pass_in_silence(model, form, brightest):
    images = np.zeros((4, 8, 8, 3), np.float32)
    images[:, 0] = brightest
    assert not warned(lambda: model.fit(*in_every_form(images)[form], epochs=2, verbose=0))


def test_the_guard_uses_up_no_batch_and_keeps_results(model):
    images = np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 3)).astype(np.float32)
    served = []
    batches = tf.data.Dataset.from_generator(
        lambda: (served.append(i) or images[2 * i : 2 * i + 2] for i in range(3)),
        output_signature=tf.TensorSpec((None, 8, 8, 3), tf.float32),
    )
    predicted = model.predict(batches.apply(tf.data.experimental.assert_cardinality(3)), verbose=0)
    np.testing.assert_allclose(predicted, model(images), rtol=1e-5)
    assert served == [0, 1, 2]


def test_generators_and_keyword_arguments_pass(model):
    labels = np.zeros(4)
    assert not warned(lambda: model.predict(((SCALED,) for _ in range(2)), steps=2, verbose=0))
    assert len(warned(lambda: model.fit(x=SCALED, y=labels, validation_data=(SCALED, labels), verbose=0))) == 1


def test_guarding_twice_and_two_models(model):
    other = guard_pixel_range(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]))
    assert guard_pixel_range(model) is model
    assert len(warned(lambda: (model.predict(SCALED, verbose=0), other.predict(SCALED, verbose=0)))) == 2
