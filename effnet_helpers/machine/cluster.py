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
RANKS = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Where SLURM, Open MPI and MPICH say which process this is."""
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
        ValueError: If that does not fit together.

    Example:
        >>> machine.find_cluster("red:5000,blue:5000", 1, {})
        Cluster(addresses=('red:5000', 'blue:5000'), index=1)
    """
    environment = os.environ if environment is None else environment
    if addresses is None:
        expect(index is None, "--index", index, "--cluster beside it, of which it is a part")
        return _from_tf_config(environment) or _from_slurm(environment)
    named = tuple(each.strip() for each in addresses.split(","))
    fits = all(re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:,]+):\d{1,5}", each) for each in named) and len({*named}) > 1
    fits = fits and len({*named}) == len(named)
    expect(fits, "--cluster", addresses, "different addresses, as in red:5000,blue:5000")
    if index is None:
        index = next((int(environment[name]) for name in RANKS if environment.get(name, "").isdecimal()), None)
    is_here = all(each.rpartition(":")[0] in LOOPBACK for each in named)
    expected = f"--index 0 to {len(named) - 1}, which of these addresses this process has"
    expect(is_here if index is None else 0 <= index < len(named), "--index", index, expected)
    return Cluster(named, index)


def _from_tf_config(environment: Mapping[str, str]) -> Cluster | None:
    text = environment.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        workers = tuple(config.get("cluster", {}).get("worker", ()))
        if len(workers) < 2:
            return None
        task = config["task"]
        if task["type"] != "worker" or not 0 <= int(task["index"]) < len(workers):
            raise ValueError("the task is none of the workers")
        return Cluster(workers, int(task["index"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'
        raise ValueError(f"TF_CONFIG: expected {wanted} ({error!r}). Received: {text}") from None


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
    for before, numbers, after in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?([^,\[\]]*)", nodes):
        for part in numbers.split(",") if numbers else [""]:
            low, _, high = part.partition("-")
            span = range(int(low), int(high or low) + 1) if part else [""]
            hosts += [f"{before}{number:0{len(low)}}{after}" if part else before for number in span]
    return hosts
