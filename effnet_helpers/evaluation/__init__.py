"""How good a classifier is, how sure that figure is, where it errs, and when to trust one of its answers."""

from effnet_helpers.evaluation.belonging import centre_distance, class_centres, doubt, upper_threshold
from effnet_helpers.evaluation.calibration import (
    CalibrationError,
    apply_temperature,
    calibration_error,
    fit_temperature,
    reliability_table,
)
from effnet_helpers.evaluation.compare import Comparison, compare_answers, mean_interval, paired_differences
from effnet_helpers.evaluation.flaws import oddest_place
from effnet_helpers.evaluation.labels import out_of_fold_probabilities, suspected_labels
from effnet_helpers.evaluation.maps import class_activation_map, grad_cam, occlusion_map, pointing_game
from effnet_helpers.evaluation.operating_point import (
    Alarms,
    OperatingPoint,
    choose_operating_point,
    count_alarms,
    raises_alarm,
)
from effnet_helpers.evaluation.report import (
    Mistake,
    Report,
    accuracy_interval,
    evaluate,
    majority_baseline,
    report_from_probabilities,
)
from effnet_helpers.evaluation.sets import conformal_thresholds, prediction_sets, set_coverage
from effnet_helpers.evaluation.tables import MEASURED, measured
from effnet_helpers.evaluation.trust import Judged, apply_trust, fit_trust, operating_point
