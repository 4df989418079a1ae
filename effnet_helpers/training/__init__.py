"""Train a head on frozen features, then fine-tune whole blocks, without computing anything twice."""

from effnet_helpers.training.batch_norm import ReestimateBatchNorm, reestimate_batch_norm
from effnet_helpers.training.callbacks import KeepBest, TrainingDivergedError
from effnet_helpers.training.devices import use_device
from effnet_helpers.training.features import Features, extract_features, predict_in_shares
from effnet_helpers.training.fit import Fit, compile_for_labels, fine_tune, fit_head, warmup_cosine
from effnet_helpers.training.growth import (
    A100,
    FEATURE_BYTES,
    Job,
    Rates,
    all_reduce_bytes,
    all_reduce_seconds,
    feature_seconds,
    fit_features,
    fit_steps,
    plan_growth,
    rates_for,
    step_parts,
)
from effnet_helpers.training.prefix import plan_prefix
from effnet_helpers.training.processes import Processes, join_processes
from effnet_helpers.training.recipe import DEEP, SHALLOW, Recipe, choose_recipe, steps_for
from effnet_helpers.training.regions import FLOOR, add_region_head, fit_region_head, whitening
from effnet_helpers.training.served import balancing
from effnet_helpers.training.solve import STRENGTHS, Solved, solve_head
