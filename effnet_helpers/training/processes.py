"""The processes that train together: which of them this one is, and what they tell each other outside of steps."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from effnet_helpers import machine
from effnet_helpers.records import expect

import numpy as np
import tensorflow as tf

LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
JOIN_SECONDS, HANGING_SECONDS = 300.0, 600.0


class LostProcessError(OSError):
    """One of the processes that train together is gone."""


@dataclass(frozen=True)
class Processes:
    """A strategy of `tf.distribute`, seen from one of the processes that share it.

    Attributes:
        strategy: `MultiWorkerMirroredStrategy`, or for several devices of one process `MirroredStrategy`.
    """

    strategy: tf.distribute.Strategy

    @functools.cached_property
    def local_replicas(self) -> int:
        """How many devices of this process train."""
        return len(self.strategy.extended.worker_devices)

    @property
    def count(self) -> int:
        """How many processes there are."""
        return self.strategy.num_replicas_in_sync // self.local_replicas

    @functools.cached_property
    def rank(self) -> int:
        """The number of this one, from 0."""
        return self.strategy.cluster_resolver.task_id if self.count > 1 else 0

    @property
    def first_replica(self) -> int:
        """The number of this process's first replica among all."""
        return self.rank * self.local_replicas

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that writes checkpoints, the cache and reports."""
        return self.rank == 0

    @property
    def writes_cache(self) -> bool:
        """Whether this is the process of its machine that writes what is kept for the others there."""
        return self._hosts.index(self._hosts[self.rank]) == self.rank

    @property
    def of_this_machine(self) -> int:
        """How many of the processes this machine has."""
        return self._hosts.count(self._hosts[self.rank])

    @property
    def _hosts(self) -> list[str]:
        if self.count == 1:
            return [""]
        addresses = self.strategy.cluster_resolver.cluster_spec().job_tasks("worker")
        return [address.rpartition(":")[0] for address in addresses]

    @property
    def share(self) -> tuple[int, int, int]:
        """For `ImageDataset.batches`: which rows of each batch this process takes."""
        return self.first_replica, self.first_replica + self.local_replicas, self.strategy.num_replicas_in_sync

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Adds up what all processes give, arrays of one shape and type."""
        if self.count == 1:
            return values
        machine.beat()
        with self.watching():
            return self._summed(values.dtype, values.shape)(tf.constant(values)).numpy()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Says who is lost, where TensorFlow gives up a step that all take.

        Its processes give each other signs of life, and one without any is given up after 10 seconds. One that lives
        and does not come is given up after `HANGING_SECONDS`; where a launcher watches, that is left to it.
        """
        waiting = threading.Timer(HANGING_SECONDS, self._give_up_waiting)
        waiting.daemon = True
        if self.count > 1 and machine.PULSE not in os.environ:
            waiting.start()
        try:
            yield
        except tf.errors.OpError as error:
            found = {int(number) for number in re.findall(r"/replica:\d+/task:(\d+)", error.message)} - {self.rank}
            if self.count == 1 or not (found or isinstance(error, LOST)):
                raise
            addresses = self.strategy.cluster_resolver.cluster_spec().job_tasks("worker")
            who = " or ".join(f"process {number} ({addresses[number]})" for number in sorted(found))
            raise LostProcessError(
                f"{who or 'another process'} was killed, was stopped or cannot be reached any more; start all of them "
                "again, with --resume"
            ) from None
        finally:
            waiting.cancel()

    def _give_up_waiting(self) -> None:
        """Ends this process, in whose main thread TensorFlow waits for the others without an end."""
        addresses = self.strategy.cluster_resolver.cluster_spec().job_tasks("worker")
        who = " or ".join(f"process {number} ({each})" for number, each in enumerate(addresses) if number != self.rank)
        _end(f"waited {HANGING_SECONDS:.0f} seconds in a step for {who}; start all of them again, with --resume")

    def wait(self) -> None:
        """Waits until all processes are here."""
        self.sum(np.zeros(1))

    def from_chief(self, values: Sequence[int]) -> list[int]:
        """What the chief gives here, on all processes."""
        return [int(value) for value in self.sum(np.array(values, float) * self.is_chief)]

    def join(self, rows: np.ndarray, total: int) -> np.ndarray:
        """Puts the shares of a batch of `total` rows together again; each may be filled up, all to the same length."""
        if total < self.strategy.num_replicas_in_sync:  # it went to all of them whole
            return rows[:total]
        ends = [total * number // self.count for number in range(self.count + 1)]
        shares = self.gather(rows) if self.count > 1 else rows[None]
        return np.concatenate([share[: ends[n + 1] - ends[n]] for n, share in enumerate(shares)])

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Returns what all processes give, arrays of one shape and type, stacked by their number."""
        everyone = np.zeros((self.count, *rows.shape), rows.dtype)
        everyone[self.rank] = rows
        return self.sum(everyone)

    def agree(self, what: str, text: str) -> None:
        """Makes sure that all processes say the same.

        Raises:
            ValueError: On all of them, if they do not.
        """
        digests = self.gather(np.frombuffer(hashlib.sha256(text.encode()).digest(), np.int32))
        if differing := [number for number, each in enumerate(digests) if (each != digests[0]).any()]:
            raise ValueError(
                f"{what} must be the same for all {self.count} processes: give them the same files, settings and "
                f"folder. Received: others in process {', '.join(map(str, differing))} than in process 0"
            )

    @functools.cache  # noqa: B019 - a strategy lives as long as its process
    def _summed(self, dtype: np.dtype, shape: tuple[int, ...]) -> tf.types.experimental.GenericFunction:
        def on_replica(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            is_first = tf.get_static_value(context.replica_id_in_sync_group) == self.first_replica
            values = tf.identity(values) if is_first else tf.zeros_like(values)  # each process counts once
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

        @tf.function(input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
        def summed(values: tf.Tensor) -> tf.Tensor:
            return self.strategy.experimental_local_results(self.strategy.run(on_replica, (values,)))[0]

        return summed


def join_processes() -> Processes | None:
    """Joins the other processes of this training, or takes all GPUs of this one.

    Which processes there are says the environment variable `TF_CONFIG`, which `effnet train` sets, or `srun`. Call it
    before any model is built. TensorFlow's servers listen on all interfaces and trust whoever reaches them: only in a
    network that others cannot enter. A process that the others cannot reach within five minutes ends them.

    Returns:
        For `processes` of `fit_head` and `fine_tune`; None where one device trains alone.

    Raises:
        ValueError: If several processes of this machine were started beside a GPU, which each of them would take.
    """
    gpus = len(tf.config.get_visible_devices("GPU"))
    expected = "a machine without GPUs: one process takes all of them, and CUDA_VISIBLE_DEVICES=-1 hides them"
    expect(not gpus or machine.PULSE not in os.environ, "--processes", f"{gpus} GPU{'s' * (gpus > 1)}", expected)
    cluster = machine.find_cluster()
    if cluster is not None:
        os.environ.update(cluster.environment(cluster.index))
        waiting = threading.Timer(JOIN_SECONDS, _give_up, [cluster.addresses])
        waiting.start()
        try:
            return Processes(tf.distribute.MultiWorkerMirroredStrategy())
        finally:
            waiting.cancel()
    return Processes(tf.distribute.MirroredStrategy()) if len(tf.config.list_logical_devices("GPU")) > 1 else None


def _give_up(addresses: Sequence[str]) -> None:
    """Ends this process, in whose main thread TensorFlow waits for the others without an end."""
    missing = []
    for number, address in enumerate(addresses):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), 5).close()
        except OSError as error:
            missing.append(f"process {number} ({address}: {error})")
    who = ", ".join(missing) or "a process that answers, but does not train"
    _end(f"waited {JOIN_SECONDS:.0f} seconds for {who}")


def _end(sentence: str) -> None:
    print(f"effnet: {sentence}", file=sys.stderr, flush=True)
    os._exit(1)
