# %% [markdown] tags=["slide"]
# # 03 · Data loading
#
# **How do labelled pictures become batches that a network can learn from, and what can go wrong on the way?**
#
# ## What you will learn
#
# - to look at the classes before anything else, and to try their task yourself
# - how one line loads the embedded set, Stanford Dogs, any published set, or a folder of your own
# - how to cut three splits that are the same on every machine, and why the third is touched once
# - how to augment a batch with Keras' own layers, and what one operation for all of it gains
# - what resizing does to proportions and to fine texture
# - how fast pictures come, how fast a network takes them, and which of the two waits
#
# | | |
# |---|---|
# | before you start | [01 · First predictions](01_first_predictions.ipynb) |
# | takes | reading 17 minutes, running 1 minute, 2 GB of memory on two CPU cores |
# | downloads | nothing; the pictures came with the installation |

# %%
import hashlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import Optional

from effnet_helpers import data, evaluation, models, plotting, preprocessing, records, runtime

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.stats import binom

print(runtime.describe())

# %% [markdown]
# What you may want to change. Your own pictures go in as `dataset`, for example `folder:/path/to/pictures`, with one
# subfolder for each class. The cell after it checks what it got; `data.load` checks its own arguments, and says what it
# received and what would work.

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash, compared below
limit_per_class: int = 500  # use at most so many images of each class, 0 uses all
batch_size: int = 32  # images in a batch
split_seed: int = 0  # another seed gives another split
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
variant: str = "Lite0"  # network whose speed is set beside the pipeline's, B0 to B7 or Lite0 to Lite4
measure_seconds: float = 1.5  # how long to time each stage
seed: int = 0  # order of images and augmentation

# %%
records.check(batch_size=(batch_size, 2, None), measure_seconds=(measure_seconds, 0.0, None))
runtime.set_seed(seed)
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)

# %% [markdown]
# ## Meet the classes
#
# Look before you count. The embedded set shows *simulated* woven textiles: a program drew the weave, and in two of
# three classes it drew a defect, too. Below is a row for each of two classes, of any other set for each of the first
# three. (Of textiles it is the middle of each image, larger.) What would *you* go by to tell the rows apart?

# %% tags=["slide"]
textile = dataset == "textile"
shown = ["nominal", "global"] if textile else images.class_names[:3]
members = {name: np.flatnonzero(images.labels("train") == label) for label, name in enumerate(images.class_names)}
columns = min(3, *(len(members[name]) for name in shown))
chosen = [(name, i) for name in shown for i in members[name][:columns]]
part = slice(image_size // 4, image_size * 3 // 4) if textile else slice(None)
pictures = [images.image("train", i)[part, part] for _, i in chosen]
plotting.image_grid(pictures, [name for name, _ in chosen], columns, heading="A row a class", widest=1.5)
if textile:
    print("The rows differ everywhere: nominal weave runs in long streaks, shifted weave (global) is short-grained.")
else:
    print("Colour, outline, texture, or merely the background? A network may go by any of them.")

# %% [markdown]
# Some differences are small. So here is a detail of each picture, enlarged until you see single pixels.

# %% tags=["slide"]
train = images.splits["train"]
titles, places = list(images.class_names[:4]), None
pictures = [images.image("train", members[name][0]) for name in titles]
if textile:
    titles, seen = ["nominal, same place", "local", "local"], [members["nominal"][0], *members["local"][:2]]
    pictures = [preprocessing.load_image(train.path(i)) for i in seen]
    found = [evaluation.oddest_place(picture) for picture in pictures[1:]]
    places = [(place.row, place.column) for place in found[:1] + found]
    print("The third class (local) has a flaw: a spot where single threads jump from dark to light. It is circled.")
plotting.image_grid(pictures, titles, columns=4, heading="What is small", detail=40, places=places)

# %% [markdown]
# ## Your turn: nine images
#
# Before a network tries it, try it yourself. Which class is each of these? (They are shown nearly as large as a network
# gets them.) Write your answers between the quotation marks of the second cell, one digit an image, and run that cell.
# Or leave it empty and go on.

# %% tags=["slide"]
choices = images.class_names[:3]
asked = np.concatenate([members[name][-(9 // len(choices)) :] for name in choices])
asked = np.random.default_rng(seed).permutation(asked)
heading = "Which class? " + ", ".join(f"{label}: {name}" for label, name in enumerate(choices))
numbered = [str(number) for number in range(1, len(asked) + 1)]
plotting.image_grid([images.image("train", i) for i in asked], numbered, columns=3, heading=heading, widest=2.5)

# %%
answers = ""  # such as "012012012"
truth = "".join(str(label) for label in images.labels("train")[asked])
right = sum(answer == label for answer, label in zip(answers, truth))
luck = binom.sf(right - 1, len(truth), 1 / len(choices))
if len(answers) == len(truth):
    print(f"{right} of {len(truth)} right; the classes were {truth}.")
    print(f"Guessing gets {len(truth) / len(choices):g} on average, and {right} or more in {luck:.1%} of all tries.")
else:
    print(f"{len(truth)} digits from 0 to {len(choices) - 1} are wanted, {len(answers)} are there.")

# %% [markdown]
# Nine images are too few to measure anybody, but you now know what is asked of a network. Notebook 05 will say how it
# does.
#
# ## What is in it
#
# You have looked; now count. Where do the images come from, on what terms, which classes are there, and how many of
# each? Whether images are simulated is part of any result: say so when you quote one.

# %% tags=["nbval-check-output"]
counts = pd.DataFrame(
    {split: np.bincount(images.labels(split), minlength=images.num_classes) for split in images.sizes},
    index=images.class_names,
)
print(images.provenance, counts.assign(together=counts.sum(axis=1)).to_string(), images.sizes, sep="\n\n")

# %% [markdown]
# The embedded set is a published benchmark, with published results of other methods. And its pictures are no part of
# ImageNet, on which our networks were trained; those of Stanford Dogs were taken from there
# ([description](http://vision.stanford.edu/aditya86/ImageNetDogs/)).
#
# Are the files in order? An *audit* reads each of them once and says what is wrong, odd or doubtful: what cannot be
# read, what is no picture at all, what will be turned upright or changed to RGB, which pictures are there twice. The
# embedded set is clean. Others seldom are: the second cell shows what the audit says of a few pictures that something
# happened to. One was cut off in copying, one is empty, one is a web page by the name of a picture, and one was filed
# under two classes.

# %%
print(data.audit(dataset))

# %%
with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary) / "spoiled"
    for number, file in enumerate(train.names[:12]):
        spoiled = folder / ("left" if number % 2 else "right") / f"{number}{Path(file).suffix}"
        spoiled.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(train.root / file, spoiled)
    content = spoiled.read_bytes()
    for name, bytes_of_it in (("cut", content[:3000]), ("empty", b""), ("page", b"<html>404"), ("again", content)):
        (folder / "right" / f"{name}.jpg").write_bytes(bytes_of_it)
    print(data.audit(folder))

# %% [markdown]
# An *error* is a file that is left out of training, with a warning, or one that would make results wrong. A *warning*
# is a doubt. ([Recall](../docs/glossary.md#recall) is the share of a class that is recognised.) Copies never come into
# two splits. From a terminal, `effnet audit PATH` shows the same and writes all findings to a table.
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
# Which image goes into which [split](../docs/glossary.md#split) should not depend on the order of files on a disk, or
# on what was added elsewhere. So each image gets a number by a *hash* of its name, which looks random but is the same
# on every machine. Within each class the images are put in the order of these numbers: the first fifth is for the
# test, the next two fifteenths for validation, the rest for training. Cutting class by class makes the splits
# [stratified](../docs/glossary.md#stratified).
#
# Three things are worth checking: that `data.load` puts each image in the same place, that no image is in two splits,
# and that every class has the same share of each.


# %% tags=["slide-code"]
def split(names, labels, seed=0):
    places = {}
    for position, label in enumerate(np.unique(labels)):
        in_class = [name for name, other in zip(names, labels) if other == label]
        ranked = sorted(in_class, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())
        rounding = (position + 0.5) / len(np.unique(labels))  # up in some classes, down in others
        test, val = (int(len(ranked) * share + rounding) for share in (1 / 5, 2 / 15))
        places |= dict(zip(ranked, ["test"] * test + ["val"] * val + ["train"] * len(ranked)))
    return places


# %% tags=["nbval-check-output"]
placed = [(name, part) for part, files in images.splits.items() for name in files.names]
labels = np.concatenate([images.labels(part) for part in images.splits])
ours = split([name for name, _ in placed], labels, split_seed)
print(f"images that `data.load` put elsewhere: {sum(ours[name] != part for name, part in placed)} of {len(placed):,}")
print(f"images in two splits: {len(placed) - len(dict(placed))}")
print((counts / counts.sum()).round(3).to_string())

# %% [markdown]
# The package's `data.split_by_hash` takes these steps and does three things more, so it may put some images of yours
# elsewhere. It keeps [groups](../docs/glossary.md#group) whole: the frames of one video or the copies of one picture,
# seen in training, would be no test (`group_by` names them; copies are found). It keeps splits that publishers made, as
# those of Stanford Dogs, and cuts only what is missing. And it refuses a class that is too small to be in all three.
#
# ## Batches
#
# A network learns from [batches](../docs/glossary.md#batch): a block of images and a row of integers, the positions of
# their classes in `class_names`. Pixels stay in [0, 255], as notebook 01 explained.

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
# changes do not matter: that is [augmentation](../docs/glossary.md#augmentation). Keras has layers for it, each of
# which changes one thing:

# %% tags=["slide-code"]
layers = keras.layers
plain = keras.Sequential(
    [
        layers.RandomFlip("horizontal_and_vertical", seed=seed),
        layers.RandomRotation(10 / 360, seed=seed + 1),  # in full turns, so ten degrees
        layers.RandomTranslation(0.1, 0.1, seed=seed + 2),  # in heights and widths
        layers.RandomZoom(0.1, seed=seed + 3),
        layers.RandomContrast(0.2, value_range=(0, 255), seed=seed + 4),
    ]
)
one = tf.repeat(pixels[:1], 5, axis=0)
by_layers = plain(one, training=True)  # without training=True the layers do nothing

# %% [markdown]
# Flips, turns, shifts and zooms have something in common: each says where an output pixel comes from, and that takes
# eight numbers (a *projective warp*). Two of them in a row are one warp again, just as two turns are one turn. So all
# four can be done by a single operation, for a whole batch at once, and the package's `preprocessing.augment` does so:

# %% tags=["slide"]
strengths = {"rotation": 10, "translation": 0.1, "zoom": 0.1, "flip": "both", "contrast": 0.2}
by_one_warp = preprocessing.augment(one, seed=tf.constant([seed, 0]), **strengths)
rows = {"original": one[:1], "layers": by_layers, "original again": one[:1], "one warp": by_one_warp}
varied = [(title, image) for title, batch in rows.items() for image in batch]
plotting.image_grid([image for _, image in varied], [title for title, _ in varied], 6, heading="One image, augmented")

# %% [markdown]
# (Black lines, if any, are the border that padding added. What lies outside the image is filled by mirroring: the
# layers mirror each time anew, one warp once.) Look at such a picture before you train with it. If *you* can no longer
# tell the class, the network cannot either, and it will learn the noise. For dogs, vertical flips would be wrong:
# upside-down dogs are rare.
#
# What does one warp gain? Speed, which is measured below. Sharpness: a pixel that lands between others is mixed from
# its neighbours, once instead of once a layer. How much of the fine detail is left, taken as the mean difference
# between neighbouring pixels in the middle of the images? And it can be repeated, because its draws come from a
# `seed`, a pair of integers, and from nothing else.


# %%
def fine_detail(image):
    top, left = image.shape[0] // 4, image.shape[1] // 4
    grey = np.asarray(image).mean(axis=-1)[top:-top, left:-left]
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2


# %%
again, other = (preprocessing.augment(pixels, seed=tf.constant([seed, i]), **strengths) for i in (0, 1))
before = sum(map(fine_detail, pixels))
for name, batch in (("layer after layer", plain(pixels, training=True)), ("one warp", again)):
    print(f"{name}: {sum(map(fine_detail, batch)) / before:.0%} of the fine detail")
repeated = preprocessing.augment(pixels, seed=tf.constant([seed, 0]), **strengths)
print(f"same seed, same images: {np.array_equal(again, repeated)}; other seed: {np.array_equal(again, other)}")

# %% [markdown]
# In training, `images.batches("train", augment=strengths)` takes a new pair of integers for every batch of every epoch.
#
# ## Resizing, and what it destroys
#
# Networks want squares of one size. There are three ways to get there: *crop* (short side to size, then the central
# square), *pad* (keep the pixels if they fit, fill up the border), and *squash* (ignore the proportions). Here they
# are on a photograph that is not square:

# %% tags=["slide"]
motorcycle = preprocessing.load_image(data.sample_photos()["motorcycle"])
modes = {mode: np.asarray(preprocessing.resize(motorcycle, 224, mode)) for mode in ("crop", "pad", "squash")}
height, width = motorcycle.shape[:2]
versions = {f"{width} × {height}": motorcycle} | modes
plotting.image_grid(list(versions.values()), list(versions), columns=4, heading="Three ways to a square of 224")

# %% [markdown]
# Cropping loses both ends, padding loses area, squashing loses the proportions. Choose what your classes do not depend
# on. (Of a square picture crop and squash make the same.)
#
# Whatever the mode, a smaller picture has less fine detail, and enlarging it does not bring it back. Here is the middle
# of a training image as it is, and made smaller and as large again:

# %% tags=["slide"]
original = images.image("train", 0)
versions = {"as it is": original}
for eighths in (7, 5, 4):
    small = preprocessing.resize(original, image_size * eighths // 8, "squash")
    versions[f"{len(small)} pixels and back"] = np.asarray(preprocessing.resize(small, image_size, "squash"))
for name, image in versions.items():
    print(f"{name}: {fine_detail(image) / fine_detail(original):.0%} of the fine detail")
middle = slice(image_size // 2 - 20, image_size // 2 + 20)
middles = [image[middle, middle] for image in versions.values()]
plotting.image_grid(middles, list(versions), columns=4, heading="The middle 40 × 40 pixels of one image, resized")

# %% [markdown]
# On photographs nobody misses what is lost. In a woven textile the threads *are* the fine detail.
#
# How did this page know where to circle the flaws of the embedded set? The labels say that there is one, not where, and
# no network was asked. `evaluation.oddest_place` takes the squared differences of neighbouring pixels, averages them
# over a small spot, and finds where that is farthest above the picture's median. How far, measured in typical
# deviations from the median, it calls *strength*. The rule knows nothing but fine detail, so it shows what becomes of a
# flaw when pictures shrink:

# %%
for size in (256, 224, 160, 128) if textile else ():
    for name in ("local", "nominal", "global"):
        read = [preprocessing.read_resized(train.path(i), size, "pad") for i in members[name][:25]]
        found = [evaluation.oddest_place(picture).strength for picture in read]
        print(f"{size} pixels, {name}: strength {min(found):.1f} to {max(found):.1f} in {len(found)} images")

# %% [markdown]
# At full size no other image comes near the weakest flaw. At 224 pixels, the size at which Lite0 was trained, the
# weakest flaw is already within the range of the others. At 128 the three ranges are much the same, and for the rule
# there is no flaw left. That is why the default here pads instead of resizing; what it is worth in accuracy is an
# exercise of notebook 04. It also shows that somebody who knows what *one* flaw looks like can write down a rule for
# it. The rule sees no shift, knows no other flaw, and on a photograph it finds just the sharpest edge. Networks are for
# what nobody can write down.
#
# ## Who waits for whom
#
# Files must be read and decoded, resized, gathered and augmented, in every epoch. After the first one the decoded
# images can be kept as whole numbers, one byte each: `cache=True` keeps them in memory if they take no more than a
# quarter of what is available, else in a file on disk, else not at all, and says so. And then there is the network,
# which answers (*forward*) or learns from them (*training step*: forward, backward, and every weight changed). How many
# images a second does each manage? (From one line of the axis to the next is one power of ten.)


# %%
def by_plain_layers(batch, seed):
    return plain(batch, training=True)


stages = {
    "decode, resize, batch: first epoch": images.batches("train", batch_size),
    "from the cache: later epochs": images.batches("train", batch_size, cache=True),
    "… augmented by layers": images.batches("train", batch_size, augment=by_plain_layers, cache=True),
    "… augmented by one warp": images.batches("train", batch_size, augment=strengths, cache=True),
}
network = models.add_head(models.build_backbone(variant, weights=None, image_size=image_size), images.num_classes)
network.compile("adam", "sparse_categorical_crossentropy")
steps = {"forward": network.predict_on_batch, "training step": lambda batch: network.train_on_batch(batch, eight)}
megabytes = len(train) * image_size**2 * 3 / 1e6
print(f"{len(train):,} images of {image_size} × {image_size} take {megabytes:,.0f} MB in the cache")


# %% tags=["alone", "slide"]
few, eight = pixels[:8], numbers[:8]  # to train on a whole batch from the first layer on takes gigabytes


def images_a_second(step):
    step(few)  # the first call builds the graph
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < measure_seconds:
        step(few)
        count += len(few)
    return count / (time.perf_counter() - start)


rates = {name: data.images_per_second(stage.repeat(), measure_seconds) for name, stage in stages.items()}
speeds = {f"{variant}, {name}": images_a_second(step) for name, step in steps.items()}
plotting.throughput(rates, speeds)
loading, training = rates["decode, resize, batch: first epoch"], speeds[f"{variant}, training step"]
print(f"a training step takes {loading / training:.1f} times as long as reading its batch from files:")
print("the network waits for the files" if loading < training else "the files wait for the network")
records.record("first_epoch_images_per_second", round(loading))
records.record("training_images_per_second", round(training))

# %% [markdown]
# The next batches are prepared while the network works on one, so the slower of the two sets the pace, and the other
# waits. Without a GPU both share the processor's cores, so faster loading helps even where the network is the slow one.
# A GPU makes the network many times faster and the reading of files no faster: run this page there before you tune
# anything. A pipeline that lags is helped by the cache first, by cheaper augmentation next, by more cores last. What
# the cache takes grows with the number of images and with the square of their side.
#
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

# %% [markdown] tags=["slide"]
# ## Recap
#
# - Look at the classes first, large enough to see what tells them apart; what you cannot tell, ask why a network could.
# - One specification string says which images; size, mode and seed say how they are prepared.
# - Splits by hash are disjoint, stratified and the same everywhere. Val is for choosing, test for the end.
# - Keras' layers augment one change at a time; one warp does all at once, sharper, and the same seed repeats it.
# - Crop, pad and squash each lose something else, and every reduction takes the finest detail first.
# - The slower of pipeline and network sets the pace. Measure both before you tune either.
#
# **The surprise:** turned, shifted and zoomed by one layer after another, the images lost more of their fine detail
# than by being shrunk by an eighth and enlarged again.
#
# **Practise:** [exercises 03](exercises/03_data_loading.ipynb)
#
# **Next:** [04 · Head training](04_head_training.ipynb) trains the first classifier.
