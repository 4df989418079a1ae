"""Every figure of the course. Each is shown with alternative text that says what it draws, and closed."""

from effnet_helpers.plotting.family import accuracy_versus_cost, compound_scaling, latency, schedule, throughput
from effnet_helpers.plotting.images import activation_maps, contact_sheet, image_grid, photos_with_predictions
from effnet_helpers.plotting.results import (
    accuracy_comparison,
    confusion,
    label_curve,
    learning_curves,
    per_class_recall,
)
from effnet_helpers.plotting.serving import growth, serving
from effnet_helpers.plotting.style import show
