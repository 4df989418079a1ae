"""Hand a classifier to a runtime that needs neither Keras nor this package, prove that it decides the same, and use it.

What is handed over takes float32 pixels (batch, height, width, 3) in [0, 255] and gives float32 probabilities (batch,
classes), whatever it computes in between: the scaling is inside. A JSON file beside it says so.
"""

from effnet_helpers.export.contract import Classifier, Contract, judge, keras_classifier, open_classifier
from effnet_helpers.export.convert import (
    Serve,
    pixel_scaling,
    quiet_converters,
    serving_copy,
    serving_function,
    to_litert,
)
from effnet_helpers.export.predict import (
    PREDICTIONS,
    Found,
    Summary,
    find_pictures,
    predict_files,
    predict_to_csv,
    read_pixels,
    try_to_read,
)
from effnet_helpers.export.runners import FORMATS, runner, why_unavailable
from effnet_helpers.export.verify import BOUNDS, Bound, Exported, ParityError, compare_probabilities, export
