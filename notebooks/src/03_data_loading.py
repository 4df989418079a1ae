# %% [markdown]
# # 03 · Data loading
#
# **How do labelled pictures become batches that a network can learn from, and what can go wrong on the way?**
#
# ## What you will learn
#
# - how one line loads the embedded set, Stanford Dogs, any published set, or a folder of your own
# - how to cut three splits that are the same on every machine, and why the third is touched once
# - how to augment a whole batch with one operation, and see what it does
# - what resizing does to fine texture
# - where the time goes between file and batch
#
# | | |
# |---|---|
# | before you start | [01 · First predictions](01_first_predictions.ipynb) |
# | takes | less than a minute and 1.5 GB of memory on two CPU cores |
# | downloads | nothing; the pictures came with the installation |

# %%
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from effnet_helpers import data, plotting, preprocessing, records, runtime
from effnet_helpers.data import audit, check_classes_in_splits, hash_key, take_units

import numpy as np
import pandas as pd
import tensorflow as tf

print(runtime.describe())

# %% [markdown]
# What you may want to change. Your own pictures go in as `dataset`, for example `folder:/path/to/pictures`, with one
# subfolder for each class.

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash, compared below
limit_per_class: int = 500  # use at most so many images of each class, 0 uses all
batch_size: int = 32  # images in a batch
split_seed: int = 0  # another seed gives another split
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
measure_seconds: float = 1.5  # how long to time each stage of the pipeline
seed: int = 0  # order of images and augmentation

# %% [markdown]
# `data.load` checks its own arguments, and says what it received and what would work.

# %%
records.expect(isinstance(batch_size, int) and batch_size >= 2, "batch_size", batch_size, "a whole number from 2 up")
records.expect(measure_seconds > 0, "measure_seconds", measure_seconds, "a number of seconds above 0")
runtime.set_seed(seed)
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)

# %% [markdown]
# ## What is in it
#
# Before anything else, know what you have: where it comes from, on what terms, which classes, how many of each.

# %%
print(images.provenance)

# %% [markdown]
# By default that is a set of *simulated* woven textiles: a program drew the weave, and in two of three classes it
# drew a defect. Say so whenever you quote a result on it. It is a published benchmark all the same, with published
# results of other methods, and for a course it has a virtue that photographs of dogs have not: nothing like it was in
# ImageNet.

# %% tags=["nbval-check-output"]
counts = pd.DataFrame(
    {split: np.bincount(images.labels(split), minlength=images.num_classes) for split in images.sizes},
    index=images.class_names,
)
print(counts.assign(together=counts.sum(axis=1)).to_string())
print(images.sizes)

# %% [markdown]
# Are the files in order? An *audit* reads each of them once and says what is wrong, odd or doubtful: what cannot be
# read, what is no picture at all, what will be turned upright or changed to RGB, which pictures are there twice.

# %%
print(audit(dataset))

# %% [markdown]
# The default set is clean. Yours will hardly be. Here is what the audit says of a few pictures that something
# happened to: one was cut off in copying, one is empty, one is a web page by the name of a picture, and one was filed
# under two classes.

# %%
with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary) / "spoiled"
    for number, file in enumerate(images.splits["train"].names[:12]):
        spoiled = folder / ("left" if number % 2 else "right") / f"{number}.jpg"
        spoiled.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images.splits["train"].root / file, spoiled)
    content = spoiled.read_bytes()
    for name, bytes_of_it in (("cut", content[:3000]), ("empty", b""), ("page", b"<html>404"), ("again", content)):
        (folder / "right" / f"{name}.jpg").write_bytes(bytes_of_it)
    print(audit(folder))

# %% [markdown]
# What is an *error* here is left out of training, with a warning, or makes results wrong. Copies never come into two
# splits. From a terminal, `effnet audit PATH` shows the same and writes all findings to a table.
#
# A few of each class. The enlarged detail below each image shows single pixels.

# %%
chosen = [
    int(i) for label in range(min(images.num_classes, 4)) for i in np.flatnonzero(images.labels("train") == label)[:2]
]
titles = [images.class_names[images.labels("train")[i]] for i in chosen]
plotting.image_grid([images.image("train", i) for i in chosen], titles, columns=6, heading="Training images", detail=48)

# %% [markdown]
# In the default set you may find the *global* defect, a shift in the whole pattern, by comparing rows. The *local*
# one is a small flaw somewhere in the picture, and it is often not in the detail that is enlarged here. Keep that in
# mind for notebooks 04 and 05.
#
# ## Three splits
#
# - **train**: what the network learns from.
# - **val** (validation): what *you* learn from. Every choice, such as a learning rate, is made by its accuracy on
#   these images.
# - **test**: what nobody learns from. It is scored once, at the very end.
#
# Why a third one? Try twenty settings and keep the best on val, and val has helped to choose; its accuracy is then a
# little too good. Many published notebooks skip this and report the accuracy on the images by which they chose.
#
# Which image goes where should not depend on the order of files on a disk, or on what was added elsewhere. So each
# image is given a number by a *hash* of its name, which looks random but is the same on every machine, and the split
# goes by rank within the class. Some images must stay together, such as the frames of one video or copies of one
# picture: seen in training, they would be no test. They form a *group*, and groups are placed as a whole.


# %% tags=["shows:effnet_helpers.data.split_by_hash"]
def split_by_hash(
    names: Sequence[str], labels: Sequence[int], seed: int = 0, val_fraction: float = 2 / 15,
    test_fraction: float = 0.2, groups: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(f"val and test must leave images to train on. Received: {val_fraction=}, {test_fraction=}")
    groups, members, strata = names if groups is None else groups, {}, {}
    for i in sorted(range(len(names)), key=lambda i: (hash_key(groups[i], seed), names[i])):
        members.setdefault(groups[i], []).append(i)
    for unit in members.values():
        strata.setdefault(tuple(sorted({labels[i] for i in unit})), []).append(unit)
    splits = {"train": [], "val": [], "test": []}
    for position, stratum in enumerate(sorted(strata)):
        units, total = strata[stratum], sum(map(len, strata[stratum]))
        rounding = (position + 0.5) / len(strata)
        for split, fraction, left in (("test", test_fraction, 1 + (val_fraction > 0)), ("val", val_fraction, 1)):
            if fraction and len(units) > left:
                splits[split] += take_units(units, max(1, int(total * fraction + rounding)), left)
        splits["train"] += [i for unit in units for i in unit]
    empty = {"val": val_fraction == 0, "test": test_fraction == 0, "train": False}
    check_classes_in_splits(names, labels, {split: part for split, part in splits.items() if not empty[split]})
    return {name: np.array(sorted(part, key=lambda i: names[i]), dtype=np.int64) for name, part in splits.items()}


# %% [markdown]
# That is the function the course uses; what you read is what you import. Apply it to all names together, and it puts
# each image where `data.load` put it.

# %% tags=["nbval-check-output"]
names = [name for part in images.splits.values() for name in part.names]
labels = np.concatenate([images.labels(split) for split in images.splits]).tolist()
again = split_by_hash(names, labels, seed=split_seed)
same = all({names[i] for i in again[split]} == set(part.names) for split, part in images.splits.items())
print(f"the same three splits: {same}")

# %% [markdown]
# (Published sets such as Stanford Dogs come with a test split. It is kept, and only val is cut from train, so for
# them the answer is False; so it is where pictures form groups, which are not passed on here.) Two properties are
# worth checking on any split, and neither can be taken for granted: no image in two of them, and every class in each in
# the same proportion.

# %% tags=["nbval-check-output"]
overlaps = len(names) - len(set(names))
shares = (counts / counts.sum()).round(3)
print(f"images in two splits: {overlaps}")
print(shares.to_string())

# %% [markdown]
# ## Batches
#
# A network learns from batches: a block of images and a row of integers, the positions of their classes in
# `class_names`. Pixels stay in [0, 255], as notebook 01 explained.

# %% tags=["nbval-check-output"]
pixels, numbers = next(iter(images.batches("train", batch_size, shuffle=True, seed=seed)))
print(f"{pixels.shape} {pixels.dtype.name}, {numbers.shape} {numbers.dtype.name}")
print([images.class_names[number] for number in numbers[:6]])

# %% [markdown]
# `shuffle=True` gives every epoch another order, decided by `seed` alone. Run this page twice and the first batch is
# the same.
#
# ## Augmentation
#
# A dog turned a little is the same dog. Showing each image in a new variation every epoch tells the network which
# changes do not matter. Rotation, shift, zoom and mirroring are all *projective warps*: each can be written as eight
# numbers that say where each output pixel comes from. So one operation can do them all, for a whole batch at once:


# %% tags=["shows:effnet_helpers.preprocessing.augment"]
def augment(
    images: tf.Tensor, *, seed: tf.Tensor, rotation: float = 0.0, translation: float = 0.0,
    zoom: float = 0.0, flip: str | None = None, contrast: float = 0.0,
) -> tf.Tensor:  # fmt: skip
    if flip not in (None, "horizontal", "vertical", "both") or not 0 <= zoom < 1:
        raise ValueError(f'flip: None, "horizontal", "vertical", "both"; zoom: 0 to 1. Received: {flip!r}, {zoom!r}')
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    draw = tf.random.stateless_uniform((7, tf.shape(images)[0]), seed, -1.0, 1.0)
    angle, scale = draw[0] * rotation * math.pi / 180, 1.0 + draw[1] * zoom
    cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
    mirror_x = tf.where(draw[2] < 0, -1.0, 1.0) if flip in ("horizontal", "both") else tf.ones_like(cos)
    mirror_y = tf.where(draw[3] < 0, -1.0, 1.0) if flip in ("vertical", "both") else tf.ones_like(cos)
    # Output pixel (x, y) is taken from input pixel (mirror_x (cos x - sin y) + left, mirror_y (sin x + cos y) + top).
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    left = centre_x - mirror_x * (cos * centre_x - sin * centre_y) + tf.round(draw[4] * translation * width)
    top = centre_y - mirror_y * (sin * centre_x + cos * centre_y) + tf.round(draw[5] * translation * height)
    rows = (mirror_x * cos, -mirror_x * sin, left, mirror_y * sin, mirror_y * cos, top)
    # Shifts by whole pixels and flips land on pixels: nothing lies in between, and the nearest is found sooner.
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=tf.stack([*rows, 0 * cos, 0 * cos], axis=1), output_shape=tf.shape(images)[1:3],
        fill_value=0.0, interpolation="BILINEAR" if rotation or zoom else "NEAREST", fill_mode="REFLECT",
    )  # fmt: skip
    gain = tf.reshape(1.0 + draw[6] * contrast, (-1, 1, 1, 1))
    mean = tf.reduce_mean(warped, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value(warped * gain + mean * (1.0 - gain), 0.0, 255.0)


# %% [markdown]
# Each image of the batch draws its own numbers from `seed`, which is a pair of integers. The same pair gives the same
# variations. Here is one image eight times, and only the draws differ:

# %%
one = tf.repeat(pixels[:1], 8, axis=0)
strengths = {"rotation": 10, "translation": 0.1, "zoom": 0.1, "flip": "both", "contrast": 0.2}
varied = augment(one, seed=tf.constant([seed, 0]), **strengths)
plotting.image_grid(
    [*one[:1], *varied], ["original", *(f"draw {i}" for i in range(1, 9))], columns=5, heading="Augmented"
)

# %% [markdown]
# (The black lines are the border that padding added; the warp mirrors what lies outside the image.) Look at such a
# picture before you train with it. If *you* could no longer tell the class, the network cannot either, and it will
# learn the noise. For dogs, `flip="both"` would be wrong: upside-down dogs are rare.

# %% tags=["nbval-check-output"]
repeated = augment(one, seed=tf.constant([seed, 0]), **strengths)
other = augment(one, seed=tf.constant([seed, 1]), **strengths)
print(f"same seed, same images: {bool(tf.reduce_all(repeated == varied))}")
print(f"other seed, same images: {bool(tf.reduce_all(other == varied))}")

# %% [markdown]
# In training, `images.batches("train", augment=strengths)` does this with a new pair for every batch of every epoch.
#
# ## Resizing, and what it destroys
#
# Networks want squares of one size. There are three ways to get there: *crop* (short side to size, then the central
# square), *pad* (keep the pixels, fill up the border), and *squash* (ignore the proportions). Which is right depends
# on where the information is. Here is the same detail of one image: cropped and squashed to the size that the
# smallest networks were published with, and padded:

# %%
original = preprocessing.load_image(images.splits["train"].root / images.splits["train"].names[0])
shapes = {"crop to 224": (224, "crop"), "squash to 224": (224, "squash"), f"pad to {image_size}": (image_size, "pad")}
versions = {"as it is": original} | {
    name: np.asarray(preprocessing.resize(original, size, mode)) for name, (size, mode) in shapes.items()
}
plotting.image_grid(list(versions.values()), list(versions), columns=4, heading="One image, resized", detail=40)

# %% [markdown]
# How much of the finest detail is left? Its strength can be measured: the mean difference between neighbouring
# pixels, away from the border.


# %%
def fine_detail(image):
    top, left = image.shape[0] // 4, image.shape[1] // 4
    grey = image.mean(axis=-1)[top:-top, left:-left]
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2


for name, image in versions.items():
    print(f"{name}: {fine_detail(image) / fine_detail(original):.0%} of the fine detail")

# %% [markdown]
# On photographs nobody misses it. In a woven textile the threads *are* the fine detail, and a small defect in them is
# blurred with the rest. That is why the default here pads instead of resizing. What it is worth in accuracy is an
# exercise of notebook 04.
#
# ## Where the time goes
#
# Files must be read and decoded, resized, gathered and augmented, in every epoch, and a network that waits for data
# learns nothing. How many images a second does each stage deliver, with all stages before it? (The first stage hands
# over one image at a time, the others read a whole batch by one call. That alone can make the second bar longer than
# the first, although it does more.)

# %%
train = images.splits["train"]
stages = {
    "decode one by one": data.decoded_images(train),
    "decode and resize": data.resized_images(train, image_size, resize_mode),
    "… in batches": images.batches("train", batch_size),
    "… augmented": images.batches("train", batch_size, augment=strengths),
    "cached batches": images.batches("train", batch_size, cache=True),
    "… augmented from cache": images.batches("train", batch_size, augment=strengths, cache=True),
}

# %% tags=["alone"]
rates = {name: data.images_per_second(stage.repeat(), measure_seconds) for name, stage in stages.items()}
plotting.throughput(rates)
for name, rate in rates.items():
    records.record(name.strip("… ").replace(" ", "_") + "_images_per_second", round(rate))

# %% [markdown]
# After the first epoch the decoded images can be kept as whole numbers, one byte each, and reading them is then almost
# free. `cache=True` keeps them in memory if they take no more than a quarter of what is available, else in a file on
# disk, else not at all, and says so. What it takes grows with the number of images and with the square of their side:

# %%
megabytes = images.sizes["train"] * image_size**2 * 3 / 1e6
print(f"{images.sizes['train']:,} training images of {image_size} × {image_size}: {megabytes:,.0f} MB")
print(f"12,000 of them: {12_000 * image_size**2 * 3 / 1e9:.1f} GB")

# %% [markdown]
# ## Your own pictures
#
# Put them into one folder for each class and pass `folder:PATH`, which may be a zip or tar archive, too. Folders called
# train, val and test above the classes are kept as splits. Or list paths and labels in a table and pass `csv:FILE`.
# That is all:
#
# ```python
# from effnet_helpers import data
#
# images = data.load("folder:/path/to/pictures", image_size=224)
# print(images.sizes, images.class_names)
# batches = images.batches("train", batch_size=32, shuffle=True)
# images.to_csv("splits.csv")  # which picture is in which split; "csv:splits.csv" loads it again
# ```
#
# Hidden files are ignored, so are files that are no pictures. A picture that cannot be read is found now, not in the
# middle of the third epoch: all of them are listed at once, left out and counted. What cannot be used is refused with
# a sentence:

# %%
for wrong in ("folder:no/such/folder", "textiles"):
    try:
        data.load(wrong, image_size=image_size)
    except (OSError, ValueError) as error:
        print(error, end="\n\n")

# %% [markdown]
# ## Stanford Dogs, and every other published set
#
# `stanford_dogs` and `tfds:NAME` load through `tensorflow_datasets`, which knows hundreds of sets, downloads them
# once and checks them. The `full` profile of this course runs notebooks 03 to 05 on Stanford Dogs: `effnet run
# --profile full`. It needs the network once, and a GPU if you are in a hurry.
#
# ## Recap
#
# - One specification string says which images; size, mode and seed say how they are prepared.
# - Splits by hash are disjoint, stratified and the same everywhere. Val is for choosing, test for the end.
# - Augmentation is one warp for the batch, and the same seed repeats it. Look at it before you use it.
# - Resizing removes the finest detail first. If that is where your classes differ, pad or use larger images.
# - Decoding and augmenting cost most; keep decoded images if they fit.
#
# **The surprise:** shrinking an image by a tenth, which the eye hardly sees, takes away a good part of its finest
# detail.
#
# ## Exercises
#
# 1. How many images differ between the test splits of two seeds? A solution follows.
# 2. Load a folder of your own. Which resize mode keeps what you would look at?
# 3. Raise `rotation` to 180. For which of your classes is that still the same class?

# %% tags=["solution"]
other_split = data.load(dataset, **options | {"split_seed": split_seed + 1}, limit_per_class=limit_per_class or None)
common = set(images.splits["test"].names) & set(other_split.splits["test"].names)
print(f"{len(common)} of {images.sizes['test']} test images are in both")

# %% [markdown]
# **Next:** [04 · Head training](04_head_training.ipynb) trains the first classifier.
