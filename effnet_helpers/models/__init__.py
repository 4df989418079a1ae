"""Build an EfficientNet, put a head on it, choose what trains, cut it in two, save it and load it again.

Every model here is one flat functional `keras.Model` whose input is float pixels (batch, height, width, 3) in [0, 255];
scaling is its first layers' affair. Layers are named after their block: `stem_…`, `block1a_…` … `block7a_…`, `top_…`,
and `head_…` for what `add_head` adds.
"""

from effnet_helpers.models.blocks import (
    block_names,
    block_of,
    first_block_to_train,
    freeze_backbone,
    last_layer_below,
    set_stochastic_depth,
    split_after,
    split_at_block,
    trainable_table,
    unfreeze_blocks,
    without_xla,
)
from effnet_helpers.models.build import add_head, build_backbone, build_imagenet_classifier, count_multiply_adds
from effnet_helpers.models.card import ModelCard, read_card
from effnet_helpers.models.decode import decode_predictions, restrict_to_wordnet_ids
from effnet_helpers.models.files import check_save_path, float32_copy, load, save
from effnet_helpers.models.guard import ScaledPixelsWarning, guard_pixel_range
from effnet_helpers.models.trust import Trust, pack_centres
from effnet_helpers.models.weights import WeightsError
