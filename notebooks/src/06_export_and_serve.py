# %% [markdown] tags=["slide"]
# # 06 · Export and serve
#
# **How does a classifier leave the notebook smaller and faster, and how do you know that it still says the same?**
#
# ## What you will learn
#
# - to make a network ready: scaling inside, weights as constants, nothing left that only training needs
# - to convert it for LiteRT and ONNX Runtime, and as a TensorFlow SavedModel
# - to compare its answers with Keras', and to keep only what agrees
# - what fewer bits save and what they cost, and why the Lite variants bear them well
# - to measure latency fairly, and to write down what a file takes and gives
#
# | | |
# |---|---|
# | before you start | [05 · Unfreezing](05_unfreezing.ipynb) |
# | takes | reading 13 minutes, running 3 minutes, 4 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Optional

from effnet_helpers import data, evaluation, export, models, plotting, records, runtime, serving, training
from effnet_helpers.export import Serve, pixel_scaling, serving_function
from effnet_helpers.models import float32_copy

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
variant: str = "Lite0"  # which EfficientNet
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash
limit_per_class: int = 300  # use at most so many images of each class, 0 uses all
from_block: str = "block4a"  # lowest block that trains
steps: int = 76  # of the optimizer with these blocks unfrozen
formats: list[str] = ["litert", "onnx", "saved_model"]  # what to export to, where the packages are installed
representative_per_class: int = 20  # training images of each class that int8 takes its ranges from, 3 or more
export_to: Optional[str] = None  # folder to keep the exported files in
split_seed: int = 0  # another seed gives another split
seed: int = 0  # for the head, order of images and dropout

# %%
records.check(
    steps=(steps, 1, None),
    formats=(formats, [*export.FORMATS]),
    representative_per_class=(representative_per_class, 3, None),
)
batch_size = training.use_device(16)
for reason in filter(None, map(export.why_unavailable, formats)):
    print("Left out:", reason)
formats = [format for format in formats if export.why_unavailable(format) is None]
runtime.set_seed(seed)
temporary = tempfile.TemporaryDirectory()
folder = Path(export_to or temporary.name)
models.check_save_path(folder / "classifier.keras")
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)

# %% [markdown]
# ## A classifier to hand over
#
# The quick version of notebooks 04 and 05, on the same *simulated* textile: the head on cached features, then the
# upper blocks. (`fine_tune` validates ten times, at equal distances, and rounds the steps up to that.)

# %%
model = models.add_head(models.build_backbone(variant, image_size=image_size), images.num_classes)
training.fit_head(model, images, epochs=15, batch_size=batch_size, seed=seed)
models.unfreeze_blocks(model, from_block=from_block)
print(training.fine_tune(model, images, steps=steps, batch_size=batch_size, learning_rate=0.0005, seed=seed))

# %% [markdown]
# Saved as in notebook 05, it has a *card*: what someone must know who wants to use it.

# %%
keras_file = folder / "classifier.keras"
card = models.save(
    model, keras_file, class_names=images.class_names, resize_mode=resize_mode, variant=variant, bits=images.bits
)
print(f"{card.variant}, {card.image_size} × {card.image_size} pixels, {len(card.class_names)} classes")

# %% [markdown]
# ## Ready for serving
#
# In training a network changes; in service it only answers. Three things can go:
#
# - **Scaling as a step of its own.** Every network here takes pixels from 0 to 255, multiplies them and adds a
#   constant. The multiplication can be done once and for all, in the kernel of the first convolution. What stays is
#   to subtract a mean.
# - **Mixed precision**, if it was trained on a GPU with it.
# - **Variables.** As constants, weights can be merged and rearranged by whoever converts them; batch normalization
#   disappears into the convolution before it.
#
# There is a trap here, too. B0–B7 scale with Keras' `Normalization` layer, and Keras' own ONNX export turns the
# constants of that layer into inputs of the file, which nobody can fill. Folded away, they do no harm.


# %% tags=["shows:effnet_helpers.export.serving_copy"]
def serving_copy(model: keras.Model) -> keras.Model:
    factor, mean, scaling = pixel_scaling(model)
    network = float32_copy(model, without=scaling)
    kernel = network.get_layer("stem_conv").kernel
    kernel.assign(kernel * factor.reshape(-1, 1))
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, network(pixels - mean), name=model.name)


# %%
factor, mean, scaling = pixel_scaling(model)
print(f"{', '.join(scaling)}: (pixels − {mean}) × {factor}")
serve = serving_function(serving_copy(model))
print({name: tuple(tensor.shape) for name, tensor in serve.get_concrete_function().structured_outputs.items()})

# %% [markdown]
# ## Convert
#
# [LiteRT](../docs/glossary.md#litert), which was called TensorFlow Lite, runs on phones, on small boards, and on the
# processor you are using now. One converter does all three precisions:
#
# - **float32** stores and computes as Keras does.
# - **float16** stores weights in half the space. A processor widens them again when it loads the file, so it is no
#   faster here.
# - **[int8](../docs/glossary.md#int8-quantization)** stores weights and computes everything in between with whole
#   numbers from −128 to 127. For that it must know the range of every activation, and the only way to learn it is to
#   look: run *representative* images through the network and note the smallest and the largest value.


# %% tags=["shows:effnet_helpers.export.to_litert"]
def to_litert(serve: Serve, precision: str = "float32", representative: np.ndarray | None = None) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], tf.Module())
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: ([np.float32(image)[np.newaxis]] for image in representative)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


# %% [markdown]
# The result is the contents of a file. (`quiet_converters` holds back what converters like to tell about themselves.)

# %% tags=["slide-code"]
with export.quiet_converters():
    content = to_litert(serve)
first = Path(temporary.name) / "first.tflite"
first.write_bytes(content)
print(f"{first.name}: {len(content) / 1e6:.1f} MB, {keras_file.name}: {keras_file.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Does it say the same?
#
# A conversion that has gone wrong seldom fails. It answers, quickly, something else. So compare, on real images, with
# the model it was made of: the largest difference in any probability, and the share of the images that get the same
# class. The images to compare on come from validation. Those from training are for int8, below.

# %%
few = images.with_fewer(representative_per_class, "train").with_fewer(20, "val")
representative, compared = (
    np.concatenate([batch.numpy() for batch, _ in few.batches(split, batch_size)]) for split in ("train", "val")
)
print(f"{len(representative)} training images, {len(compared)} validation images")

# %%
expected = model.predict(compared, verbose=0)
if "litert" in formats:
    answer = export.runner(first)
    received = answer(compared)
    difference = np.abs(received - expected).max()
    agreement = np.mean(received.argmax(axis=1) == expected.argmax(axis=1))
    print(f"a largest difference of {difference:.1e}, and {agreement:.1%} of the decisions are the same")

# %% [markdown]
# `export.export` packs these steps: it makes the network ready, converts it, opens the file with the runtime it is
# meant for, compares, and *refuses* to leave a file that differs by more than a stated bound. In float32 a difference
# is rounding. In int8 a probability may move by anything where two classes are nearly equal, so there the decisions
# are what counts.

# %% tags=["nbval-check-output", "slide-code"]
for precision, bound in export.BOUNDS.items():
    print(f"{precision}: at most {bound.difference:g} in a probability, at least {bound.agreement:.0%} same decisions")

# %%
exported, names = {}, {"litert": "LiteRT", "onnx": "ONNX", "saved_model": "SavedModel"}
for format in formats:
    needs = export.FORMATS[format]
    for precision in needs.precisions:
        path, settings = folder / f"classifier_{precision}{needs.suffix}", {"format": format, "precision": precision}
        try:
            done = export.export(model, path, card=card, images=compared, representative=representative, **settings)
            exported[f"{names[format]} {precision}"] = done
        except export.ParityError as error:
            print(error)

# %% [markdown]
# What was kept, and how its answers compare:

# %%
rows = {name: {"MB": done.megabytes, **vars(done.parity)} for name, done in exported.items()}
pd.DataFrame(rows).T.drop(columns="images").round({"MB": 1, "largest_difference": 6, "agreement": 3})

# %% [markdown]
# ## Representative means representative
#
# What if the images that int8 takes its ranges from are not like those it will see? Here they are the same images,
# taken in the dark, at a tenth of their brightness. Everything brighter is cut off at the largest value that was seen.

# %%
if "litert" in formats:
    dark, settings = representative / 10, {"format": "litert", "precision": "int8"}
    try:
        print(export.export(model, folder / "dark.tflite", card=card, images=compared, representative=dark, **settings))
    except export.ParityError as error:
        print(error)

# %% [markdown]
# ## What few bits cost
#
# Agreement says how often an exported model decides otherwise, but not whether it is wrong when it does. For that we
# need labels: the test split, on which nothing was chosen. Files in float32 need no second look: a difference in the
# sixth digit changes no decision.

# %%
labels, report = images.labels("test"), evaluation.evaluate(model, images, "test")


def accuracy_on_test(answer):
    probabilities = np.concatenate([answer(batch.numpy()) for batch, _ in images.batches("test", batch_size)])
    return float(np.mean(probabilities.argmax(axis=1) == labels))


rounded = {name: done for name, done in exported.items() if done.precision != "float32"}
accuracy = {name: accuracy_on_test(export.runner(done.path)) for name, done in rounded.items()}

# %%
print(f"Keras: {report}")
for name, value in accuracy.items():
    print(f"{name}: {100 * value:.1f} %, {100 * (value - report.accuracy):+.1f} points")
lost = [report.accuracy - value for name, value in accuracy.items() if name.endswith("int8")]
if lost:
    records.record("int8_points_lost", 100 * max(lost))
is_default = (dataset, variant, image_size, resize_mode, from_block) == ("textile", "Lite0", 256, "pad", "block4a")
if is_default and limit_per_class == 300 and steps >= 76:
    records.expect(report.accuracy >= 0.9, "test accuracy", report.accuracy, "0.9 or more")
    records.expect(max(lost, default=0) <= 0.02, "accuracy lost in int8", max(lost, default=0), "2 points at most")

# %% [markdown]
# A point is hardly two images here: differences this small, up or down, are within the interval, and no finding.
#
# Why does so little get lost? The range of an activation is cut into 256 steps.
# **[ReLU6](../docs/glossary.md#relu6)**, which the Lite variants use, lets nothing but values from 0 to 6 pass, so
# the steps are small wherever it stands. **Swish**, in B0–B7, has no upper end: a few large values stretch the range,
# and everything else shares what steps remain. And **squeeze-and-excitation** multiplies each channel by a factor
# that differs from image to image, which stretches it again. That is why the authors left both out of Lite. When they
# first tried int8 on Lite0, before it had ReLU6, its accuracy on ImageNet fell from 75 to 46 %, because one tensor
# reached from −168 to 204 ([their
# report](https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html)). As
# published, Lite0 goes from 75.1 to 74.4 % in int8, and Lite4 from 81.5 to 80.2 %
# ([table](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite)).
#
# B0 in int8 is not on this page: its ImageNet weights come from the network, and in a network of random weights the
# ranges are not those of a trained one, so it would prove nothing. With the network once, `effnet run 06 -p variant=B0`
# does it. If int8 refuses your B0, the ranges are the reason: take float16, or a Lite.
#
# ## How fast?
#
# Three things spoil a measurement of [latency](../docs/glossary.md#latency): the first call, which prepares; whatever
# else the computer does meanwhile; and a thread that has just gone to sleep. So each way to serve answers in turn,
# round after round, twice each time, and only the second answer counts. Of all rounds the median is taken. Every
# answer is for *one* image, since that is what a service gets.

# %% tags=["alone"]
one = compared[:1]
traced = tf.function(lambda pixels: model(pixels, training=False))
calls = {
    "model(x)": lambda: np.asarray(model(one)),
    "model.predict(x)": lambda: model.predict(one, verbose=0),
    "model.predict_on_batch(x)": lambda: model.predict_on_batch(one),
    "tf.function": lambda: traced(one).numpy(),
}
in_keras = list(calls)
calls |= {name: partial(export.runner(done.path).answer, one) for name, done in exported.items()}
times = {name: [] for name in calls}
for _ in range(13):  # the first round prepares
    for name, call in calls.items():
        call()
        started = time.perf_counter()
        call()
        times[name].append(time.perf_counter() - started)
milliseconds = {name: 1000 * float(np.median(seconds[1:])) for name, seconds in times.items()}

# %% tags=["slide"]
keras_size = keras_file.stat().st_size / 1e6
table = pd.DataFrame({"milliseconds": milliseconds})
table["megabytes"] = [exported[name].megabytes if name in exported else keras_size for name in table.index]
table["precision"] = [exported[name].precision if name in exported else "Keras" for name in table.index]
table["test accuracy"] = pd.Series(dict.fromkeys(in_keras, report.accuracy) | accuracy)
plotting.serving(table)
table.round({"milliseconds": 1, "megabytes": 1, "test accuracy": 3}).astype(object).fillna("as Keras")

# %% [markdown]
# Four of these rows are the same Keras model on the same TensorFlow, and they differ more than the runtimes do.
# `model(x)` walks through the layers in Python, and `model.predict` builds a data pipeline for every call: both are
# made for many images at a time, and for one of them most of the time goes into preparation. `predict_on_batch` and a
# function that `tf.function` has *traced*, which is to say recorded once as a graph, leave that out. Whoever compares
# a runtime with `model(x)` measures Python. The fair question is what a runtime saves against the traced function. And
# then, what eight bits add to that:

# %%
fastest = {kind: rows["milliseconds"].idxmin() for kind, rows in table.groupby("precision")}
best = table["milliseconds"][fastest["float32"]]
print(f"fastest in float32: {fastest['float32']}, {best:.1f} ms")
for name in in_keras:
    print(f"{name} takes {milliseconds[name] / best:.1f} times as long")
records.record("times_faster_than_call", round(milliseconds["model(x)"] / best, 1))
records.record("times_faster_than_traced", round(milliseconds["tf.function"] / best, 1))
if "int8" in fastest:
    gain = best / table["milliseconds"][fastest["int8"]]
    print(f"fastest in int8: {fastest['int8']}, {gain:.2f} times as fast as the fastest in float32")
    records.record("times_faster_in_int8", round(gain, 2))

# %% [markdown]
# What is left against the traced function is what LiteRT and ONNX Runtime were written for: they merge layers, choose
# kernels for this very processor, and plan their memory once. A SavedModel is a traced function in a file.
#
# Trust the ratios more than the times, and neither on another computer: without instructions for 8-bit products, int8
# saves space but little time.
#
# ## How cost grows
#
# One image is a matter of milliseconds. Before you start on many, on larger ones, or with a larger variant, it helps
# to know what that does. `make bench ROW=growth` computed features of textile images as notebook 04 does, each time in
# a process of its own, and varied one thing while the other two stayed as they were.

# %% tags=["slide"]
growth = evaluation.measured("growth")
plotting.growth(growth)
cost = growth.set_index(["images", "image_size", "variant"])["seconds"]
print(f"four times the images: {cost[800, 192, 'Lite0'] / cost[200, 192, 'Lite0']:.1f} times the time")
print(f"twice the side: {cost[400, 256, 'Lite0'] / cost[400, 128, 'Lite0']:.1f} times")
print(f"Lite2 in the place of Lite0: {cost[400, 192, 'Lite2'] / cost[400, 192, 'Lite0']:.1f} times")

# %% [markdown]
# Time follows the number of images, and of pixels: twice the side is four times the pixels. It stays below that, since
# part of it is the same for few images as for many, for small ones as for large. Memory follows their size more than
# their number, because only a few of them are worked on at any time.
#
# ## What it takes, in writing
#
# A file of numbers does not say that it wants pixels from 0 to 255, in RGB, padded to a certain size, or which class
# comes first. Beside every exported model lies a JSON file that does. Whoever serves it needs nothing else:

# %%
name = next((name for name in exported if "int8" in name), next(iter(exported)))
path = exported[name].path
contract = json.loads(path.with_name(f"{path.name}.json").read_text())
for key in ("variant", "image_size", "resize_mode", "pixel_range", "format", "precision", "input", "output"):
    print(f"{key}: {contract[key]}")

# %% [markdown]
# And so it is used: a picture of that size, as it is, and the name in the place of the largest number.

# %% tags=["slide-code"]
answer = export.runner(path)
picture = images.image("test", 0)
probabilities = answer(picture[np.newaxis])[0]
print(f"{name}: {contract['class_names'][probabilities.argmax()]} ({probabilities.max():.2f})")
print(f"it is:  {images.class_names[labels[0]]}")

# %% [markdown]
# ## A page to try it on
#
# Tables convince who reads tables. Everybody else wants to try it: drag a photograph somewhere, or point a camera. In a
# terminal, `effnet demo classifier.keras` opens a page for that in your browser (it takes the extra `demo`, which
# `make` has installed; the parameter `export_to` keeps the file). It answers with bars, with the place in the picture
# that spoke for the answer, and with whether to trust it, as far as the card says. That page hears this computer only,
# loads and sends nothing, and deletes what it was shown. Exported files work, too, without the place.
#
# This is what it says of the same picture. The place comes from *Grad-CAM*, which notebook 08 takes apart:

# %% tags=["slide"]
shown = serving.look(serving.open_model(keras_file), images.splits["test"].path(0))
print(shown)
titles = ["as the model sees it", f"bright: spoke for {shown.probabilities[0][0]}"]
plotting.image_grid([shown.picture, shown.spotlight], titles, heading="One answer, and where it came from", widest=2.6)

# %% [markdown]
# Show the page to somebody who knows the pictures and not the network, and watch which ones they try. And then show it
# something that is none of the classes: it answers all the same. This card says nothing about trust; a model of
# `effnet train`, or of notebook 08, brings what it takes to say "this may be none of the classes".

# %% [markdown] tags=["slide"]
# ## Recap
#
# - Ready for serving: scaling folded into the first convolution, weights as constants, float32 throughout.
# - LiteRT and ONNX Runtime for one image at a time, SavedModel where TensorFlow is there anyway.
# - Compare every exported file with Keras on real images, and keep only what agrees.
# - float16 halves the file. int8 takes little more than a quarter, and less time only where the processor has
#   instructions for it. Its ranges come from representative images.
# - ReLU6 keeps ranges short, which is why Lite loses little in int8. Swish and squeeze-and-excitation do not.
# - Compare a runtime with a traced function, not with `model(x)`: the difference between those two is Python.
# - A file without its contract is half a model.
#
# **The surprise:** most of the time that `model.predict` takes for one image is not spent on the image.
#
# **Practise:** [exercises 06](exercises/06_export_and_serve.ipynb)
#
# **Where next:** your own classifier, `effnet run 06 -p dataset=folder:/path/to/pictures -p image_size=224 -p
# resize_mode=crop -p limit_per_class=0 -p export_to=exported`.
