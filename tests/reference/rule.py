"""The rule that fills the networks of `timm.json` and `authors.json`, and the pictures that they were given.

Whole numbers only, so that NumPy gives the same on every machine and in every version.
"""

import math
import zlib

import numpy as np


def noise(name, shape):
    """Values in [-1, 1) that depend on a name: a counter, mixed as MurmurHash3 ends."""
    state = np.arange(1, math.prod(shape) + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)
    state ^= np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = (state ^ (state >> np.uint32(shift))) * np.uint32(factor)
    return (state.astype(np.float64) / 2**31 - 1).astype(np.float32).reshape(shape)


def weight(name, shape):
    """Values under a name in PyTorch's or TensorFlow's way: kernels that keep the size of what passes, norms near 1."""
    kind, values = name.replace("/", ".").rpartition(".")[2], noise(name, shape)
    if kind in ("running_var", "moving_variance"):
        return 1 + values / 2
    if kind == "gamma" or (kind == "weight" and len(shape) == 1):
        return 1 + values / 5
    if len(shape) == 1:
        return values / 10
    inputs = {"kernel": shape[:-1], "depthwise_kernel": shape[:2], "weight": shape[1:]}[kind]
    size = 8 if len(shape) == 2 else 2.4  # classes far apart; what passes neither fades nor explodes
    return values * np.float32(size / math.sqrt(math.prod(inputs)))


def pixels(size):
    """One picture, `(1, size, size, 3)` in [0, 255]: large patches, and noise."""
    patches = noise("patches", (1, 8, 8, 3)).repeat(-(-size // 8), axis=1).repeat(-(-size // 8), axis=2)
    return 127.5 + 100 * patches[:, :size, :size] + 27.5 * noise("grain", (1, size, size, 3))


def answers(features, probabilities):
    """What is kept of a network's answer: some of its last feature map, and of its logarithms of probabilities."""
    features = np.asarray(features)
    return {
        "shape": list(features.shape),
        "features": [float(f"{value:.6g}") for value in features.ravel()[:: features.size // 100]],
        "log_probabilities": [float(f"{value:.6g}") for value in np.log(np.asarray(probabilities)).ravel()[::20]],
    }
