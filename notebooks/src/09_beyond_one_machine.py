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
# | takes | reading 16 minutes, running 2 minutes, 3 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
import dataclasses
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
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

print(runtime.describe())

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
steps: int = 8  # of training
learning_rate: float = 0.0003  # of Adam
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
split_seed: int = 0  # another seed gives another split
seed: int = 0  # for random weights and the order of images

# %%
tf.config.set_visible_devices([], "GPU")  # processors everybody has; two of one, for a section below
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)
backbone = models.build_backbone(variant, image_size=image_size, drop_connect_rate=0.0)
records.check(
    batch_size=(batch_size, 2, None), steps=(steps, 4, None), learning_rate=(learning_rate, 0.0, None),
    from_block=(from_block, models.block_names(backbone)[1:]),
)  # fmt: skip

# %% [markdown]
# The default images are *simulated* textile: nominal, shifted as a whole, or with a small local flaw.
#
# ## When it pays
#
# Three things can be too much for one computer, and they want different answers.
#
# - **Many trainings**: seeds, rates, variants. They have nothing to tell each other, so twice the workers take half the
#   time. Look here first; it is the last but one section.
# - **One long training.** Several devices can share each step. They must then agree after every single one, and that
#   is what most of this page is about.
# - **A model that does not fit into one memory** has to be cut in pieces. No EfficientNet is that large.
#
# Before you add a device, use the first one well: features once (notebook 04), the frozen part once (notebook 05), a
# smaller variant, smaller images. Each of these has saved more in this course than a second computer can.
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
kept = training.extract_features(prefix, images, ["train"], 32)["train"]
order = np.random.default_rng(seed).permutation(len(kept.labels))
inputs, labels = np.float32(kept.values)[order], kept.labels[order]
trained = sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)
print(f"{len(labels)} images, {trained:,} weights that train: {4 * trained / 1e6:.1f} MB in float32")

# %%
shared = tempfile.TemporaryDirectory(prefix="effnet-09-", ignore_cleanup_errors=True)
folder = Path(shared.name)
network.save(folder / "start.keras")
np.savez(folder / "images.npz", inputs=inputs, labels=labels)

# %% [markdown]
# ## The loop
#
# Each device has a copy of the network, a [*replica*](../docs/glossary.md#replica). In every step it takes its rows of
# the batch, finds the gradient for them, and adds that to the gradients of the others; then all replicas make the same
# update and are equal again. The adding-up is called [*all-reduce*](../docs/glossary.md#all-reduce). What has to be
# right is little, and all of it stands in these lines:
#
# - the loss is divided by the [*global batch*](../docs/glossary.md#global-batch), all rows of the step, and not by the
#   rows of this device. Then the sum of the gradients is what one device would have found.
# - `optimizer.apply` is called on each replica; it is there that the gradients are added up.
# - metrics are *sums* as well: of losses, and of how many answers were right.
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
# (Keras' own `fit` fails here where there is more than one process,
# [Keras issue 20585](https://github.com/keras-team/keras/issues/20585); hence a loop.)
#
# Who takes which rows? The batch is cut into as many parts as there are replicas, and each takes the part of its
# number. A batch that does not divide evenly gives some of them one row less, and since the loss was divided by the
# whole batch, no row counts more than another.


# %%
def rows_of_each(strategy, array):
    """Cuts the rows of a batch into parts, one for each replica."""
    parts = np.array_split(array, strategy.num_replicas_in_sync)
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(parts[replica.replica_id_in_sync_group])
    )


# %% [markdown]
# Now the training. It takes the network and the optimizer into the strategy's scope, so that every device gets its
# copy, and goes through the images in an order that depends on the number of the step and nothing else. `first` and the
# checkpoint are for later.


# %%
def train(strategy, folder, steps, batch_size, learning_rate, resume=False, every=0):
    """Trains, and returns losses and seconds step by step; every so many steps it leaves a checkpoint."""
    saved = np.load(folder / "images.npz")
    inputs, labels = saved["inputs"], saved["labels"]
    with strategy.scope():
        network = keras.models.load_model(folder / "start.keras")
        optimizer = keras.optimizers.Adam(learning_rate)
        optimizer.build(network.trainable_variables)
    first = restore(folder, network, optimizer) if resume else 0
    step, done = step_of(strategy, network, optimizer, batch_size), []
    for number in range(first, steps):
        started = time.perf_counter()
        rows = np.arange(number * batch_size, (number + 1) * batch_size) % len(labels)
        loss, right = step(rows_of_each(strategy, inputs[rows]), rows_of_each(strategy, labels[rows])).numpy()
        done.append({"step": number, "loss": float(loss), "right": float(right)})
        done[-1]["seconds"] = time.perf_counter() - started
        if every and (number + 1) % every == 0:
            save(folder, number + 1, network, optimizer)
        print(f"step {number}", flush=True)
    return network, done


# %% [markdown]
# A checkpoint holds all that the next step depends on: the weights, what the optimizer remembers, and the number of the
# step. It is written beside the last one and then takes its place in one move, so that a process that is killed while
# it writes leaves the last one whole. Of several processes only one writes; all of them read.


# %%
def save(folder, step, network, optimizer):
    """Leaves a checkpoint, unless another process does."""
    if json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]["index"] == 0:
        values = [variable.numpy() for variable in [*network.variables, *optimizer.variables]]
        np.savez(folder / "unfinished.npz", *values, step=step)
        os.replace(folder / "unfinished.npz", folder / "checkpoint.npz")


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
settings = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
two_devices, _ = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), folder, **settings)
one_device, alone = train(tf.distribute.get_strategy(), folder, **settings)


# %% tags=["slide"]
def difference(first, second):
    """The largest difference of any weight."""
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in zip(first, second, strict=True))


moved = difference(one_device.get_weights(), network.get_weights())
print(f"in {steps} steps the weights have moved by up to {moved:.1e}")
logical = difference(one_device.get_weights(), two_devices.get_weights())
print(f"one device and two differ by at most {logical:.1e}")
records.expect(logical < 0.1 * moved, "difference", logical, f"a small part of {moved:.1e}")

# %% [markdown]
# Not the same to the last bit, and not by mistake: (a + b) + c and a + (b + c) are rounded differently in floating
# point, and two devices add up in another order than one. What remains is that rounding, which every step carries on. A
# mistake in the loop, such as a loss divided by the rows of one device, shows as a difference of the size of the
# movement itself.
#
# ## What looks at the whole batch
#
# The loop is right for a network in which no image knows of another. Two layers break that. *Batch normalization that
# trains* uses the mean of the batch; on two devices each has the mean of its own half:

# %% tags=["nbval-check-output"]
batch = np.random.default_rng(0).normal(size=(8, 3))
whole = (batch - batch.mean(axis=0)) / batch.std(axis=0)
halves = np.concatenate([(half - half.mean(axis=0)) / half.std(axis=0) for half in np.split(batch, 2)])
print(f"one number, normalized by the whole batch: {whole[0, 0]:.2f}; by its half: {halves[0, 0]:.2f}")

# %% [markdown]
# In this course the backbone's batch normalization stays frozen, so it does not matter there. In a head that has one,
# `BatchNormalization(synchronized=True)` makes all devices share their means. *Dropout* draws at random: each device
# must take its rows of one draw for the whole batch, or the training is another one, no worse, but not to be compared
# by its weights. `training.fit_head` and `training.fine_tune` see to both.
#
# ## Two processes
#
# Several *machines* are several processes that find each other through the network. Each runs the same script, and a
# variable of its environment, `TF_CONFIG`, says who they are and which of them it is. The script is the functions above
# and six lines. It keeps to one core, so that one process and two are compared fairly.

# %%
opening = """import json, os, sys, time
from pathlib import Path
together = "TF_CONFIG" in os.environ
if not together and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
import keras
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
strategy = tf.distribute.MultiWorkerMirroredStrategy() if together else tf.distribute.get_strategy()
"""
ending = """network, done = train(strategy, Path(__file__).parent, **json.loads(sys.argv[1]))
np.savez(Path(__file__).with_name(f"weights-{os.getpid()}.npz"), *network.get_weights())
print(json.dumps({"process": os.getpid(), "done": done, "adding": seconds_to_add_up(strategy, network)}))
"""

# %% [markdown]
# To see what the adding-up costs by itself, the script does it a few times alone, with as many zeros as there are
# gradients.


# %%
def seconds_to_add_up(strategy, network, times=5):
    """Returns the median time in which all replicas add up as many numbers as the network has weights that train."""
    count = sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)

    def on_each(numbers):
        return tf.reduce_sum(tf.distribute.get_replica_context().all_reduce("sum", numbers))

    add_up = tf.function(
        lambda numbers: strategy.reduce("sum", strategy.run(on_each, (numbers,)), axis=None), autograph=False
    )
    numbers, seconds = tf.zeros(count), []
    for _ in range(times):
        started = time.perf_counter()
        add_up(numbers).numpy()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:]))


functions = (step_of, rows_of_each, save, restore, seconds_to_add_up, train)
(folder / "loop.py").write_text("\n\n".join([opening, *map(inspect.getsource, functions), ending]))

# %% [markdown]
# On a cluster the same command is started on each machine, by SLURM, by MPI or by hand. On one machine a launcher
# starts all processes. **They trust their network**: TensorFlow's servers ask for no password, encrypt nothing, and
# listen on every interface of the computer. So `effnet launch` gives its processes a network of their own, which has
# nothing but a loopback and ends with them. (Linux can do that. Where a system does not allow it, the next cell says
# so, and the rest of the page goes on with one process.)


# %%
def command(processes, **given):
    """The command that runs the script in one process, or in several that train together."""
    script = [str(folder / "loop.py"), json.dumps(settings | given)]
    launcher = ["-m", "effnet_helpers", "launch", "--processes", str(processes)] if processes > 1 else []
    return [sys.executable, *launcher, *script]


def run(processes, **given):
    """Runs it to its end; returns what it measured, and the weights it ended with."""
    ended = subprocess.run(command(processes, **given), capture_output=True, text=True)
    records.expect(ended.returncode == 0, "exit code", ended.returncode, f"0; {ended.stderr[-800:]}")
    result = json.loads(ended.stdout.splitlines()[-1])
    with np.load(folder / f"weights-{result['process']}.npz") as saved:
        return result, [saved[name] for name in saved.files]


(folder / "who.py").write_text("import os; print(os.environ['TF_CONFIG'])")
asked = [sys.executable, "-m", "effnet_helpers", "launch", "--processes", "2", str(folder / "who.py")]
answered = subprocess.run(asked, capture_output=True, text=True)
processes = 1 if answered.returncode else 2
print(answered.stdout or answered.stderr.strip().splitlines()[-1])

# %% [markdown]
# That is what the first of two processes is told: the addresses of both, and that it has the number 0.

# %% tags=["alone", "slide"]
by_one, weights_of_one = run(1)
by_two, weights_of_two = run(processes)
apart = difference(weights_of_one, weights_of_two)
print(f"weights of one process and of {processes} differ by at most {apart:.1e}, having moved by up to {moved:.1e}")
records.expect(apart < 0.1 * moved, "difference", apart, f"a small part of {moved:.1e}")
losses = pd.DataFrame({"one": [s["loss"] for s in by_one["done"]], "two": [s["loss"] for s in by_two["done"]]})
print(losses.T.round(4).to_string())

# %% [markdown]
# The same training, then. Is it faster? The first two steps are left out: in them TensorFlow builds its graph.

# %%
seconds = {name: np.median([s["seconds"] for s in each["done"][2:]]) for name, each in (("1", by_one), ("2", by_two))}
speed_up = seconds["1"] / seconds["2"]
print(f"one process of one core: {batch_size / seconds['1']:.1f} images a second, {seconds['1']:.2f} s a step")
print(f"{processes} processes: {batch_size / seconds['2']:.1f} images a second, {seconds['2']:.2f} s a step")
print(f"speed-up {speed_up:.2f}; of a step, adding up alone takes {by_two['adding']:.3f} s")
records.record("speed_up_of_two_processes", round(float(speed_up), 2))
records.record("largest_difference_of_weights", apart)

# %% [markdown]
# ## What stands in the way
#
# Half of the images take half of the time. Adding up the gradients does not: it takes as long for two images as for
# two thousand, since there is one gradient for each *weight*. And whatever is done once for all of them is not shared
# either. This is [*Amdahl's law*](../docs/glossary.md#amdahls-law): if a share s of the time cannot be divided, n
# devices make it at most 1 / (s + (1 − s) / n) times as fast, and no number of devices more than 1 / s.
#
# So the larger the batch, the smaller the share of what is added up. `make bench ROW=distributed` measures lesson 05's
# fine-tuning with three sizes of batch, on a quiet computer with two cores, and gives each part by itself:

# %%
table = evaluation.measured("distributed")
medians = table.pivot_table(index=["what", "size"], columns="processes", values="milliseconds")
taken = medians.loc["step"].assign(speed_up=lambda t: t[1] / t[2], images_a_second=lambda t: 1000 * t.index / t[2])
print(taken.rename_axis(index="images in a step", columns="ms by processes").round(2).to_string(), "\n")
print(medians.drop(index="step").round(1).to_string(na_rep=""))

# %% [markdown]
# (Size: images of all processes together, or bytes that are added up. Four processes on two cores share them two by
# two; they stand there to show that more processes than cores buy nothing.) Beside the steps themselves:
#
# - **Input** is read ahead, while the network works. It costs nothing until it takes longer than a step; then it is all
#   that counts. A faster network makes that sooner, so it is the usual disappointment with a first GPU.
# - **The start** is paid once: processes find each other, and each builds its graph. For a training of a minute it is
#   all of the gain.
# - **Waiting for the slowest.** All replicas end a step together. One computer that is busy with something else slows
#   down all.
#
# And the batch is part of the recipe: with more devices and the same rows *each*, the global batch grows, and with it
# the rate that fits ([Goyal et al. 2017](https://arxiv.org/abs/1706.02677) raise it in proportion, after a warm-up).
# Here the global batch stayed, so the recipe did.
#
# ## Killed, and resumed
#
# The more machines and the longer the training, the surer it is that one of them fails before the end. So stop thinking
# of it as an accident. Two processes train and leave a checkpoint every two steps. In the middle, the second one is
# killed in the way that nobody can refuse, as by a system that is out of memory:

# %% tags=["slide"]
every = 2
started = subprocess.Popen(command(processes, every=every), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
for line in started.stdout:
    if line.strip() == f"step {every}":
        break
workers = psutil.Process(started.pid).children() if processes > 1 else [psutil.Process(started.pid)]
workers[-1].kill()
_, said = started.communicate()
print(said.strip().splitlines()[-1] if said.strip() else f"exit code {started.returncode}")
with np.load(folder / "checkpoint.npz") as saved:
    print(f"the checkpoint is of step {int(saved['step'])} of {steps}")

# %% [markdown]
# Whoever waits for a process that is gone waits for ever. So the launcher ends the others, and says which one it was.
# Now the training goes on, and it need not be on the same number of devices: here in this notebook, on one.

# %%
resumed, rest = train(tf.distribute.get_strategy(), folder, **settings, resume=True)
again = difference(resumed.get_weights(), one_device.get_weights())
print(f"{len(rest)} steps were left; one device that was never interrupted differs by at most {again:.1e}")
records.expect(again < 0.1 * moved, "difference", again, f"a small part of {moved:.1e}")

# %% [markdown]
# `effnet train … --processes 2` does all this with your pictures, and `--resume` goes on. On several machines each is
# started with the same list of addresses, `--cluster red:5000,blue:5000 --index 0` (and 1), or by `srun`, which says
# who they are. Then nothing fences them off but you: **take a network that only these machines are in** (a private
# network of the cluster, a VPN), or let a firewall pass nothing but their addresses to these ports. Whoever reaches
# such a port can have your computer compute, and read what it has.
#
# ## Many trainings at once
#
# The easy case, and the usual one. Here twelve settings of a simple head on averaged features: four strengths of
# regularization, three draws of the images. [Dask](https://distributed.dask.org) hands them to two workers, each a
# process, on the loopback interface alone, and gathers the results.


# %%
def fit_once(setting, features, labels):
    """Fits one head on half of the images; returns its accuracy on the others."""
    strength, draw = setting
    order = np.random.default_rng(draw).permutation(len(labels))
    chosen, others = np.array_split(order, 2)
    fitted = LogisticRegression(C=strength, max_iter=2000).fit(features[chosen], labels[chosen])
    time.sleep(0.2)  # a stand-in for a training that takes longer
    return fitted.score(features[others], labels[others])


averaged = inputs.mean(axis=(1, 2))
sweep = [(strength, draw) for strength in (0.01, 0.1, 1.0, 10.0) for draw in (0, 1, 2)]
one_by_one = [fit_once(setting, averaged, labels) for setting in sweep]

# %% [markdown]
# While they work, one of the two is killed. What it was doing is done again by another, and what it had done already is
# not lost:

# %% tags=["slide"]
quiet = {"dashboard_address": None, "silence_logs": 60, "host": "127.0.0.1"}
with LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster, Client(cluster) as client:
    waiting = client.map(fit_once, sweep, features=averaged, labels=labels, pure=False)
    waiting[0].result()
    psutil.Process(next(iter(client.run(os.getpid).values()))).kill()
    side_by_side = client.gather(waiting)
print(f"{len(side_by_side)} results of {len(sweep)}, equal to one after the other: {side_by_side == one_by_one}")
by_strength = pd.DataFrame({"strength": [s for s, _ in sweep], "accuracy": side_by_side}).groupby("strength")
by_strength["accuracy"].agg(["mean", "min", "max", "size"]).round(3)

# %% [markdown]
# Three draws of the same images, so look at the spread before you call one strength the best. Whole lessons go the same
# way: `effnet sweep 05 -p learning_rate=1e-4,3e-4 -p seed=0,1,2` runs notebook 05 six times, on the cores of this
# computer or, with `--scheduler ADDRESS`, on those of a cluster; it keeps what has ended and goes on after an
# interruption. The same warning holds: a Dask worker runs whatever it is sent.
#
# ## A plan for growth
#
# What would ten, a thousand, a million times as many images cost? A plan needs few numbers, and each can be measured
# small: seconds for an image, bytes for an image, bytes of the gradients, bytes a second through a link. `make bench
# ROW=growth` has timed features of three numbers of images, three sizes and three variants. Three rates explain them:
# a start, so much for each image to be read, so much for each multiplication in the network.

# %%
growth = evaluation.measured("growth")
sizes = {(row.variant, row.image_size): None for row in growth.itertuples()}
for name, side in sizes:
    sizes[name, side] = models.count_multiply_adds(models.build_backbone(name, weights=None, image_size=side))
multiply_adds = np.array([sizes[row.variant, row.image_size] for row in growth.itertuples()])
rates = training.fit_features(growth, multiply_adds)
growth["planned"] = rates.start + growth["images"] * (rates.read + rates.forward * multiply_adds / 1e9)
growth["off"] = growth["planned"] / growth["seconds"] - 1
print(growth.drop(columns="peak_mb").round(2).to_string(index=False))
print(f"start {rates.start:.2f} s; reading {1000 * rates.read:.2f} ms an image", end="; ")
print(f"{1000 * rates.forward:.1f} ms for 1e9 multiplications")

# %% [markdown]
# Off is the share by which the plan misses what was measured. That is as good as plans get; do not read a second
# digit from what follows.
#
# Now the bytes. A picture of this set as a file, its 1,280 features in two bytes each, and for each file its name and
# checksum in memory while it is served:

# %%
files = images.splits["train"]
bytes_of = [os.path.getsize(files.path(number)) for number in range(len(files))] if dataset == "textile" else [110_000]
job = training.Job(image_bytes=float(np.mean(bytes_of)), gradient_bytes=4.0 * trained, passes=0)
print(f"a picture {job.image_bytes / 1000:.1f} kB, its features {training.FEATURE_BYTES / 1000:.2f} kB")
print(f"a step's gradients {job.gradient_bytes / 1e6:.1f} MB; each of n devices sends 2 (n - 1) / n times that")

# %% tags=["slide"]
counts = np.geomspace(100, 1e9, 43)
here = dataclasses.replace(rates, forward=rates.forward * sizes["Lite0", 192] / 1e9)
small, large = (training.plan_growth(each, job, counts, [n]) for each, n in ((here, 1), (training.A100, 1024)))
memory, alike = evaluation.measured("memory"), growth.query("image_size == 192 and variant == 'Lite0'")
some = np.array([len(bytes_of) // 4, len(bytes_of) // 2, len(bytes_of)]).clip(1)
plotting.outlook({
    "time for features": {
        "lines": {"two cores": (counts, small["seconds"]), "1,024 A100": (counts, large["seconds"])},
        "measured": {"two cores": (alike["images"], alike["seconds"])}, "unit": "s"},
    "memory of a process": {
        "lines": {"with names of all files": (counts, 2**20 * memory["peak_mb"].min() + 1e9 * small["names_gb"])},
        "measured": {"with names of all files": (memory["images"], 2**20 * memory["peak_mb"])}, "unit": "B"},
    "on disk": {
        "lines": {"pictures": (counts, 1e9 * small["pictures_gb"]), "features": (counts, 1e9 * small["features_gb"])},
        "measured": {"pictures": (some, np.cumsum(bytes_of)[some - 1])}, "unit": "B"},
}, "images")  # fmt: skip

# %% [markdown]
# Solid is what was measured, dashed up to ten times beyond it, and dotted is arithmetic: nobody here has run it. Read
# the figure from its right edge. The features of a thousand million images still fit on one disk. The *list* of them
# does not fit into the memory of a usual computer, long before their features are a problem: that is where this
# package would have to change first. And two cores would need the better part of a year.
#
# ## Where the next bottleneck lies
#
# By devices: on the left processes of one core, measured by the bench with 32 images in a step for each; on the right
# NVIDIA's A100 training B0 in mixed precision, with the figures that
# [NVIDIA published](https://github.com/NVIDIA/DeepLearningExamples/tree/master/TensorFlow2/Classification/ConvNets/efficientnet_v1)
# for one, eight and sixteen of them. Assumed are links of 1 Gbit/s on the left and of 200 Gbit/s on the right, pictures
# of 110 kB, and *one* file server with 100 Gbit/s. All of it can be changed in the cell.

# %%
devices = np.unique(np.geomspace(1, 1024, 41).round().astype(int))
core = training.fit_steps(table)
gradient_bytes = float(table.query("what == 'all-reduce'")["size"].max())
jobs = training.Job(110e3, gradient_bytes, batch=32), training.Job(110e3, gradient_bytes=21.2e6, batch=256)
loopback = training.plan_growth(core, jobs[0], [10**6], devices)
gigabit = training.plan_growth(dataclasses.replace(core, link=1e9 / 8), jobs[0], [10**6], devices)
gpus = training.plan_growth(training.A100, jobs[1], [10**6], devices)
of_steps = {n: 32_000 * n / medians.loc[("step", 32 * n), n] for n in (1, 2)}
changes = gpus[gpus["waits_for"] != gpus["waits_for"].shift()]
print(changes[["devices", "images_per_second", "waits_for"]].round(0).to_string(index=False))

# %% tags=["slide"]
store = changes[changes["waits_for"] == "storage"].iloc[:1]
marks = dict.fromkeys(["waits for the file server"][: len(store)], (*store[["devices", "images_per_second"]].sum(),))
plotting.outlook({
    "processes of one core, images a second": {
        "lines": {"on one computer": (devices, loopback["images_per_second"]),
                  "on links of 1 Gbit/s": (devices, gigabit["images_per_second"])},
        "measured": {"on one computer": ([*of_steps], [*of_steps.values()])}},
    "A100, images a second": {
        "lines": {"training": (devices, gpus["images_per_second"]), "computing alone": (devices, 3454 * devices)},
        "measured": {"training": ([1, 8, 16], [3454, 20647, 40644])},
        "marks": marks},
}, "devices")  # fmt: skip

# %% [markdown]
# On the right the next bottleneck is never the network between the GPUs: the gradients of so small a model are nothing
# to such links. First it is *decoding*: eight A100 compute faster than the processors beside them can read pictures,
# in the published figures, too. Then it is the file server. Whoever buys GPUs for a small network buys input first:
# pictures shrunk beforehand, decoded once, kept on the disks of the machines that use them; or features, which need
# one pass.
#
# On the left every step waits for the latency of many exchanges, once there are many processes: slow devices with a
# small share each gain little from being many. Both are reasons to begin with the first section of this page.

# %%
shared.cleanup()

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
