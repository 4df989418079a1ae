"""Labelled images: from a specification to batches.

`load` is all that most readers need, after `audit` on pictures of their own.
"""

from effnet_helpers.data.archives import extract_archive, is_archive
from effnet_helpers.data.audit import TABLE_OF_FINDINGS, Audit, audit
from effnet_helpers.data.dataset import ImageDataset
from effnet_helpers.data.draws import draw_images, share_out_labels
from effnet_helpers.data.listing import ImageFiles
from effnet_helpers.data.load import LeftOutWarning, load
from effnet_helpers.data.miniature import write_miniature_dogs
from effnet_helpers.data.photos import sample_photos
from effnet_helpers.data.pipeline import WHOLE, from_arrays, images_per_second
from effnet_helpers.data.scan import list_pictures, printable, scan_file
from effnet_helpers.data.sources import spec_of_path
from effnet_helpers.data.splits import fold_by_hash, split_by_hash
from effnet_helpers.data.tfds_prepare import NotPreparedError
