"""How good a classifier is, how sure that figure is, where it errs, and what in a picture its answer rests on."""

from effnet_helpers.evaluation.compare import paired_differences
from effnet_helpers.evaluation.flaws import OddPlace, oddest_place
from effnet_helpers.evaluation.maps import class_activation_map, pointing_game
from effnet_helpers.evaluation.report import (
    Mistake,
    Report,
    accuracy_interval,
    evaluate,
    majority_baseline,
    report_from_probabilities,
)
from effnet_helpers.evaluation.tables import MEASURED, measured
