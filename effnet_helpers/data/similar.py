"""Perceptual hashes of pictures, and pairs that look alike by them, without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dct

MOST_BITS = 6  # of 64, in which the hashes of pictures that look alike may differ
LOOK_SIDE = 32  # pixels of a picture that are looked at
LOWEST = dct(np.eye(LOOK_SIDE), axis=0)[:8].astype(np.float32)  # as a matrix: 8 of the 32 frequencies


def look_of(image: Image.Image) -> int:
    """Returns a picture's perceptual hash, 64 bits: which of its 8 × 8 lowest frequencies are above their median.

    The method of pHash (phash.org) and of the package ImageHash, as one product of small matrices, which takes a third
    of that package's time.
    """
    grey = image.convert("L").resize((LOOK_SIDE, LOOK_SIDE), Image.Resampling.BOX)
    low = (LOWEST @ np.asarray(grey, np.float32) @ LOWEST.T).ravel()
    return int.from_bytes(np.packbits(low >= np.partition(low, 32)[32]).tobytes())


def similar_pairs(looks: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Finds for each picture the other one whose hash is nearest, if it is near enough.

    Hashes that differ in at most `MOST_BITS` bits agree in at least one of `MOST_BITS + 1` parts, so only those that
    share a part are compared.

    Args:
        looks: Perceptual hashes of 64 bits.

    Yields:
        `(position, nearest, bits)`: two positions and the number of bits that differ, each `position` at most once.
    """
    hashes, which, counts = np.unique(np.array(looks, dtype=np.uint64), return_inverse=True, return_counts=True)
    positions = pd.Series(np.arange(len(looks))).groupby(which).indices
    edges = np.linspace(0, 64, MOST_BITS + 2).astype(int).tolist()
    parts = np.stack([(hashes >> low) & (2 ** (high - low) - 1) for low, high in pairwise(edges)])
    members = [pd.Series(np.arange(len(part))).groupby(part).indices for part in parts]
    for position, index in enumerate(which):
        if counts[index] > 1:
            first, second = positions[index][:2]
            yield position, int(second if first == position else first), 0
            continue
        candidates = np.concatenate([same[value] for same, value in zip(members, parts[:, index], strict=True)])
        candidates = candidates[candidates != index]
        bits = np.bitwise_count(hashes[candidates] ^ hashes[index])
        if len(bits) and bits.min() <= MOST_BITS:
            yield position, int(positions[candidates[bits.argmin()]][0]), int(bits.min())
