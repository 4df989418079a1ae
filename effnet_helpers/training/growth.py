"""What more images and more devices cost: time, memory, disk and network, from a few rates that were measured.

A model to plan with, and coarse: every part is a quantity divided by a rate. What it is for is to say which part is the
largest, and where another one takes its place. It lies in this room because it is about training, of which it knows the
loop: gradients of all weights that train are added up in every step, input is read ahead, features are kept as float16.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from effnet_helpers import models, records

import numpy as np
import pandas as pd

FEATURE_BYTES = 2 * 1280
"""Of an image's features: 1,280 numbers of two bytes."""
BYTES_OF_A_NAME = 660.0
"""Of memory for each file that is listed: 37 MB (2**20 bytes) for 59,000, in `evaluation.measured("memory")`."""


@dataclass(frozen=True)
class Rates:
    """What one device does, and what joins it to others.

    Attributes:
        name: For tables and figures.
        read: Seconds to read, decode and resize an image, by all cores of a machine.
        forward: Seconds for an image through the network.
        train: Seconds for an image forward and backward through what trains.
        step: Seconds that a step takes whatever its images.
        start: Seconds before the first image.
        link: Bytes a second that a device sends to another.
        latency: Seconds until an exchange between two of them begins.
        storage: Bytes a second that all devices together read from where the pictures lie.
        a_machine: How many devices a machine has, which share its cores.
        reads_ahead: Whether images are read while the network works, by other cores; else one after the other.
    """

    name: str
    read: float
    forward: float
    train: float
    step: float = 0.0
    start: float = 0.0
    link: float = 1.25e9
    latency: float = 0.0
    storage: float = float("inf")
    a_machine: int = 1
    reads_ahead: bool = True


# Training and inference of B0 at 224 pixels in mixed precision on NVIDIA's A100, as published in NVIDIA's
# DeepLearningExamples (TensorFlow2/Classification/ConvNets/efficientnet_v1, tables of performance): 3,454 images a
# second on one, 20,647 on eight, which is what their processors can read and augment (its "Known issues" say so);
# 9,730 for inference. A link of 200 Gbit/s a device, as in the same machines (InfiniBand HDR), and pictures that come
# through one of 100 Gbit/s. 5 microseconds is an assumption.
A100 = Rates(
    "A100, as published",
    read=1 / 20647,
    forward=1 / 9730,
    train=1 / 3454,
    link=200e9 / 8,
    latency=5e-6,
    storage=100e9 / 8,
    a_machine=8,
)


@dataclass(frozen=True)
class Job:
    """What is to be done with each image.

    Attributes:
        image_bytes: Of a picture as it is stored.
        gradient_bytes: Of one gradient for every weight that trains, four bytes each in float32.
        batch: Images in a step for each device.
        passes: How often each image is trained on; 0 computes features, once.
    """

    image_bytes: float
    gradient_bytes: float
    batch: int = 32
    passes: float = 1.0


def all_reduce_bytes(gradient_bytes: float, devices: int) -> float:
    """What each device sends so that all of them have the sum of their gradients, by passing parts around a ring.

    Every part goes once around to be added up and once more to be handed out, each time over n - 1 of n links
    (Patarasuk and Yuan 2009, doi 10.1016/j.jpdc.2008.09.002).

    Args:
        gradient_bytes: Of the gradients on one device.
        devices: How many there are.

    Example:
        >>> training.all_reduce_bytes(13_000_000, 2)
        13000000.0
    """
    records.expect(devices >= 1, "devices", devices, "1 or more")
    return 2 * (devices - 1) / devices * gradient_bytes


def all_reduce_seconds(gradient_bytes: float, devices: int, link: float, latency: float = 0.0) -> float:
    """How long that takes: the bytes through one link, and a wait for each of the 2 (n - 1) exchanges."""
    return all_reduce_bytes(gradient_bytes, devices) / link + 2 * (devices - 1) * latency


def step_parts(rates: Rates, job: Job, devices: int) -> dict[str, float]:
    """What a step of training takes on each of the devices, in seconds, part by part.

    Returns:
        "computing", "adding gradients", "decoding" and "storage". Where the processors that read are others, the step
        takes as long as the largest of the first two together, the third, and the fourth; else the sum of the first
        three, or the fourth.
    """
    return {
        "computing": rates.step + job.batch * rates.train,
        "adding gradients": all_reduce_seconds(job.gradient_bytes, devices, rates.link, rates.latency),
        "decoding": job.batch * rates.read * min(devices, rates.a_machine),
        "storage": devices * job.batch * job.image_bytes / rates.storage,
    }


def _seconds(parts: Mapping[str, float], reads_ahead: bool) -> tuple[float, str]:
    """How long a step takes, and which part it is for."""
    work = parts["computing"] + parts["adding gradients"]
    chains = {"work": work, "decoding": parts["decoding"], "storage": parts["storage"]}
    if not reads_ahead:
        chains = {"work": work + parts["decoding"], "storage": parts["storage"]}
    longest = max(chains, key=chains.get)
    if longest == "work":
        longest = max(("computing", "adding gradients") + ("decoding",) * (not reads_ahead), key=parts.get)
    return max(chains.values()), longest


def plan_growth(rates: Rates, job: Job, images: Iterable[int], devices: Iterable[int]) -> pd.DataFrame:
    """Says what a job costs for so many images on so many devices, and what it waits for.

    Args:
        rates: What one device does.
        job: What is to be done with each image.
        images: Numbers of images.
        devices: Numbers of devices; each is combined with each number of images.

    Returns:
        One row a pair: `images`, `devices`, `seconds`, `images_per_second`, `waits_for` ("computing", "adding
        gradients", "decoding" or "storage"), `pictures_gb` and `features_gb` on disk, `names_gb` of memory in each
        process, and `sent_gb` by each device; GB are 10**9 bytes.

    Raises:
        ValueError: If a number of images or devices is below 1.

    Example:
        >>> job = training.Job(image_bytes=110e3, gradient_bytes=21e6, batch=256)
        >>> training.plan_growth(training.A100, job, [1_000_000], [1, 64])["waits_for"].tolist()
        ['computing', 'storage']
    """
    rows = []
    for count, n in itertools.product(images, devices):
        records.expect(count >= 1 and n >= 1, "images and devices", (count, n), "1 or more of each")
        if job.passes:
            parts, steps = step_parts(rates, job, n), math.ceil(count * job.passes / (job.batch * n))
        else:  # features: nothing is sent, and the network is run forward only
            parts = step_parts(replace(rates, train=rates.forward, latency=0.0), replace(job, gradient_bytes=0), n)
            steps = math.ceil(count / (job.batch * n))
        seconds, waits_for = _seconds(parts, rates.reads_ahead)
        rows.append(
            {
                "images": count,
                "devices": n,
                "seconds": rates.start + steps * seconds,
                "images_per_second": job.batch * n / seconds,
                "waits_for": waits_for,
                "pictures_gb": count * job.image_bytes / 1e9,
                "features_gb": count * FEATURE_BYTES / 1e9,
                "names_gb": count * BYTES_OF_A_NAME / 1e9,
                "sent_gb": all_reduce_bytes(job.gradient_bytes, n) * steps / 1e9 if job.passes else 0.0,
            }
        )
    return pd.DataFrame(rows)


def fit_features(table: pd.DataFrame) -> Rates:
    """Finds the rates behind measured times of feature extraction: start, each image, each multiplication.

    Args:
        table: As `evaluation.measured("growth")`: `images`, `image_size`, `variant` and `seconds`, three rows or more.

    Returns:
        Rates whose `forward` is for one thousand million multiplications with addition, and `train` unknown.
    """
    images = table["images"].to_numpy()
    columns = [np.ones(len(table)), images, images * _multiply_adds(table) / 1e9]
    start, read, forward = _least_squares(columns, table["seconds"])
    return Rates("measured", read=read, forward=forward, train=float("nan"), start=start, reads_ahead=False)


def feature_seconds(rates: Rates, table: pd.DataFrame) -> np.ndarray:
    """How long features take by rates of `fit_features`, for each row of such a table."""
    return rates.start + table["images"].to_numpy() * (rates.read + rates.forward * _multiply_adds(table) / 1e9)


def rates_for(rates: Rates, variant: str, image_size: int) -> Rates:
    """Rates of `fit_features` for one variant and size: `forward` is then for an image."""
    each = _multiply_adds(pd.DataFrame({"variant": [variant], "image_size": [image_size]}))[0]
    return replace(rates, forward=rates.forward * each / 1e9)


def _multiply_adds(table: pd.DataFrame) -> np.ndarray:
    return np.array([_count(row.variant, row.image_size) for row in table.itertuples()], float)


@functools.cache
def _count(variant: str, image_size: int) -> int:
    return models.count_multiply_adds(models.build_backbone(variant, weights=None, image_size=image_size))


def fit_steps(table: pd.DataFrame) -> Rates:
    """Finds the rates behind measured steps of one process, and behind what two processes take to add up gradients.

    Args:
        table: As `evaluation.measured("distributed")`: `processes`, `what` ("step", "all-reduce" or "input"), `size`
            (images in a step, or bytes) and `milliseconds`.

    Returns:
        Rates for one process of one core. Its `read` is what is taken from kept activations.
    """
    steps = table.query("what == 'step' and processes == 1")
    step, train = _least_squares([np.ones(len(steps)), steps["size"].to_numpy()], steps["milliseconds"] / 1000)
    sums = table.query("what == 'all-reduce' and processes == 2")
    # Two exchanges of half the gradients each: their bytes are those of the gradients.
    latency, per_byte = _least_squares([np.full(len(sums), 2.0), sums["size"].to_numpy()], sums["milliseconds"] / 1000)
    link = 1 / per_byte if per_byte else float("inf")
    return Rates("measured", read=0.0, forward=float("nan"), train=train, step=step, link=link, latency=latency)


def _least_squares(columns: list[np.ndarray], values: Iterable[float]) -> list[float]:
    """Solves for coefficients from 0 up that come nearest in proportion, so that short times count as much."""
    from scipy.optimize import nnls

    values = np.asarray(list(values), float)
    scale = np.array([np.abs(column).max() or 1.0 for column in columns])
    matrix = np.stack(columns, axis=1) / scale / values[:, None]
    return [float(each) for each in nnls(matrix, np.ones(len(values)))[0] / scale]
