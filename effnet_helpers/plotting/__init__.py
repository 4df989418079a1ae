"""Every figure of the course. Each is shown with alternative text that says what it draws, and closed."""

from effnet_helpers.plotting.basics import descent, functions, pixel_values
from effnet_helpers.plotting.costs import accuracy_versus_cost, compound_scaling, growth, latency, serving, throughput
from effnet_helpers.plotting.diagrams import block_diagram
from effnet_helpers.plotting.images import activation_maps, contact_sheet, image_grid, photos_with_predictions
from effnet_helpers.plotting.plans import outlook
from effnet_helpers.plotting.results import (
    accuracy_comparison,
    confusion,
    label_curve,
    learning_curves,
    per_class_recall,
    schedule,
)
from effnet_helpers.plotting.runs import over_seeds, paired_differences
from effnet_helpers.plotting.style import collect, show
from effnet_helpers.plotting.trust import reliability_diagram, robustness
