"""Pixels: read a picture, bring it to size, augment a batch.

Everything here speaks one language: red, green, blue, values from 0 to 255. Scaling to what a network wants
belongs to its weights and sits inside the model.
"""

from effnet_helpers.preprocessing.pictures import (
    FORMATS,
    coding_of,
    orientation_of,
    picture_size,
    read_rgb,
    upright_rgb,
    why_unreadable,
)
from effnet_helpers.preprocessing.pixels import (
    AUGMENTATIONS,
    RESIZE_MODES,
    augment,
    check_size,
    load_image,
    read_resized,
    resize,
    resize_picture,
    watch_pixel_range,
)
