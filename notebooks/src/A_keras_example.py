# %% [markdown] tags=["slide"]
# # A · The Keras example, cell by cell
#
# **What does the best-known page on fine-tuning EfficientNet do, line by line, in today's Keras, and what of its advice
# holds when it is measured?**
#
# The page is
# [Image classification via fine-tuning with EfficientNet](https://keras.io/examples/vision/image_classification_efficientnet_fine_tuning/)
# among the code examples of keras.io. This appendix goes its way in its order, with EfficientNetB0 and Stanford Dogs,
# in nothing but Keras, TensorFlow, `tensorflow_datasets` and NumPy. Of this course's helpers, some draw figures, one
# checks parameters, and one makes a small stand-in for the data.
#
# **As you find it here, this is a rehearsal, and no accuracy on this page means anything.** The weights are random, and
# the 480 pictures, in the real set's format and under its 120 names, are pieces of photographs without a dog. So every
# cell runs within about a minute, without network. With the network once and a GPU, one parameter makes it the real
# thing: `effnet run A -p real=true`. What *is* measured on this page was measured elsewhere, and says where.
#
# ## What you will learn
#
# - to build EfficientNetB0 with its top and without, and what Keras no longer lets you say
# - to go from `tfds.load` to batches: one-hot and plain labels, resizing, augmentation, prefetching
# - to train from scratch, then a frozen head, then whole blocks, and not to be caught by `trainable`
# - which of the page's tips were confirmed, which were not, and on how many runs that stands
# - where each part of the page, in its editions of 2023 and 2026, is taught in this course, and what differs
#
# | | |
# |---|---|
# | before you start | [05 · Unfreezing](05_unfreezing.ipynb), or the page itself |
# | takes | reading 17 minutes, running 1 minute, 2 GB of memory on two CPU cores |
# | downloads | nothing; the real thing Keras' weights and Stanford Dogs, once; it wants a GPU, and was not timed |

# %%
import json
import math
import tempfile
from pathlib import Path

from effnet_helpers import data, evaluation, plotting, records, runtime

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from keras import layers
from keras.applications import EfficientNetB0, EfficientNetB1

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
real: bool = False  # true takes ImageNet weights and the real Stanford Dogs, which wants the network once and a GPU
image_size: int = 0  # side of the square images in pixels, 0 takes 224 for the real thing and 64 for the rehearsal
batch_size: int = 0  # images in a step, 0 takes 64 for the real thing and 16 for the rehearsal
scratch_epochs: int = 0  # passes from random weights, 0 takes 40 for the real thing and 1 for the rehearsal
head_epochs: int = 0  # passes for the head, 0 takes 25 for the real thing and 1 for the rehearsal
fine_tune_epochs: int = 0  # passes with blocks unfrozen, 0 takes 4 for the real thing and 1 for the rehearsal
learning_rate: float = 0.01  # of Adam, for the head
fine_tune_rate: float = 0.00001  # of Adam, with blocks unfrozen
from_block: str = "block7a"  # lowest block that trains
seed: int = 0  # for random weights, order of images, augmentation and dropout

# %%
records.check(
    image_size=(image_size, 0, None),
    batch_size=(batch_size, 0, None),
    scratch_epochs=(scratch_epochs, 0, None),
    head_epochs=(head_epochs, 0, None),
    fine_tune_epochs=(fine_tune_epochs, 0, None),
    learning_rate=(learning_rate, 0.0, 1.0),
    fine_tune_rate=(fine_tune_rate, 0.0, 1.0),
)
runtime.set_seed(seed)
image_size, batch_size = image_size or (224 if real else 64), batch_size or (64 if real else 16)
scratch_epochs, head_epochs = scratch_epochs or (40 if real else 1), head_epochs or (25 if real else 1)
fine_tune_epochs = fine_tune_epochs or (4 if real else 1)
print("The real thing." if real else "A rehearsal: random weights, no dogs. No accuracy below means anything.")

# %% [markdown]
# ## The constructor, with its top
#
# `EfficientNetB0()` by itself means `weights="imagenet"`: Keras downloads a file of about 20 MB once and keeps it in
# `~/.keras/models`. Without network that ends in a plain `Exception`, and a training that went on from random weights
# instead would cost hours before anybody noticed. So there is one `try` here, and it stops. (With the word "imagenet"
# there is one layer more than below, a second `Rescaling`; newer weights, further down, come back to it.)
#
# `summary()` of the whole network fills pages. Its last layers tell most:

# %% tags=["nbval-check-output"]
weights = "imagenet" if real else None
try:
    classifier = EfficientNetB0(weights=weights)
except Exception as error:
    cure = "Connect once, or put efficientnetb0.h5 and efficientnetb0_notop.h5 into ~/.keras/models, or take real=False"
    raise RuntimeError(f"Keras could not fetch the ImageNet weights. {cure}. It said: {error}") from None
print(f"{len(classifier.layers)} layers, {classifier.count_params():,} parameters")

# %%
classifier.summary(layer_range=("block7a_project_conv", "predictions"))

# %% [markdown]
# ## Without its top
#
# `include_top=False` leaves out the pooling, the dropout and the layer of 1,000 sums. What is left takes images of any
# size from 32 pixels on, and ends in 1,280 [features](../docs/glossary.md#feature) for each region of the image. Five
# times the side is halved, and odd numbers are rounded up: one pixel more than 224 costs a whole row and column of
# regions that look at little but padding. So the page's remark on sizes is confirmed by counting: those divisible by
# 32 waste nothing. B1's own 240, which the page gives as an example, is divisible by 16 only, and wastes some.
#
# The page's other argument, `drop_connect_rate=0.4` for stronger
# [stochastic depth](../docs/glossary.md#stochastic-depth), is refused by Keras 3; the page never runs that line. The
# layers that skip a block have a rate, though, and it may be set before `compile`.

# %% tags=["nbval-check-output"]
shape = (image_size, image_size, 3)
backbone = EfficientNetB0(include_top=False, weights=None, input_shape=shape)
top = classifier.count_params() - backbone.count_params()
print(f"from {shape} to {backbone.output_shape[1:]}; the top held {top:,} = (1,280 + 1) × 1,000 parameters")
for size in (224, 225, 240, 256, 257):
    side = math.ceil(size / 32)
    print(f"{size} pixels: {side} × {side} regions, {side**2 * 32**2 / size**2:.2f} times the area of the image")

# %% tags=["nbval-check-output"]
try:
    EfficientNetB0(weights=None, drop_connect_rate=0.4)
except TypeError as error:
    print(error)
skips = [layer for layer in backbone.layers if layer.name.endswith("_drop")]
print("instead:", {layer.name: round(2 * layer.rate, 3) for layer in skips})

# %% [markdown]
# ## Stanford Dogs
#
# 20,580 photographs of 120 breeds, 12,000 for training and 8,580 for testing, all of them cut from ImageNet: a network
# with ImageNet weights has probably seen the test images. For the rehearsal, a helper writes archives in the
# publishers' format into a folder of its own, which goes when this notebook ends; what reads them is the real builder
# of `tensorflow_datasets`.
#
# The page asks for `split=["train", "test"]` and validates on the test images in every epoch. Whatever is then chosen,
# an epoch, a rate, a number of layers, has been chosen by the test images. Here a validation split is cut from train;
# tfds takes slices by percent. (Without network and with nothing prepared, `tfds.load` tries for minutes. The course's
# own `data.load("stanford_dogs")` says within seconds what is missing and where it may be put.)

# %%
place = None  # where tfds keeps its sets by itself
if not real:
    folder = tempfile.TemporaryDirectory()
    data.write_miniature_dogs(place := folder.name)

# %% tags=["nbval-check-output"]
tfds.disable_progress_bar()
slices = ["train[:85%]", "train[85%:]", "test"]
(train_images, val_images, test_images), info = tfds.load(
    "stanford_dogs",
    split=slices,
    data_dir=place,
    with_info=True,
    as_supervised=True,
    read_config=tfds.ReadConfig(try_autocache=False),  # or it complains of every set that is not read to its end
)
labels = info.features["label"]
num_classes = labels.num_classes
print({name: info.splits[name].num_examples for name in slices}, f"{num_classes} classes")

# %% [markdown]
# A label is a number; its name begins with ImageNet's number of the class and a hyphen. The page takes what stands
# between the first hyphen and the second, if there is one:


# %% tags=["nbval-check-output"]
def breed(label):
    return labels.int2str(int(label)).split("-", 1)[1].replace("_", " ")


hyphens = [name for name in labels.names if name.count("-") > 1]
print(f'{len(hyphens)} breeds have another one, such as {hyphens[1]}; split("-")[1] is {hyphens[1].split("-")[1]!r}')

# %% tags=["slide"]
first = list(train_images.take(8))
pictures, names = [image.numpy() for image, _ in first], [breed(label) for _, label in first]
heading = "The first training images" if real else "Rehearsal: names of breeds, and no dog among the pictures"
plotting.image_grid(pictures, names, columns=4, heading=heading)

# %% [markdown]
# ## Labels and batches
#
# The page makes each label a vector of 120 numbers, a 1 among zeros, for `categorical_crossentropy`. A plain label
# with `sparse_categorical_crossentropy` gives the same loss. [One-hot](../docs/glossary.md#one-hot) vectors are needed
# where a label is not certain: with label smoothing, mixup, or another network's opinion. Remember the figure that both
# give for a guess, [log K](../docs/glossary.md#log-k), the logarithm of the number of classes: a loss well above it is
# *worse than guessing*.
#
# Then: resize, encode, batch, and prefetch, so that the next batch is made while the network works on this one. Two
# things differ from the page. It shuffles in its edition of 2026 only; before, each epoch brought the images in one and
# the same order. And it drops the last, incomplete batch of the *test* images, too: four of 8,580 are never scored.

# %% tags=["nbval-check-output"]
guess = np.full((1, num_classes), 1 / num_classes, dtype="float32")
from_vector = keras.losses.categorical_crossentropy(keras.ops.one_hot([3], num_classes), guess)
from_number = keras.losses.sparse_categorical_crossentropy(np.array([3]), guess)
print(f"loss of a guess: {float(from_vector[0]):.4f} from a vector, {float(from_number[0]):.4f} from a number")
print(f"log K, the logarithm of {num_classes}: {math.log(num_classes):.4f}")


# %%
def resized(image, label):
    return tf.image.resize(image, (image_size, image_size)), tf.one_hot(label, num_classes)


def batches(images, training=False):
    images = images.shuffle(1000, seed=seed) if training else images
    images = images.map(resized, num_parallel_calls=tf.data.AUTOTUNE)
    return images.batch(batch_size, drop_remainder=training).prefetch(tf.data.AUTOTUNE)


train, val, test = batches(train_images, training=True), batches(val_images), batches(test_images)

# %% [markdown]
# ## Augmentation, and a look at it
#
# Four `Random*` layers, at work in training only; called by hand they want `training=True`. Two differ from the page.
# Its `RandomFlip()` means *both* ways, so half of its dogs stand on their heads, which dogs in photographs do not. And
# `RandomContrast(0.1)`, documented as 0.9 to 1.1 times, is 1 to 1.1 times in Keras 3.15; a pair says both sides.

# %% tags=["slide"]
augmentation = keras.Sequential([
    layers.RandomRotation(0.15, seed=seed),
    layers.RandomTranslation(0.1, 0.1, seed=seed),
    layers.RandomFlip("horizontal", seed=seed),
    layers.RandomContrast((0.1, 0.1), seed=seed),
])  # fmt: skip
eight = tf.repeat(resized(*first[0])[0][tf.newaxis], 8, axis=0)
shown = augmentation(eight, training=True).numpy().clip(0, 255)
plotting.image_grid(
    list(shown), [f"epoch {n}" for n in range(1, 9)], columns=4, heading="One image, as eight epochs may see it"
)

# %% [markdown]
# Where do these layers belong? The editions differ: in the model (2020), in the tf.data pipeline an image at a time
# (2023), in a `PyDataset` (2026). Here a batch at a time, in the pipeline, so that nothing of them is in the model that
# is saved.
#
# ## From scratch
#
# The whole network from random weights, all of it training; `classes` gives it a top of 120 instead of 1,000.

# %%
train = train.map(lambda images, labels: (augmentation(images, training=True), labels)).prefetch(tf.data.AUTOTUNE)
runtime.set_seed(seed)
scratch = EfficientNetB0(weights=None, classes=num_classes, input_shape=shape)
scratch.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
history = scratch.fit(train, validation_data=val, epochs=scratch_epochs, verbose=2).history
records.record("scratch_val_accuracy", history["val_accuracy"][-1])

# %% [markdown]
# The [published run](https://keras.io/examples/vision/image_classification_efficientnet_fine_tuning/)
# reaches 21.5 % after 40 epochs of this. Why it stays so low takes a curve to see, and the
# rehearsal cannot draw one. `make bench ROW=tips` measured one where the course has data: Lite0 from random weights on
# 120 images of *simulated* textile. The network learns its own images, and hardly anything else:

# %% tags=["slide"]
tips = evaluation.measured("tips")
keys = ("accuracy", "loss", "val_accuracy", "val_loss")
runs = tips[tips["kind"] == "from scratch"]
traces = {f"seed {run.seed}": np.transpose(json.loads(run.trace)) for run in runs.itertuples()}
histories = {name: dict(zip(keys, trace, strict=True)) for name, trace in traces.items()}
plotting.learning_curves(histories, x_label="pass over 120 images", num_classes=3)

# %% [markdown]
# ## A frozen head
#
# The page's model, in its order: the backbone on an input, frozen *before* the head is put on, then pooling, batch
# normalization, dropout, softmax. `input_tensor` makes one flat model of it all; the next section shows why that
# matters. In the real thing validation is often *better* than training, since dropout and augmentation act in
# training only.


# %% tags=["slide-code"]
def build_model():
    inputs = keras.Input(shape)
    base = EfficientNetB0(include_top=False, weights=weights, input_tensor=inputs)
    base.trainable = False
    x = layers.GlobalAveragePooling2D(name="avg_pool")(base.output)
    x = layers.BatchNormalization(name="top_norm")(x)
    x = layers.Dropout(0.2, name="top_dropout")(x)
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax", name="pred")(x))


runtime.set_seed(seed)
model = build_model()
counted = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
print(f"{len(model.layers)} layers; {counted:,} of {model.count_params():,} parameters train")

# %%
model.compile(keras.optimizers.Adam(learning_rate), loss="categorical_crossentropy", metrics=["accuracy"])
head = model.fit(train, validation_data=val, epochs=head_epochs, verbose=2).history
records.record("head_val_accuracy", head["val_accuracy"][-1])

# %% [markdown]
# ## The trap of `trainable`
#
# Setting `trainable` on a model sets it on everything inside, whatever was chosen there before. In a flat model that
# is done once, and then layer by layer. Where the backbone is *one layer* of the model, as `base(inputs)` makes it, it
# goes wrong in silence. (The page adds that a layer inside a frozen model stays frozen until the model is opened. That
# was so in tf.keras; see 2 for Keras 3.)

# %% tags=["nbval-check-output", "slide-code"]
nested = keras.Sequential([keras.Input(shape), EfficientNetB0(include_top=False, weights=None, input_shape=shape)])
base = nested.layers[0]
print(f"1. its last 20 layers are {len(nested.layers[-20:])}: {[layer.name for layer in nested.layers]}")
base.trainable = False
base.get_layer("block7a_project_conv").trainable = True
print(f"2. one layer opened inside a frozen model: {len(nested.trainable_weights)} weight trains")
base.trainable = True
norms = [layer for layer in base.layers if isinstance(layer, layers.BatchNormalization)]
print(f"3. the model opened: {sum(norm.trainable for norm in norms)} of {len(norms)} batch normalizations train, too")

# %% [markdown]
# ## Unfreezing, by block
#
# The page opens the last 20 layers and leaves [batch normalization](../docs/glossary.md#batch-normalization) frozen;
# since 2026 it can go by a block's name instead. Four of the 20 are the head's. Where do the other sixteen begin?

# %% tags=["nbval-check-output"]
for build in (EfficientNetB0, EfficientNetB1):
    stack = [layer.name for layer in build(include_top=False, weights=None, input_shape=shape).layers]
    lowest = stack[-16]
    start = next(name for name in stack if name.startswith(lowest.split("_")[0]))
    print(f"{build.__name__}: with {lowest}; the block begins with {start}")


# %% tags=["slide-code"]
def open_blocks(model, block):
    stack = [layer.name for layer in model.layers]
    lowest = next((number for number, name in enumerate(stack) if name.startswith(block)), None)
    if lowest is None:
        raise ValueError(f"No layer is called {block}…; those of the last block are called {stack[-20]} and so on")
    for layer in model.layers[lowest:]:
        if not isinstance(layer, layers.BatchNormalization):
            layer.trainable = True


open_blocks(model, from_block)
counted = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
print(f"{counted:,} of {model.count_params():,} parameters train")

# %% [markdown]
# In B0 the twenty layers are exactly block 7 and what lies above it, by luck of counting; from B1 on the number cuts a
# block in two. A block's name says what is meant in every variant.
#
# Compile *after* opening: that is when the optimizer learns what trains. The rate is a thousandth of the head's. And
# the test images come once, at the end.

# %%
model.compile(keras.optimizers.Adam(fine_tune_rate), loss="categorical_crossentropy", metrics=["accuracy"])
tuned = model.fit(train, validation_data=val, epochs=fine_tune_epochs, verbose=2).history
records.record("val_accuracy", tuned["val_accuracy"][-1])
print(f"highest training loss {max(tuned['loss']):.2f}; log K is {math.log(num_classes):.2f}")

# %%
_, test_accuracy = model.evaluate(test, verbose=0)
records.record("test_accuracy", test_accuracy)
print(f"{info.splits['test'].num_examples:,} test images; a guess is right with {1 / num_classes:.4f}")
if real:
    plotting.learning_curves({"frozen head": head, "blocks open": tuned}, num_classes=num_classes)

# %% [markdown]
# In the rehearsal a loss about log K, or above it, is no alarm but the truth: the features are random, and so are the
# names. In the real thing it would be an alarm, and the page itself is the best example. Its edition of 2023 took a
# rate of 0.0001 and ten epochs here, and [prints what came of
# it](https://github.com/keras-team/keras-io/commits/master/examples/vision/md/image_classification_efficientnet_fine_tuning.md):
# 77.1 % on validation after the first epoch, 9.6 % after the third, 1.5 % after the tenth, at a loss of 5.2 where log
# 120 is 4.8. The text around does not mention it. The edition of 2026 takes 0.00001 and four epochs, as above, and
# the published run goes from 74.6 % with the frozen head to 77.0 %. So small a gain is to be expected where
# ImageNet's features fit already; [05](05_unfreezing.ipynb) has pictures where they do not.
#
# ## Newer weights, same architecture
#
# An accuracy belongs to weights, not to an architecture. In 2020 the page told how the authors' later checkpoints
# (Noisy Student) are converted; the section is gone since. What it came down to is one argument: `weights` may be a
# file. There and back, with the weights from above:

# %%
with tempfile.TemporaryDirectory() as kept:
    classifier.save_weights(Path(kept) / "other.weights.h5")
    again = EfficientNetB0(weights=str(Path(kept) / "other.weights.h5"))
pixels = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype("float32")
difference = np.abs(np.array(again(pixels)) - np.array(classifier(pixels))).max()
print(f"layers: {len(classifier.layers)} and {len(again.layers)}; answers differ by {difference:.1e} at most")

# %% [markdown]
# In the real thing the two do *not* agree: only the word "imagenet" brings the second `Rescaling`, so whoever gives the
# official file by its path gets a network that loads without complaint and answers differently
# ([tensorflow#62193](https://github.com/tensorflow/tensorflow/issues/62193)). `models.build_backbone` adds the layer
# where weights ask for it. A newer B0 is in KerasHub, `efficientnet_b0_ra4_e3600_r224`, with 78.6 % on ImageNet as
# published.
#
# ## The tips, measured
#
# The page ends in advice without a figure. First what was measured small for this appendix (`make bench ROW=tips`):
# solved heads, and fine-tuning from block 6 on for 100 steps, on simulated textile at 128 pixels, a size at which most
# of what sets the classes apart is lost. Runs are compared with those of the same seed, which has its own split and its
# own head; how many there are stands in brackets. A batch of another size takes as many passes as the base, or where it
# says so as many steps.

# %% tags=["slide"]
small = tips.rename(columns={"kind": "set", "choice": "candidate", "accuracy": "test"})
tried = ["batch of 8", "batch of 8, as many steps", "batch of 32", "Lite1", "Lite2"]
plotting.paired_differences(evaluation.paired_differences(small, tried), base="the base")
tuned_small = tips[tips["kind"] == "fine-tuning"].groupby("choice")
for name, runs in ((name, tuned_small.get_group(name)) for name in ("base", "RMSprop as published")):
    loss = f"highest validation loss {runs['highest_loss'].min():.3g} to {runs['highest_loss'].max():.3g}"
    print(f"{name}, {len(runs)} run(s): accuracy {runs['accuracy'].mean():.3f}, {loss}; log K is {math.log(3):.2f}")

# %% [markdown]
# Then what lesson 05 stands on: larger fine-tunings on pictures unlike each other (`make bench ROW=recipes`).

# %% tags=["slide"]
recipes = evaluation.measured("recipes")
asked = ["live backbone norm", "last 20 layers", "from block6a", "from block2a", "weights averaged", "any way up"]
asked += ["batches of 8", "batches of 128", "RMSprop"]
plotting.paired_differences(evaluation.paired_differences(recipes, asked), base="blocks from 4 on")

# %% [markdown] tags=["slide"]
# A dot is hollow where the runs do not tell a choice from its base, and one run never does. Tip by tip:
#
# - **Not RMSprop as published**: confirmed. It threw the pretrained weights away within the first stretch, and its loss
#   stayed hundreds of times above log K. At a fine-tuning rate, in the second figure, RMSprop does as well as Adam.
# - **A loss above log K is an alarm**: confirmed. It rang in that run and in the page's own of 2023, and never in the
#   base.
# - **Smaller batches help**: not confirmed. Here the seeds differ more from each other than batches of 8 and of 32 do
#   from the base, and in the second figure batches of 8 lean towards worse, and those of 128 lie about zero.
# - **Larger is not better**: confirmed, for this small size. Lite1 came out below Lite0, as a head and fine-tuned,
#   Lite2 as a head; fine-tuned, Lite2 is level with it, and takes longer.
# - **Batch normalization stays frozen**: confirmed in the second figure, on every set that it was tried on.
# - **Only a part of the layers**: confirmed, in that opening more, from block 2 on, shows no gain. But from block 6
#   on is too few, because of the textile.
# - **Whole blocks**: not decided. The last 20 layers lose on the textile as "from block6a" does, which is a matter of
#   how many, not of where the cut lies.
# - **Averaged weights ([EMA](../docs/glossary.md#exponential-moving-average)) help little in transfer**: the second
#   figure shows no gain.
# - **Any way up**, turned and flipped at will, is no tip, but the page's `RandomFlip()` goes some of that way: it costs
#   the textile much, other sets little.
# - **Training from scratch overfits**, **sizes divisible by 32**: confirmed above, by a curve and by counting.
# - **Without augmentation a frozen head may stay at 60 %** ([as the page
#   says](https://keras.io/examples/vision/image_classification_efficientnet_fine_tuning/)): not measured here.
#
# (What the first figure does not show: even its base ends below the head it began from, on test images. At that size
# most of what could be learned is gone, one reason more not to make much of small differences.)
#
# ## A map, from that page to this course
#
# Of the page's editions, three were read in full: 2020 (tf.keras, tfds, TPU), 2023 (Keras 3, tfds; marked 2023/07/10)
# and 2026 (Keras 3, `PyDataset`; marked 2026/07/13). Where the last two differ, it says so.
#
# - **What is EfficientNet** → [01](01_first_predictions.ipynb), [02](02_variant_tour.ipynb). Accuracy against cost is
#   a figure with its sources, beside the networks of that time.
# - **B0 to B7, compound scaling** → [02](02_variant_tour.ipynb). The formula is computed, and where the variants
#   leave it is counted. The Lite variants come besides.
# - **Constructor, sizes, [0, 255], `include_top`** → [01](01_first_predictions.ipynb), above. What dividing by 255
#   does is shown, and a guard warns of it.
# - **`drop_connect_rate`** → [02](02_variant_tour.ipynb), above. Keras 3 refuses it; the rates of the layers are set
#   instead.
# - **Set-up, image and batch size** → the first screen of each lesson. Parameters that are checked before anything
#   runs; the device decides the size of a batch.
# - **Loading data** → [03](03_data_loading.ipynb), above. 2023 takes `tfds.load`; 2026 fetches two archives from the
#   publishers, without checksums, reads their lists with SciPy and decodes all 20,580 images into memory. Here tfds
#   and its checksums, batch by batch; what is missing is said within seconds.
# - **Splits** → [03](03_data_loading.ipynb). Both editions validate on test. Here train, val and test, and test is
#   scored once.
# - **Resizing** → [03](03_data_loading.ipynb). Both squash. Here crop, pad and squash are compared for what they
#   destroy.
# - **Nine images with labels** → [03](03_data_loading.ipynb), above. Every class is seen before anything is trained.
# - **`Random*` layers and their preview** → [03](03_data_loading.ipynb), above. 2023 augments an image at a time in
#   tf.data, 2026 a batch in the `PyDataset`. Here one operation for a batch, repeatable by seed; nothing upside down
#   unless asked for.
# - **One-hot labels, batches, prefetch** → [03](03_data_loading.ipynb), above. 2023 never shuffles; 2026 does, in two
#   threads. Here plain labels, an order by seed, and the last test batch counts.
# - **Training from scratch, `plot_hist`** → [04](04_head_training.ipynb), above. Beside pretrained weights on the
#   same images, with loss and log K in the curves.
# - **Frozen head, 25 epochs of Adam at 0.01** → [04](04_head_training.ipynb), above. Features are computed once, so
#   an epoch costs next to nothing.
# - **Unfreezing the last 20 layers** → [05](05_unfreezing.ipynb), above. 2023 goes by count, 2026 by count or by
#   name. Here whole blocks; how far down follows from what the head reached.
# - **Fine-tuning** → [05](05_unfreezing.ipynb), above. 2023: ten epochs at 0.0001, which collapse. 2026: four at
#   0.00001. Here steps are counted, the rate rises and falls, and the head is epoch 0, so that validation never ends
#   below it.
# - **`trainable` of nested models** → [05](05_unfreezing.ipynb), above. The page explains it; here the trap is
#   sprung.
# - **Tips** → above, [05](05_unfreezing.ipynb). Both editions give no figure. Here there are some, also where they
#   confirm nothing.
# - **Newer weights** → [02](02_variant_tour.ipynb), above. In the edition of 2020 only. Here also why a file and the
#   word "imagenet" disagree.
# - **Not on the page**: [06](06_export_and_serve.ipynb), [07](07_few_labels.ipynb). Export and serving; what to do
#   with a hundred labels.
#
# ## Recap
#
# - `EfficientNetB0` with its top has 1,000 classes and 224 pixels; without it, 1,280 features for each region.
# - Plain labels and one-hot vectors give the same loss; a guess has log K, and a loss well above that is an alarm.
# - From scratch, a frozen head, whole blocks: compile after each change of `trainable`, and keep the model flat.
# - Of the tips some were confirmed and some did not show, each on as many runs as the figures say.
# - Each part of the page has its place in the map, with what differs.
#
# **The surprise:** the tip about log K is at the foot of the page, and in its edition of 2023 the page's own last
# training rings that alarm for eight epochs.
#
# **Practise:** [exercises A](exercises/A_keras_example.ipynb)
#
# **Where next:** back to [03](03_data_loading.ipynb) with your own pictures, or to [05](05_unfreezing.ipynb) for the
# recipe that chooses by itself.
