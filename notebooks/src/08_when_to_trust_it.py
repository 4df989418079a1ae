# %% [markdown] tags=["slide"]
# # 08 · When to trust it
#
# **A model gives an answer to every picture, and a probability with it. When can you rely on either?**
#
# ## What you will learn
#
# - to see whether a model that says 0.9 is right nine times in ten, and to mend it with one number
# - to answer with a set of classes that holds the right one as often as you promised
# - to choose when to raise an alarm, and to say what that costs and what cannot be promised
# - to notice pictures that are none of the classes, and pictures that have changed
# - to find labels that are probably wrong, and to compare two models on the same pictures
# - to check a map of where the network looks by covering the picture
#
# | | |
# |---|---|
# | before you start | [04 · Head training](04_head_training.ipynb); [07 · Few labels](07_few_labels.ipynb) helps |
# | takes | reading 20 minutes, running 2 minutes, 3 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
import io
import tempfile
from pathlib import Path
from typing import Optional

from effnet_helpers import data, evaluation, models, plotting, preprocessing, records, runtime, training

import keras
import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.special import softmax
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
variant: str = "Lite0"  # which EfficientNet
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash
limit_per_class: int = 500  # use at most so many images of each class, 0 uses all
head_epochs: int = 40  # passes over the features, the last of which is kept
coverage: float = 0.9  # share of images whose set of answers is to hold the right one
normal_class: Optional[str] = None  # the class that needs no alarm, None takes nominal or else the first
changed_images: int = 45  # test images to change in fifteen ways
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
split_seed: int = 0  # another seed gives another split
seed: int = 0  # for random weights, order of images and dropout

# %%
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)
names = images.class_names
normal_class = normal_class or ("nominal" if "nominal" in names else names[0])
records.check(head_epochs=(head_epochs, 1, None), coverage=(coverage, 0.0, 1.0), normal_class=(normal_class, [*names]))

# %% [markdown]
# The default images are *simulated* textile: nominal, shifted as a whole, or with a small local flaw.
#
# ## A model to question
#
# The [head](../docs/glossary.md#head) of notebook 04 on frozen features, with one difference: it trains to the end, and
# the last epoch is kept, as in many a script. (The features are those of notebook 04; where it has run, they come from
# the cache.)
#
# Each section below fits some number to images, and these must be neither trained on nor scored. So the validation
# images are shared out: every second one of each class sets the *temperature*, the others set what is *promised*. The
# test images only measure. (They are looked at in every section, which is fair as long as nothing is chosen by them.)

# %%
batch_size = training.use_device()
runtime.set_seed(seed)
backbone = models.build_backbone(variant, image_size=image_size)
model = models.add_head(backbone, images.num_classes)
models.freeze_backbone(model)
extractor, head = models.split_after(model, "head_pool")
features = training.extract_features(extractor, images, ("train", "val", "test"), batch_size)
head.compile(keras.optimizers.Adam(0.002), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
head.fit(features["train"].batches(batch_size, shuffle=True, seed=seed), epochs=head_epochs, verbose=0)
answers = {split: head.predict(np.float32(part.values), verbose=0) for split, part in features.items()}
labels = {split: part.labels for split, part in features.items()}
in_order = np.argsort(labels["val"], kind="stable")
for_temperature, for_promises = in_order[::2], in_order[1::2]
print(f"temperature: {len(for_temperature)} images; promises: {len(for_promises)}; test: {len(labels['test'])}")

# %% [markdown]
# ## Does 0.9 mean nine in ten?
#
# Sort the answers by their *confidence*, the highest probability, into ten bins, and compare: how sure was the model
# in each bin, and how often was it right? Where the two agree, it is [calibrated](../docs/glossary.md#calibration). The
# mean distance, weighted by the images of each bin, is the
# [*expected calibration error*](../docs/glossary.md#expected-calibration-error), ECE.

# %%
confidence = answers["test"].max(axis=1)
right = answers["test"].argmax(axis=1) == labels["test"]
bins = np.minimum((10 * confidence).astype(int), 9)
by_bin = pd.DataFrame({"sure": confidence, "right": right}).groupby(bins).agg(["mean", "size"])
error = (abs(by_bin["sure", "mean"] - by_bin["right", "mean"]) * by_bin["sure", "size"]).sum() / len(right)
print(f"sure of {confidence.mean():.1%} on average, right on {right.mean():.1%}; ECE {error:.1%}")

# %% [markdown]
# ## One number mends most of it
#
# Divide the logarithms of the probabilities by a number, the
# [*temperature*](../docs/glossary.md#temperature), and take the [softmax](../docs/glossary.md#softmax) again. Above 1
# it makes a model less sure, below 1 surer; the order of the classes, and so the accuracy, stays. Which temperature?
# The one with the lowest [loss](../docs/glossary.md#cross-entropy) on images kept for it
# ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)).


# %% tags=["slide-code"]
kept, kept_labels = answers["val"][for_temperature], labels["val"][for_temperature]
logs = np.log(np.maximum(kept, 1e-30))
tried = np.geomspace(0.2, 5, 300)
losses = [log_loss(kept_labels, softmax(logs / each, axis=1), labels=range(len(names))) for each in tried]
best = float(tried[np.argmin(losses)])
print(f"temperature by hand: {best:.2f}")

# %% tags=["slide"]
temperature = evaluation.fit_temperature(kept, kept_labels)
calibrated = {split: evaluation.apply_temperature(each, temperature) for split, each in answers.items()}
records.expect(abs(np.log(temperature / best)) < 0.2, "temperature of the helper", temperature, f"near {best:.2f}")
stages = {"as trained": answers["test"], f"temperature {temperature:.2f}": calibrated["test"]}
plotting.reliability_diagram({name: evaluation.reliability_table(p, labels["test"]) for name, p in stages.items()})
for name, p in stages.items():
    loss = log_loss(labels["test"], p, labels=range(len(names)))
    print(f"{name}: test loss {loss:.3f}, ECE {evaluation.calibration_error(p, labels['test'])}")

# %% [markdown]
# Trained to the end, the head is too sure: its dots lie below the diagonal. That is how networks usually err, since the
# training loss goes on falling as long as answers that are right already become surer. (The helper's temperature leans
# a little towards 1, which matters where there are next to no mistakes to learn from. And it says of an ECE what a bare
# figure hides: few images in a bin make its accuracy jump about, so that even a perfectly calibrated model has one
# above zero, "by chance alone".)
#
# Calibration is about averages. Of a hundred answers with 0.9 it says that about ninety are right; it does not say
# which, nor that this holds within each class.
#
# ## Sets that keep a promise
#
# A doctor who is not sure names two possibilities. A model can do the same: give every class that is probable enough.
# How probable is enough? Look at images whose class you know: with which probability was the *right* class given? Take
# a threshold that all but a tenth of them reach. A new image of the same kind is one more of them, so its right class
# reaches the threshold nine times in ten, **whatever the model**. This is
# [*split conformal prediction*](../docs/glossary.md#conformal-prediction); the whole of it is a sorted list. (With n
# images, one counts to the ⌊(n + 1) · (1 − coverage)⌋-th: that is the exact rank for the image to come.)

# %% tags=["slide-code"]
promised, promised_labels = calibrated["val"][for_promises], labels["val"][for_promises]
of_the_right_class = np.sort(promised[np.arange(len(promised)), promised_labels])
rank = int(np.floor((len(promised) + 1) * (1 - coverage) + 1e-9))
threshold = of_the_right_class[rank - 1] if rank else 0.0
empty = (calibrated["test"] < threshold).all(axis=1)
print(f"a class enters a set from {threshold:.3f} on; {empty.mean():.1%} of the test images' sets are empty")

# %% [markdown]
# The helper comes to the same threshold, and leaves no set empty: where no class is probable enough, the most probable
# one is the set. "Over all" keeps its promise over all, and that can hide a class: what one class has too much, another
# has too little. "By class" sorts the images of each class by themselves.
#
# Measured coverage is not exactly the promise, and need not be. The promise is about the average over draws of the
# images that set the threshold and of those it is tried on. The second cell draws both anew, many times.

# %%
kinds = {"over all": False, "by class": True}
limits = {kind: evaluation.conformal_thresholds(promised, promised_labels, coverage, x) for kind, x in kinds.items()}
records.expect(np.allclose(limits["over all"], threshold), "thresholds", limits["over all"], f"{threshold}, as by hand")
for kind, thresholds in limits.items():
    table = evaluation.set_coverage(evaluation.prediction_sets(calibrated["test"], thresholds), labels["test"], names)
    print(f"promised {coverage:.0%} {kind}:\n{table.head(7).round(2).to_string(index=False)}\n")

# %%
pool = np.concatenate([promised, calibrated["test"]])
pool_labels = np.concatenate([promised_labels, labels["test"]])
random, drawn = np.random.default_rng(seed), []
for _ in range(300):
    order = random.permutation(len(pool))
    first, rest = order[: len(promised)], order[len(promised) :]
    limits = evaluation.conformal_thresholds(pool[first], pool_labels[first], coverage)
    drawn.append((pool[rest] >= limits)[np.arange(len(rest)), pool_labels[rest]].mean())
low, high = np.quantile(drawn, [0.025, 0.975])
print(f"promised {coverage:.0%}; over 300 draws {np.mean(drawn):.1%} on average, 95 % of them {low:.1%} to {high:.1%}")

# %% [markdown]
# Sets by class cost more classes, and are honest: where a model cannot tell two apart, it says both. With few images of
# a class the promise can only be kept by letting that class into every set. And the draws are, on average, where the
# promise is, without a single assumption about the model; one draw may miss it by a few points, by fewer with more
# images. There is one assumption about the *images*, and a later section breaks it.
#
# ### Against published sets
#
# The same textile images have a published benchmark of such sets
# ([conformal_clip](https://github.com/fmegahed/conformal_clip), one draw: a hundred labels to train on, a hundred to
# set thresholds, a hundred to score; nominal against defective, promised 90 %, by class). `make bench ROW=conformal`
# repeats its sizes on ten draws, with the head of [notebook 07](07_few_labels.ipynb) that scores regions, and with
# averaged features as here:

# %%
runs = evaluation.measured("conformal").query("scored_on == 'test' and thresholds == 'by class'")
columns = ["nominal", "defective", "labels_a_set", "empty_sets", "accuracy"]
by_method = runs.groupby([runs["source"].eq("ours").map({True: "ours", False: "published"}), "method"], sort=False)
by_method[columns].mean().assign(draws=by_method.size()).round(3)

# %% [markdown]
# (nominal and defective: the share of such images whose set holds the right answer; labels a set: how many classes a
# set holds on average. One draw has fifty of each, so the 0.84 of B0 is not evidence of a promise broken.) A weak model
# keeps its promise with larger sets. A strong one promises less than it keeps, since a set cannot be smaller than one
# class.
#
# ## A second model, on the same images
#
# From here on there are two models: the one above, and the head of notebook 07 on the earlier features, trained on all
# training images. Compare them on the images that only one of them gets right.

# %%
lower, _ = models.split_at_block(backbone, "block5a")
runtime.set_seed(seed)
second_model = training.add_region_head(lower, images.num_classes)
training.fit_region_head(second_model, images, tries=1, steps=200, seed=seed)
_, second_head = models.split_after(second_model, lower.layers[-1].name)
maps = training.extract_features(lower, images, ("val", "test"), batch_size)
second = {split: second_head.predict(np.float32(part.values), verbose=0) for split, part in maps.items()}
temperatures = temperature, evaluation.fit_temperature(second["val"][for_temperature], kept_labels)
second = {split: evaluation.apply_temperature(each, temperatures[1]) for split, each in second.items()}
print(f"temperatures: first model {temperatures[0]:.2f}, second model {temperatures[1]:.2f}")

# %% tags=["slide"]
both_models = {"averaged features": calibrated, "regions": second}
reports = [evaluation.report_from_probabilities(p["test"], labels["test"], names) for p in both_models.values()]
compared = evaluation.compare_answers(*reports)
print(f"{reports[0]}\n{reports[1]}\nsecond less first: {compared}")
shown = [(i, "first") for i in compared.only_first[:3]] + [(i, "second") for i in compared.only_second[:3]]
pictures = [images.image("test", int(i)) for i, _ in shown]
if shown:
    titles = [f"{names[labels['test'][i]]}:\nonly the {which}" for i, which in shown]
    plotting.image_grid(pictures, titles, columns=6, heading="Only one is right")

# %% [markdown]
# The images that both get right, or both wrong, say nothing about which is better; the interval goes by the others.
# And look at the temperature: below 1, on the default images. With so much dropout the second model is *less* sure than
# it should be. Which way a model errs has to be measured.
#
# ## When to raise an alarm
#
# In an inspection the two mistakes do not weigh the same: a flaw that slips through is worse than a look in vain. So
# do not take the most probable class; raise an alarm whenever the probability of *something is wrong* is above a
# threshold, and choose the threshold by what you promise: at least 99 % of all defective pieces are found. It is the
# same sorted list, of the defective validation images alone. What remains to be measured is the price: how many of
# the good ones raise a false alarm? This is the model's [*operating point*](../docs/glossary.md#operating-point).

# %% tags=["slide-code"]
recall, normal = 0.99, names.index(normal_class)
suspicion = 1 - calibrated["val"][labels["val"] != normal, normal]
rank = int(np.floor((len(suspicion) + 1) * (1 - recall) + 1e-9))
alarm_from = np.sort(suspicion)[max(rank, 1) - 1]
needed = next(n for n in range(10, 2000) if evaluation.accuracy_interval(n, n)[0] >= recall)
print(f"alarm from {alarm_from:.3f} on, set by {len(suspicion)} validation images of the other classes")

# %%
defective = [name for name in names if name != normal_class]
for name, p in both_models.items():
    point = evaluation.choose_operating_point(p["val"], labels["val"], names, defective, recall)
    alarms = evaluation.count_alarms(point, p["test"], labels["test"], names)
    print(f"{name}, alarm from {point.threshold:.3f} on (images enough: {point.promised}):\n  {alarms}")
print(f"all of {needed} would have to be found before the interval begins at {recall:.0%}")

# %% [markdown]
# (All validation images set the threshold here, also those that set the temperature: one number fitted on them can do
# little harm, while to promise 99 %, even *on average*, takes 99 defective images.) Both models may make the same
# promise; what it costs in false alarms is another matter, and there the better model shows. Mind the interval of the
# recall, too: a test split of this size cannot prove so high a figure, whatever the model.
#
# ## None of the classes
#
# Every picture gets an answer, also one that shows nothing the model knows. Here are photographs that ship with the
# course's packages, and what the model makes of them. *Foreign* is judged by something else than the probabilities: the
# angle between the features of the picture and the mean features of the nearest class. Where it is larger than for 95 %
# of the validation images, the picture is called none of the classes.

# %% tags=["slide"]
centres = evaluation.class_centres(features["train"].values, labels["train"])
distance = {split: evaluation.centre_distance(part.values, centres) for split, part in features.items()}
allowed = evaluation.upper_threshold(distance["val"], 0.05)
strange = [preprocessing.read_resized(path, image_size, resize_mode) for path in data.sample_photos().values()]
of_strange = extractor.predict(np.stack(strange).astype("float32"), verbose=0)
said = evaluation.apply_temperature(head.predict(of_strange, verbose=0), temperature)
foreign = evaluation.centre_distance(of_strange, centres) > allowed
called = np.where(foreign, "foreign", "taken for one")
titles = [f"{names[p.argmax()]} {p.max():.2f}\n{word}" for p, word in zip(said, called, strict=True)]
plotting.image_grid(strange, titles, columns=7, heading="Photographs of other things")
own = (distance["test"] > allowed).mean()
print(f"called foreign: {foreign.sum()} of {len(foreign)} photographs, {own:.1%} of the test images")

# %% [markdown]
# A high probability is no sign of belonging: softmax shares out 1 among the classes that there are, whatever comes. The
# distance knows better, here. But photographs of a temple are an easy case. The hard one is a new kind of the *same*
# pictures, such as a flaw that nobody has seen yet. Leave one class out of training and validation, and count how many
# of its test images are marked: by the distance, and by the *doubt* of a head that knows only the others, the
# [entropy](../docs/glossary.md#entropy) of its answer.

# %%
left_out = names.index("local") if "local" in names else len(names) - 1
is_known = {split: part != left_out for split, part in labels.items()}
rest = {split: np.float32(part.values[is_known[split]]) for split, part in features.items()}
others = np.unique(labels["train"][is_known["train"]], return_inverse=True)[1]
usual = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000))
fewer = (usual if len(names) > 2 else DummyClassifier()).fit(rest["train"], others)

# %%
middles = evaluation.class_centres(rest["train"], others)
far, unsure = (lambda v: evaluation.centre_distance(v, middles)), (lambda v: evaluation.doubt(fewer.predict_proba(v)))
for name, score in {"distance": far, "doubt": unsure}.items():
    beyond = score(np.float32(features["test"].values)) > evaluation.upper_threshold(score(rest["val"]), 0.05)
    new, old = beyond[~is_known["test"]].mean(), beyond[is_known["test"]].mean()
    print(f"{name} marks {new:.0%} of the test images of “{names[left_out]}”, left out, and {old:.0%} of the others")

# %% [markdown]
# So "none of the classes" means *far from everything seen*, in these features. On the default images that catches
# photographs, and few flaws that are new: a weave with a small flaw still looks like a weave, most of all after
# averaging. Which score notices more hangs on the pictures, so `effnet predict` marks by both. Nobody should promise
# more than a test like this one shows.
#
# Fine-tuning moves the features, and might bring strange pictures near. It was tried on small pictures of two sets,
# this textile and photographs of flowers: the distance marked the pictures of other sets after it as before
# (`evaluation.measured("belonging_fine_tuned")`, short trainings, two seeds each; no class was left out). Among the
# flowers, whose few validation images had also chosen between weights, about twice as many of the test images were
# marked by mistake as before.
#
# ## When the pictures change
#
# The promise of the sets has one condition: new images are like those that set the threshold. A new lamp, a lens out of
# focus, a camera that compresses more, a frame that is slightly turned: nobody announces it. So try it. Five changes,
# three strengths each.


# %%
def as_jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(np.uint8(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


noise = np.random.default_rng(seed)
changes = {
    "brightness": ([0.95, 0.8, 0.6], lambda image, factor: image * factor),
    "blur (pixels)": ([0.3, 0.5, 1.0], lambda image, width: ndimage.gaussian_filter(image, (width, width, 0))),
    "noise (greys)": ([1, 3, 10], lambda image, spread: image + noise.normal(0, spread, image.shape)),
    "JPEG quality": ([90, 70, 40], as_jpeg),
    "turned (degrees)": ([1, 3, 10], lambda image, angle: ndimage.rotate(image, angle, reshape=False, mode="reflect")),
}

# %% tags=["slide"]
some = np.linspace(0, len(labels["test"]) - 1, changed_images).astype(int)
pictures = np.stack([images.image("test", int(i)) for i in some]).astype("float32")
network, right_class = keras.Model(model.input, [extractor.output, lower.output]), labels["test"][some]
limits = {name: evaluation.conformal_thresholds(p["val"], labels["val"], coverage) for name, p in both_models.items()}
rows = []
for change, (strengths, apply) in {"": ([0], lambda image, _: image), **changes}.items():
    for strength in strengths:
        changed = np.clip([apply(image, strength) for image in pictures], 0, 255).astype("float32")
        given = network.predict(changed, batch_size=batch_size, verbose=0)
        for name, top, value, heat in zip(both_models, (head, second_head), given, temperatures, strict=True):
            p = evaluation.apply_temperature(top.predict(value, verbose=0), heat)
            covered = evaluation.prediction_sets(p, limits[name])[np.arange(len(some)), right_class]
            rows.append((name, change, strength, np.mean(p.argmax(axis=1) == right_class), covered.mean()))
robustness = pd.DataFrame(rows, columns=["model", "change", "strength", "accuracy", "coverage"])
plotting.robustness(robustness, promised=coverage)

# %% [markdown]
# Both lines of a panel begin at the left with the images as they are. The promise was 90 %, and after a slight blur it
# is worth little: the sets still come with it, and nothing in them tells. And the model that is better on clean images
# is not the one that bears more. Noise of one grey value, which no eye sees, costs it a good part of its answers, and
# the other model next to none: it lives on fine texture, which [whitening](../docs/glossary.md#whitening) enlarges, and
# fine texture is what blur, noise and compression change. (To turn a picture is to interpolate between its pixels,
# which blurs a little as well.) If your pictures may change in such ways, put the changes into training ([notebook
# 03](03_data_loading.ipynb)), and set thresholds on pictures of today.
#
# ## Labels that are probably wrong
#
# Labels are made by people. Here every twentieth training label is replaced by another, on purpose, so that finding
# them can be counted. Each image then gets the probabilities of a head that was trained *without* it (in five parts,
# each in turn left out), and confident learning lists labels that such a head does not believe
# ([arXiv 1911.00068](https://arxiv.org/abs/1911.00068), by the library cleanlab).

# %%
random, given = np.random.default_rng(seed), labels["train"].copy()
planted = random.choice(len(given), max(1, len(given) // 20), replace=False)
given[planted] = (given[planted] + random.integers(1, len(names), len(planted))) % len(names)
folds = min(5, int(np.bincount(given, minlength=len(names)).min()))
print(f"{len(planted)} of {len(given)} labels replaced; {folds} parts")

# %% tags=["slide"]
if folds > 1:
    unseen = evaluation.out_of_fold_probabilities(features["train"].values, given, folds, strength=0.001, seed=seed)
    suspects = evaluation.suspected_labels(unseen, given, names)
    is_planted = suspects["index"].isin(planted)
    for count in (len(planted), len(suspects)):
        hits = int(is_planted[:count].sum())
        shares = f"precision {hits / max(1, count):.0%}, recall {hits / len(planted):.0%}"
        print(f"the first {count} suspects: {hits} of {len(planted)} planted ({shares})")
    surest = [*suspects.head(5).itertuples()]
    titles = [f"labelled {row.label}\nlooks like {row.suggested}" for row in surest]
    pictures = [images.image("train", int(row.index)) for row in surest]
    if pictures:
        plotting.image_grid(pictures, titles, columns=5, heading="Suspected labels, surest first")

# %% [markdown]
# By chance one suspect in twenty would be planted. The list is as good as the model: where it errs often, it suspects
# many labels that are right, so the order matters more than the length. Look at pictures from the top until hardly any
# is wrong; change labels by eye, never by list. `effnet audit --labels` makes such a list of your own pictures, and
# changes nothing.
#
# ## Where it looks, and a check on it
#
# [*Grad-CAM*](../docs/glossary.md#grad-cam) weights each channel of a block by how much the class's score rises with
# it, and shows where the sum is high: one pass back through the network, at any block.
# [*Occlusion*](../docs/glossary.md#occlusion) asks the model itself: cover one place after the other with grey, and see
# by how much the class falls. That takes hundreds of answers for one picture and assumes nothing about the inside.

# %% tags=["slide"]
looked_at = names.index("local") if "local" in names else 0
sure = np.argsort(-calibrated["test"][:, looked_at] * (labels["test"] == looked_at), kind="stable")
sure = sure[: min(3, (labels["test"] == looked_at).sum())]
pictures = np.stack([images.image("test", int(i)) for i in sure]).astype("float32")
grad_cam = evaluation.grad_cam(model, pictures, looked_at)
occlusion = evaluation.occlusion_map(model, pictures, looked_at, patch=image_size // 8, stride=image_size // 8)
odd = [evaluation.oddest_place(each) for each in pictures] if dataset == "textile" else [None] * len(pictures)
flaws = [(place.row, place.column) if place and place.strength > 10 else None for place in odd]
titles = [f"{names[looked_at]}, test {i}" for i in sure]
plotting.activation_maps(pictures, {"Grad-CAM": grad_cam, "occlusion": occlusion}, titles, flaws, what="Maps")

# %%
for title, quick, slow in zip(titles, grad_cam, occlusion, strict=True):
    quick = ndimage.zoom(quick, np.divide(slow.shape, quick.shape), order=1)
    agreement = np.corrcoef(quick.ravel(), slow.ravel())[0, 1]
    places = [np.divide(np.unravel_index(each.argmax(), each.shape), each.shape).round(2) for each in (quick, slow)]
    print(f"{title}: correlation {agreement:+.2f}; strongest at {places[0]} and {places[1]} of height and width")

# %% [markdown]
# These are images that the model is surest of, and right about; the dashed box is the flaw. In one of them both maps
# have it. In another they disagree: Grad-CAM is strong beside the flaw, and covering quite another place lowers the
# score most. Trust neither before you know why. Grad-CAM sums up what speaks for the class, occlusion shows what the
# answer *needs*, and a grey patch is itself a picture that the model never saw.
#
# ## What goes with the model
#
# A temperature in a notebook helps nobody. `evaluation.fit_trust` does the steps of this page on validation images, and
# `models.save` writes the result into the JSON file beside the model; exports take it along. `effnet predict` then adds
# to its table the set, whether there is an alarm, and whether the picture is none of the classes. Here is the model
# reloaded, on two test images and two of the photographs:

# %%
seen = {"train_features": features["train"].values, "train_labels": labels["train"], "features": features["val"].values}
trust = evaluation.fit_trust(answers["val"], labels["val"], names, coverage=coverage, alarm_classes=defective, **seen)
described = {"class_names": names, "resize_mode": resize_mode, "variant": variant, "bits": images.bits}
with tempfile.TemporaryDirectory() as folder:
    models.save(model, Path(folder) / "classifier.keras", **described, trust=trust)
    reloaded, card = models.load(Path(folder) / "classifier.keras")

# %%
new = np.stack([images.image("test", 0), images.image("test", len(labels["test"]) - 1), *strange[:2]]).astype("float32")
judged = evaluation.apply_trust(card.trust, reloaded.predict(new, verbose=0), names, extractor.predict(new, verbose=0))
for p, inside, marked, alarm in zip(judged.probabilities, judged.sets, judged.none_of_these, judged.alarm, strict=True):
    members = records.listed(np.array(names)[inside][:5], "|")
    print(f"{names[p.argmax()]} {p.max():.2f}; set: {members}; alarm: {alarm}; none of these: {marked}")

# %% [markdown] tags=["slide"]
# ## Recap
#
# - Confidence and accuracy are compared bin by bin; one temperature, fitted on other images, brings them near.
# - A sorted list of probabilities gives sets that hold the right class as often as promised, over all or by class.
# - An alarm is a threshold with a promise and a price. How much can be promised hangs on how many images there are.
# - Distance of features tells what is far from everything seen. It does not tell a new flaw in a known weave.
# - Promises hold for pictures like those that made them. Change the pictures, and measure again.
# - Out-of-fold probabilities put wrong labels near the top of a list; two models are compared on the images that only
#   one gets right; a quick map is checked by covering the picture.
#
# **The surprise:** the model that was right far more often was also the one that a little blur or noise hurt most.
#
# **Practise:** [exercises 08](exercises/08_when_to_trust_it.ipynb)
#
# **Where next:** the [failure gallery](B_failure_gallery.ipynb) shows what usually lies behind a model that cannot be
# trusted. With your own pictures: `effnet run 08 -p dataset=folder:/path/to/pictures -p image_size=224
# -p resize_mode=crop -p limit_per_class=0`.
