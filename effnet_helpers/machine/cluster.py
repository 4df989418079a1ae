"""Which processes train together: named on the command line, in `TF_CONFIG`, or by what SLURM and MPI set."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from effnet_helpers.records import expect

FIRST_PORT = 29700
"""Of processes that SLURM started, which names hosts and no ports."""
MPI = {"OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE", "PMI_RANK": "PMI_SIZE"}
"""Where Open MPI and MPICH say which process this is, and of how many."""
RANKS = MPI | {"SLURM_PROCID": "SLURM_STEP_NUM_TASKS"}  # a batch script of SLURM has the first alone, 0
LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Cluster:
    """Processes that train together.

    Attributes:
        addresses: `host:port` of each.
        index: Which of them this one is; None where all of them are to be started on this machine.
    """

    addresses: tuple[str, ...]
    index: int | None

    def environment(self, index: int) -> dict[str, str]:
        """Returns what tells TensorFlow in process `index` about the others."""
        task = {"type": "worker", "index": index}
        return {"TF_CONFIG": json.dumps({"cluster": {"worker": self.addresses}, "task": task})}


def find_cluster(
    addresses: str | None = None, index: int | None = None, environment: Mapping[str, str] | None = None
) -> Cluster | None:
    """Finds out which processes train together.

    Args:
        addresses: `host:port` of all processes with commas between them, the same text for each of them.
        index: Which of these this process is, from 0; by default what SLURM or MPI say. Without either, addresses of
            this machine alone mean that all of them are to be started.
        environment: By default `os.environ`. Without `addresses` there may be `TF_CONFIG`, or what `srun` sets.

    Returns:
        The cluster; None where this process is alone.

    Raises:
        ValueError: If that does not fit together, or MPI started several processes and no addresses are named: each
            would train alone, and write what the others write.

    Example:
        >>> machine.find_cluster("red:5000,blue:5000", 1, {})
        Cluster(addresses=('red:5000', 'blue:5000'), index=1)
    """
    environment = os.environ if environment is None else environment
    if addresses is None:
        expect(index is None, "--index", index, "--cluster beside it, of which it is a part")
        return _from_tf_config(environment) or _from_slurm_or_mpi(environment)
    named = tuple(each.strip() for each in addresses.split(","))
    fits = all(re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:,]+):\d{1,5}", each) for each in named) and len({*named}) > 1
    fits = fits and len({*named}) == len(named)
    expect(fits, "--cluster", addresses, "different addresses, as in red:5000,blue:5000")
    if index is None:
        told = (rank for rank, size in RANKS.items() if environment.get(size) == str(len(named)))
        index = next((int(environment[rank]) for rank in told if environment.get(rank, "").isdecimal()), None)
    is_here = all(each.rpartition(":")[0] in LOOPBACK for each in named)
    is_here = is_here and all(environment.get(size, "1") == "1" for size in RANKS.values())  # each would start them all
    expected = f"--index 0 to {len(named) - 1}, which of these addresses this process has"
    expect(is_here if index is None else 0 <= index < len(named), "--index", index, expected)
    return Cluster(named, index)


def _from_tf_config(environment: Mapping[str, str]) -> Cluster | None:
    text = environment.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        tasks = config.get("cluster", {})
        if any(not isinstance(addresses, list) for addresses in tasks.values()):
            raise TypeError("addresses are no list")
        workers = [(kind, index) for kind in ("chief", "worker") for index in range(len(tasks.get(kind, [])))]
        if len(workers) < 2:
            return None
        task = config["task"]["type"], int(config["task"]["index"])
        if task not in workers:
            raise ValueError("the task is none of the workers")
        return Cluster(tuple(tasks[kind][index] for kind, index in workers), workers.index(task))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'
        raise ValueError(f"TF_CONFIG: expected {wanted} ({error!r}). Received: {text}") from None


def _from_slurm_or_mpi(environment: Mapping[str, str]) -> Cluster | None:
    """MPI names no addresses: what it started must be the tasks that SLURM names, or one process."""
    cluster = _from_slurm(environment)
    for rank, size in MPI.items():
        count = environment.get(size, "1")
        same = cluster is not None and (environment.get(rank), count) == (
            str(cluster.index),
            str(len(cluster.addresses)),
        )
        expect(count == "1" or same, f"{size} without --cluster", count, "--cluster with an address for each process")
    return cluster


def _from_slurm(environment: Mapping[str, str]) -> Cluster | None:
    """From what `srun` sets for each of its tasks, and only `srun`: an `salloc` shell is no task."""
    names = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
    if any(name not in environment for name in names) or environment[names[0]] == "1":
        return None
    try:
        counts = []
        for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment[names[3]]):  # 2(x3),1 is 2,2,2,1
            counts += [int(count)] * int(times or 1)
        hosts = zip(hosts_of(environment[names[2]]), counts, strict=True)
        addresses = tuple(f"{host}:{FIRST_PORT + number}" for host, count in hosts for number in range(count))
        if len(addresses) != int(environment[names[0]]):
            raise ValueError(f"{len(addresses)} addresses")
        return Cluster(addresses, int(environment[names[1]]))
    except ValueError as error:
        said = ", ".join(f"{name}={environment[name]}" for name in names)
        raise ValueError(f"SLURM's variables do not fit together ({error}): give --cluster. Received: {said}") from None


def hosts_of(nodes: str) -> list[str]:
    """Spells out SLURM's short form of host names.

    Example:
        >>> machine.hosts_of("red[08-10,12],blue")
        ['red08', 'red09', 'red10', 'red12', 'blue']
    """
    hosts = []
    for name in re.findall(r"(?:\[[^\]]*\]|[^,\[\]])+", nodes):
        before, *parts = re.split(r"\[([^\]]*)\]", name)
        spelled = [before]
        for numbers, after in zip(parts[::2], parts[1::2], strict=True):
            spelled = [f"{host}{number}{after}" for host in spelled for number in _numbers(numbers)]
        hosts += spelled
    return hosts


def _numbers(listed: str) -> list[str]:
    """What `08-10,12` stands for, with as many digits."""
    numbers = []
    for part in listed.split(","):
        low, _, high = part.partition("-")
        numbers += [f"{number:0{len(low)}}" for number in range(int(low), int(high or low) + 1)]
    return numbers
