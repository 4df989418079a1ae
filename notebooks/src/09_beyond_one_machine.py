# %% [markdown] tags=["slide"]
# # 09 · Beyond one machine
#
# **One computer is too slow, or too small. How do several train one model, and what does that buy?**
#
# ## What you will learn
#
# - to say when several devices pay, and when one is enough
# - to write the loop by which several devices train one model, and to show that it gives what one device gives
# - to measure the speed-up, and to name what limits it
# - to go on after a process was killed, as if nothing had happened
# - to try many settings side by side, and to lose none when a worker dies
# - to plan for more images and more devices, and to tell what is measured from what is not
#
# | | |
# |---|---|
# | before you start | [05 · Unfreezing](05_unfreezing.ipynb) |
# | takes | reading 18 minutes, running 1 minute, 4 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Optional

from effnet_helpers import data, evaluation, models, plotting, records, runtime, training

import keras
import numpy as np
import pandas as pd
import psutil
import tensorflow as tf
from dask.distributed import Client, LocalCluster
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

print(runtime.describe())
tf.get_logger().setLevel("WARNING")  # else strategies tell at length what they are made of
tf.config.set_visible_devices([], "GPU")  # processors everybody has; a section below makes two of one
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
variant: str = "Lite0"  # which EfficientNet
image_size: int = 128  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash
limit_per_class: int = 200  # use at most so many images of each class, 0 uses all
from_block: str = "block4a"  # lowest block that trains
batch_size: int = 64  # images in a step, of all devices together
steps: int = 6  # of training
learning_rate: float = 0.002  # of gradient descent with momentum
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
split_seed: int = 0  # another seed gives another split
seed: int = 0  # for random weights and the order of images

# %%
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)
backbone = models.build_backbone(variant, image_size=image_size, drop_connect_rate=0.0)
records.check(batch_size=(batch_size, 2, None), steps=(steps, 4, None), learning_rate=(learning_rate, 0.0, None),
              from_block=(from_block, models.block_names(backbone)[1:]))  # fmt: skip

# %% [markdown]
# The default images are *simulated* textile: nominal, shifted as a whole, or with a small local flaw.
#
# ## When it pays
#
# Three things can be too much for one computer, and they want different answers.
#
# - **Many trainings**: seeds, rates, variants. They have nothing to tell each other, so twice the workers take half the
#   time. Look here first; a section below shows how.
# - **One long training.** Several devices can share each step. They must then agree after every single one, and that
#   is what most of this page is about.
# - **A model that does not fit into one memory** has to be cut in pieces. No EfficientNet is that large.
#
# Before you add a device, use the first one well: features once (notebook 04), the frozen part once (notebook 05), a
# smaller variant, smaller images.
#
# ## What is to be trained
#
# The upper blocks, as in notebook 05, with a plain head: pooling, then softmax. What lies below is frozen, so it is
# computed once. The network as it starts, and the [activations](../docs/glossary.md#activation) it is given, go into a
# folder that every process can read.

# %%
runtime.set_seed(seed)
prefix, tail = models.split_at_block(backbone, from_block)
models.unfreeze_blocks(tail, from_block=from_block)
pooled = keras.layers.GlobalAveragePooling2D()(tail.output)
network = keras.Model(tail.input, keras.layers.Dense(images.num_classes, activation="softmax")(pooled))

# %%
shared = tempfile.TemporaryDirectory(prefix="effnet-09-", ignore_cleanup_errors=True)
folder = Path(shared.name)
network.save(folder / "start.keras")
kept = training.extract_features(prefix, images, ["train"], 32)["train"]
order = np.random.default_rng(seed).permutation(len(kept.labels))
inputs, labels = np.float32(kept.values)[order], kept.labels[order]
np.savez(folder / "images.npz", inputs=inputs, labels=labels)
gradient_bytes = 4 * sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)
print(f"{len(labels)} images; gradients of {gradient_bytes / 1e6:.1f} MB, four bytes for each weight that trains")

# %% [markdown]
# ## The loop
#
# Each device has a copy of the network, a [*replica*](../docs/glossary.md#replica). In every step it takes its rows of
# the batch, finds the gradient for them, and adds that to the gradients of the others; then all replicas make the same
# update and are equal again. The adding-up is called [*all-reduce*](../docs/glossary.md#all-reduce). Three things have
# to be right:
#
# - the loss is divided by the [*global batch*](../docs/glossary.md#global-batch), all rows of the step, and not by the
#   rows of this device. Then the sum of the gradients is what one device would have found.
# - `optimizer.apply` is called on each replica; it is there that the gradients are added up.
# - metrics are *sums* as well: here of what each row adds to the loss, and of how many answers were right.
#
# `strategy` is TensorFlow's word for who takes part. With the default one, the same lines train on one device.


# %% tags=["slide-code"]
def step_of(strategy, network, optimizer, batch_size):
    """Returns a function that takes one step on all devices; it gives the loss and the share of right answers."""

    def on_each(x, y):
        with tf.GradientTape() as tape:
            answers = network(x, training=True)
            loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, answers)) / batch_size
        gradients = tape.gradient(loss, [weight.value for weight in network.trainable_variables])
        optimizer.apply(gradients, network.trainable_variables)
        right = tf.reduce_sum(keras.metrics.sparse_categorical_accuracy(y, answers)) / batch_size
        return tf.stack([loss, right])

    return tf.function(lambda x, y: strategy.reduce("sum", strategy.run(on_each, (x, y)), axis=None), autograph=False)


# %% [markdown]
# (Keras' own `fit` fails where there is more than one process,
# [Keras issue 20585](https://github.com/keras-team/keras/issues/20585); hence a loop.)
#
# Who takes which rows? The batch is cut into as many parts as there are replicas, and each takes the part of its
# number. Where that does not divide evenly, some have one row less; since the loss was divided by the whole batch, no
# row counts more than another. The order of the images depends on the number of the step and on nothing else. Network
# and optimizer are made in the strategy's scope, so that every device gets its copy.


# %%
def rows_of_each(strategy, rows):
    """Cuts the rows of a batch into parts, one for each replica."""
    parts = np.array_split(rows, strategy.num_replicas_in_sync)
    of = strategy.experimental_distribute_values_from_function
    return of(lambda replica: tf.constant(parts[replica.replica_id_in_sync_group]))


# %%
def train(strategy, folder, steps, batch_size, learning_rate, resume=False, every=0):
    """Trains; returns the network, and loss and seconds of each step. Every so many steps it leaves a checkpoint."""
    inputs, labels = np.load(folder / "images.npz").values()
    with strategy.scope():
        network = keras.models.load_model(folder / "start.keras")
        optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9)
        optimizer.build(network.trainable_variables)
    first = restore(folder, network, optimizer) if resume else 0
    step, done = step_of(strategy, network, optimizer, batch_size), []
    for number in range(first, steps):
        rows, started = np.arange(number * batch_size, (number + 1) * batch_size) % len(labels), time.perf_counter()
        loss, _ = step(rows_of_each(strategy, inputs[rows]), rows_of_each(strategy, labels[rows])).numpy()
        done.append((float(loss), time.perf_counter() - started))
        if every and (number + 1) % every == 0:
            save(folder, number + 1, network, optimizer)
            print(f"checkpoint {number + 1}", flush=True)
    return network, done


# %% [markdown]
# A checkpoint holds all that the next step depends on: the weights, what the optimizer remembers, and the number of the
# step. It is written beside the last one and then takes its place in one move, so that a process that is killed while
# it writes leaves the last one whole. Of several processes only the first writes; all of them read.


# %%
def save(folder, step, network, optimizer):
    """Leaves a checkpoint, unless this is not the first process."""
    if '"index": 0' in os.environ.get("TF_CONFIG", '"index": 0'):
        values = [variable.numpy() for variable in [*network.variables, *optimizer.variables]]
        np.savez(folder / "unfinished.npz", *values, step=step)
        os.replace(folder / "unfinished.npz", folder / "checkpoint.npz")


# %%
def restore(folder, network, optimizer):
    """Gives network and optimizer the values of the checkpoint; returns the number of the step that comes next."""
    with np.load(folder / "checkpoint.npz") as saved:
        for place, variable in enumerate([*network.variables, *optimizer.variables]):
            variable.assign(saved[f"arr_{place}"])
        return int(saved["step"])


# %% [markdown]
# ## Two devices of one process
#
# A computer with several GPUs needs no second process: `tf.distribute.MirroredStrategy()` takes all of them. Here the
# processor was cut into two *logical* devices above. They share its cores, so they cannot be faster, but they have to
# come to the same weights. Do they?


# %%
def difference(first, second):
    """The largest difference of any weight."""
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in zip(first, second, strict=True))


settings = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
one_device, _ = train(tf.distribute.get_strategy(), folder, **settings)
two_devices, _ = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), folder, **settings)


# %% tags=["slide"]
moved = difference(one_device.get_weights(), network.get_weights())
print(f"in {steps} steps the weights have moved by up to {moved:.1e}")
apart = difference(one_device.get_weights(), two_devices.get_weights())
print(f"one device and two differ by at most {apart:.1e}")
records.expect(apart < 0.1 * moved, "difference", apart, f"a small part of {moved:.1e}")

# %% [markdown]
# Not the same to the last bit, and not by mistake: (a + b) + c and a + (b + c) are rounded differently in floating
# point, and two devices add up in another order than one. A mistake in the loop, such as a loss divided by the rows of
# one device, shows as a difference of the size of the movement itself. (That is why this page takes gradient descent
# with momentum. Adam divides by the size of a gradient: where that is next to nothing, even rounding makes a step.)
#
# The loop is right for a network in which no image knows of another. Two layers break that. *Batch normalization that
# trains* uses the mean of the batch, and each of two devices has only its own half; `synchronized=True` makes them
# share it. (The backbone's stays frozen in this course.) *Dropout* draws at random: each device must take its rows of
# one draw for the whole batch, or it is another training, no worse, but not to be compared by its weights.
# `training.fit_head` and `training.fine_tune` see to both.
#
# ## Two processes
#
# Several *machines* are several processes that find each other through the network. Each runs the same script, and a
# variable of its environment, `TF_CONFIG`, says who they are and which of them it is. The script is the functions above
# between a few lines. One process alone keeps to one core, so that one and two are compared fairly.

# %%
opening = """import json, os, sys, time
from pathlib import Path
if "TF_CONFIG" not in os.environ and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
import keras, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
kind = tf.distribute.MultiWorkerMirroredStrategy if "TF_CONFIG" in os.environ else tf.distribute.get_strategy
"""
ending = """network, done = train(strategy := kind(), Path(__file__).parent, **json.loads(sys.argv[1]))
np.savez(Path(__file__).with_name(f"weights-{strategy.num_replicas_in_sync}.npz"), *network.get_weights())
print(json.dumps(done))
"""
(folder / "who.py").write_text("import os; print(os.environ['TF_CONFIG'])")
functions = map(inspect.getsource, (step_of, rows_of_each, save, restore, train))
print((folder / "loop.py").write_text("\n\n".join([opening, *functions, ending])), "characters")

# %% [markdown]
# On a cluster the same command is started on each machine, by SLURM, by MPI or by hand. On one machine a launcher
# starts all processes. **They trust their network**: TensorFlow's servers ask for no password, encrypt nothing, and
# listen on every interface of the computer. So `effnet launch` gives its processes a network of their own, which has
# nothing but a loopback and ends with them. (Linux can do that. Where a system does not allow it, the next cell says
# so, and the page goes on with one process.)


# %%
def command(processes, script, *arguments):
    launcher = ["-m", "effnet_helpers", "launch", "--processes", str(processes)] if processes > 1 else []
    return [sys.executable, *launcher, str(folder / script), *arguments]


asked = subprocess.run(command(2, "who.py"), capture_output=True, text=True)
processes = 1 if asked.returncode else 2
print((asked.stdout or asked.stderr).strip().splitlines()[-1])

# %% [markdown]
# That is what the first of two processes is told: the addresses of both, and that its number is 0. Now the script. Are
# the weights the same, and is it faster? (The first two steps are left out of the times: in them TensorFlow builds its
# graph.)


# %% tags=["alone", "slide"]
def run(processes):
    """Runs it to its end; returns loss and seconds of each step, and the weights."""
    ended = subprocess.run(command(processes, "loop.py", json.dumps(settings)), capture_output=True, text=True)
    records.expect(ended.returncode == 0, "exit code", ended.returncode, f"0; {ended.stderr[-800:]}")
    return json.loads(ended.stdout.splitlines()[-1]), [*np.load(folder / f"weights-{processes}.npz").values()]


(by_one, weights_of_one), (by_two, weights_of_two) = run(1), run(processes)
apart = difference(weights_of_one, weights_of_two)
for name, done in (("one process", by_one), (f"processes: {processes}", by_two)):
    print(f"{name}; losses {' '.join(f'{loss:.4f}' for loss, _ in done)}")
print(f"their weights differ by at most {apart:.1e}, having moved by up to {moved:.1e}")
records.expect(apart < 0.1 * moved, "difference", apart, f"a small part of {moved:.1e}")

# %%
one, two = (float(np.median([seconds for _, seconds in steps_of[2:]])) for steps_of in (by_one, by_two))
print(f"one process of one core: {one:.2f} s a step, {batch_size / one:.1f} images a second")
print(f"{processes} processes: {two:.2f} s a step, {batch_size / two:.1f} images a second, speed-up {one / two:.2f}")
print(f"of a step of theirs {two - one / processes:.2f} s are not what computing takes when it is shared out evenly")
records.record("speed_up_of_two_processes", round(one / two, 2))

# %% [markdown]
# ## What stands in the way
#
# Half of the images take half of the time. Adding up the gradients does not: it takes as long for two images as for
# two thousand, since there is one gradient for each *weight*. And whatever is done once for all of them is not shared
# either. This is [*Amdahl's law*](../docs/glossary.md#amdahls-law): if a share s of the time cannot be divided, n
# devices make it at most 1 / (s + (1 − s) / n) times as fast, and no number of devices more than 1 / s.
#
# So the larger the batch, the smaller the share of what is added up. `make bench ROW=distributed` measures lesson 05's
# fine-tuning with three sizes of batch, on a quiet computer with two cores, and each part by itself, in milliseconds:

# %%
table = evaluation.measured("distributed")
parts = table.pivot_table(index=["what", "size"], columns="processes", values="milliseconds")
taken = parts.loc["step"].assign(speed_up=lambda each: each[1] / each[2]).rename_axis("images in a step")
print(f"{taken.round(2).to_string()}\n\n{parts.drop(index='step').round(1).to_string(na_rep='')}")

# %% [markdown]
# (Size: images in a step of all processes together, or bytes that are added up; medians of three rounds. Four processes
# on two cores take turns; they stand there to show that more processes than cores buy nothing.) Adding up the
# gradients, all of them in the last of its rows, explains only a part of what is missing to a speed-up of two. The rest
# is what two busy cores of one processor cost each other, as they share its memory: compare half of a batch in one
# process alone with the whole batch in two. How much that is depends on the processor; the README has the speed-ups of
# another one, which gains less. Separate computers would not pay it, and would pay more for the exchange. Beside the
# steps themselves:
#
# - **Input** is read ahead, while the network works. It costs nothing until it takes longer than a step; then it is all
#   that counts. A faster network makes that sooner, so it is the usual disappointment with a first GPU.
# - **The start** is paid once: processes find each other, and each builds its graph. It can eat all that a short
#   training gains.
# - **Waiting for the slowest.** All replicas end a step together. One computer that is busy with something else slows
#   down all.
#
# And the batch is part of the recipe: with more devices and the same rows *each*, the global batch grows, and with it
# the rate that fits ([Goyal et al. 2017](https://arxiv.org/abs/1706.02677) raise it in proportion, after a warm-up).
# Here the global batch stayed, so the recipe did.
#
# ## Killed, and resumed
#
# The more machines and the longer the training, the surer it is that one of them fails before the end. Two processes
# train and leave a checkpoint every two steps. After the first one, the second process is killed in the way that nobody
# can refuse, as by a system that is out of memory:

# %% tags=["slide"]
with_checkpoints = command(processes, "loop.py", json.dumps(settings | {"every": 2}))
pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
started = subprocess.Popen(with_checkpoints, **pipes)
if started.stdout.readline().startswith("checkpoint"):
    workers = psutil.Process(started.pid).children() or [psutil.Process(started.pid)]
    workers[-1].kill()

# %%
said = started.communicate()[1].strip() or f"exit code {started.returncode}"
print(said.splitlines()[-1])

# %% [markdown]
# Whoever waits for a process that is gone waits for ever. So the launcher ends the others, and says which one it was.
# The training goes on from the checkpoint, and it need not be on the same number of devices: here in this notebook, on
# one.

# %%
resumed, rest = train(tf.distribute.get_strategy(), folder, **settings, resume=True)
apart = difference(resumed.get_weights(), one_device.get_weights())
print(f"{len(rest)} of {steps} steps were left; one device without interruption differs by at most {apart:.1e}")
records.expect(apart < 0.1 * moved, "difference", apart, f"a small part of {moved:.1e}")

# %% [markdown]
# `effnet train … --processes 2` does all this with your pictures, and `--resume` goes on. On several machines each is
# started with the same list of addresses, `--cluster red:5000,blue:5000 --index 0` (and 1), or by `srun`, which says
# who they are. Then nothing fences them off but you: **take a network that only these machines are in** (a private
# network of the cluster, a VPN), or let a firewall pass nothing but their addresses to these ports. Whoever reaches
# such a port can have your computer compute, and read what it has.
#
# ## Many trainings at once
#
# The easy case, and the usual one. Here are settings of a simple head on averaged activations: four strengths of
# regularization, three draws of the images. [Dask](https://distributed.dask.org) hands them to two workers, each a
# process, on the loopback interface alone, and gathers the results. While they work, one of the two is killed. What it
# was doing is done again by another, and what was done already is not lost:


# %%
def fit_once(setting, features, labels):
    """Fits one head on half of the images; returns its accuracy on the others."""
    chosen, others = np.array_split(np.random.default_rng(setting["draw"]).permutation(len(labels)), 2)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=setting["strength"], max_iter=2000))
    return head.fit(features[chosen], labels[chosen]).score(features[others], labels[others])


averaged = inputs.mean(axis=(1, 2))
sweep = [{"strength": strength, "draw": draw} for strength in (0.01, 0.1, 1.0, 10.0) for draw in (0, 1, 2)]
one_by_one = [fit_once(setting, averaged, labels) for setting in sweep]

# %% tags=["slide"]
quiet = {"dashboard_address": None, "silence_logs": 60, "host": "127.0.0.1"}
with LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster, Client(cluster) as client:
    waiting = client.map(fit_once, sweep, features=averaged, labels=labels)
    psutil.Process(min(client.run(os.getpid).values())).kill()
    side_by_side = client.gather(waiting)
print(f"{len(side_by_side)} results of {len(sweep)}, equal to one after the other: {side_by_side == one_by_one}")
pd.DataFrame(sweep).assign(accuracy=side_by_side).groupby("strength")["accuracy"].agg(["mean", "min", "max"]).round(3)

# %% [markdown]
# Three draws of the same images, so look at the spread before you call one strength the best. Whole lessons go the same
# way: `effnet sweep 05 -p learning_rate=1e-4,3e-4 -p seed=0,1,2` runs notebook 05 once for each pair, on the cores of
# this computer or, with `--scheduler ADDRESS`, on those of a cluster; it keeps what has ended and goes on after an
# interruption. The same warning holds: a Dask worker runs whatever it is sent.
#
# ## A plan for growth
#
# What would ten, a thousand, a million times as many images cost? A plan needs few numbers, and each can be measured
# small: seconds for an image, bytes for an image, bytes of the gradients, bytes a second through a link. `make bench
# ROW=growth` has timed features of three numbers of images, three sizes and three variants. Three rates explain them:
# a start, so much for each image to be read, so much for each multiplication in the network. (Off is the share by which
# they miss what was measured.) On disk there are the pictures as files, and 2.56 kB of features for each; in memory lie
# the name and checksum of every file that is served, which `make bench ROW=memory` measured.

# %%
growth = evaluation.measured("growth")
rates = training.fit_features(growth)
planned = training.feature_seconds(rates, growth)
print(growth.drop(columns="peak_mb").assign(planned=planned.round(2), off=(planned / growth["seconds"] - 1).round(2)))
print(f"start {rates.start:.2f} s; an image {rates.read:.1e} s; 1e9 multiplications {rates.forward:.1e} s", end="; ")
print(f"features of an image {training.FEATURE_BYTES / 1000:.2f} kB")

# %% tags=["slide"]
counts = np.geomspace(100, 1e9, 43)
job = training.Job(image_bytes=110_000, gradient_bytes=gradient_bytes, passes=0)
here = training.plan_growth(training.rates_for(rates, "Lite0", 192), job, counts, [1])
far = training.plan_growth(training.A100, job, counts, [1024])
times, memory = growth.query("image_size == 192 and variant == 'Lite0'"), evaluation.measured("memory")
in_memory = 2**20 * memory["peak_mb"].min() + 1e9 * here["names_gb"]
both = {"two cores": here["seconds"], "1,024 A100": far["seconds"]}
on_disk = {"pictures": 1e9 * here["pictures_gb"], "features": 1e9 * here["features_gb"]}
panels = {
    "time for features": (both, {"two cores": (times["images"], times["seconds"])}, "s"),
    "memory": ({"list of files": in_memory}, {"list of files": (memory["images"], 2**20 * memory["peak_mb"])}, "B"),
    "on disk": (on_disk, {}, "B"),
}
plotting.outlook(panels, counts, "images")

# %% [markdown]
# Solid is what was measured, dashed a little beyond it, and dotted is arithmetic: nobody here has run it. Plans get no
# better than the share by which they are off, so do not read a second digit. (On disk there is only multiplication, and
# the size of a picture is assumed.) Read the figure from its right edge. Features of a thousand million images still
# fit on one disk. The *list* of them does not fit into the memory of a usual computer: that is where this package would
# have to change first. And two cores would need months.
#
# ## Where the next bottleneck lies
#
# By devices: on the left processes of one core, measured by the bench with 32 images in a step for each; on the right
# NVIDIA's A100 training B0 in mixed precision, with the figures that
# [NVIDIA published](https://github.com/NVIDIA/DeepLearningExamples/tree/master/TensorFlow2/Classification/ConvNets/efficientnet_v1)
# for one, eight and sixteen of them. Assumed are links of 1 Gbit/s on the left and of 200 Gbit/s on the right, pictures
# of 110 kB, and *one* file server with 100 Gbit/s. Change them in the cell, or in a copy of `training.A100`. (The last
# column: gigabytes of gradients that each of them sends in a pass over a million images.)

# %%
devices = np.unique(np.geomspace(1, 1024, 41).round().astype(int))
core, of_cores = training.fit_steps(table), replace(job, gradient_bytes=table["size"].max(), passes=1)
loopback = training.plan_growth(core, of_cores, [10**6], devices)["images_per_second"]
gigabit = training.plan_growth(replace(core, link=1e9 / 8), of_cores, [10**6], devices)["images_per_second"]
gpus = training.plan_growth(training.A100, training.Job(110_000, 21.2e6, batch=256), [10**6], devices)
changes = gpus[gpus["waits_for"] != gpus["waits_for"].shift()]
print(changes[["devices", "images_per_second", "waits_for", "sent_gb"]].round(0).to_string(index=False))

# %% tags=["slide"]
cores = {"on one computer": loopback, "on links of 1 Gbit/s": gigabit}
two_points = [1, 2], [32_000 * n / parts.loc[("step", 32 * n), n] for n in (1, 2)]
all_of_them = {"training": gpus["images_per_second"], "computing alone": 3454 * devices}
published = {"training": ([1, 8, 16], [3454, 20647, 40644])}
panels = {
    "processes, images a second": (cores, {"on one computer": two_points}, ""),
    "A100, images a second": (all_of_them, published, ""),
}
last = changes.iloc[-1]
plotting.outlook(panels, devices, "devices", {f"waits for {last.waits_for}": (last.devices, last.images_per_second)})
shared.cleanup()

# %% [markdown]
# On the right the next bottleneck is never the network between the GPUs: the gradients of so small a model are nothing
# to such links. First it is *decoding*: eight A100 compute faster than the processors beside them can read pictures
# and vary them, in the published figures, too. Then it is the file server. Whoever buys GPUs for a small network buys
# input first: pictures shrunk beforehand, decoded once, kept on the disks of the machines that use them; or features,
# which need one pass.
#
# On the left there is nothing to read, but every step waits for more exchanges, the more processes there are: many slow
# devices with a small share each gain little. Both are reasons to begin with the first section of this page.

# %% [markdown] tags=["slide"]
# ## Recap
#
# - Several devices pay for one long training with large steps; many trainings go side by side without any of this.
# - The loss is divided by the global batch, gradients and metrics are summed: two devices and two processes then give
#   what one gives, up to rounding.
# - The speed-up ends where something is not divided: adding up gradients, input, the start, waiting for the slowest.
# - A checkpoint holds weights, the optimizer's memory and the number of the step, and replaces the last one in one
#   move. Training goes on from it on any number of devices.
# - A sweep's results do not depend on which worker had them, or on whether one was killed.
# - A plan is arithmetic on rates that were measured small. It says where the next bottleneck lies, and should say how
#   far it has been measured.
#
# **The surprise:** with fast GPUs and a small network, neither computing nor the network between them is the limit, but
# reading pictures.
#
# **Practise:** [exercises 09](exercises/09_beyond_one_machine.ipynb)
#
# **Where next:** your own pictures, on all cores: `effnet train /path/to/pictures --out model.keras --processes 2`.
