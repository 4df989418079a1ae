"""A narrow and short network with all stages of a Lite variant: for tests that need blocks, not what they know."""

from effnet_helpers import models, runtime
from effnet_helpers.models.lite import build_lite
from effnet_helpers.variants import Variant

TINY = Variant("Lite-tiny", 0.25, 0.5, 32, 0.2, 0, 0, 0)
BLOCKS = [f"block{name}" for name in ("1a", "2a", "3a", "4a", "4b", "5a", "5b", "6a", "6b", "7a")]


def tiny_backbone(image_size=32, drop_connect_rate=0.2, seed=0):
    """The same random weights each time."""
    runtime.set_seed(seed)
    return models.without_xla(
        build_lite(TINY, include_top=False, image_size=image_size, drop_connect_rate=drop_connect_rate)
    )


def tiny_classifier(num_classes=3, **options):
    """The same with a head."""
    return models.add_head(tiny_backbone(**options), num_classes)
