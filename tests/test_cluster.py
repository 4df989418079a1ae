"""Who trains together: read from options, TF_CONFIG, SLURM and MPI, and refused in a sentence where it does not fit."""

import json

from effnet_helpers import machine

import pytest

TWO = ("red:5000", "blue:5000")
MPI_ALONE = r"_SIZE without --cluster: expected --cluster with an address for each process\. Received: '[24]'"

OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}


def tf_config(index, workers=TWO, kind="worker", chief=None):
    cluster = {"worker": workers} | ({"chief": chief} if chief else {})
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def slurm(tasks, rank, nodes, per_node):
    names = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
    return dict(zip(names, map(str, (tasks, rank, nodes, per_node)), strict=True))


@pytest.mark.parametrize(
    ("addresses", "index", "environment", "expected", "at"),
    [
        (None, None, {}, None, None),
        (None, None, {"TF_CONFIG": "{}"}, None, None),
        (None, None, tf_config(0, ["red:5000"]), None, None),
        (None, None, tf_config(1), TWO, 1),
        (None, None, tf_config("1"), TWO, 1),
        (None, None, tf_config(0, ["blue:5000"], "chief", ["red:5000"]), TWO, 0),
        (None, None, tf_config(0, ["blue:5000"], "worker", ["red:5000"]), TWO, 1),
        ("red:5000, blue:5000", 1, tf_config(0), TWO, 1),  # what is asked for counts before what is set
        ("red:5000,blue:5000", None, OPEN_MPI, TWO, 1),
        ("red:5000,blue:5000", None, {"PMI_RANK": "0", "PMI_SIZE": "2"}, TWO, 0),
        ("red:5000,blue:5000", None, {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, TWO, 1),
        # what mpirun in a batch script of SLURM's hands on
        ("red:5000,blue:5000", None, {"SLURM_PROCID": "0", **OPEN_MPI}, TWO, 1),
        # the batch script itself, which is none of them
        ("localhost:5000,localhost:5001", None, {"SLURM_PROCID": "0"}, ("localhost:5000", "localhost:5001"), None),
        (None, None, {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, None, None),
        ("localhost:5000,127.0.0.1:5001", None, {}, ("localhost:5000", "127.0.0.1:5001"), None),
        ("[::1]:5000,[fe80::1]:5000", 0, {}, ("[::1]:5000", "[fe80::1]:5000"), 0),
        (None, None, slurm(1, 0, "red1", "1"), None, None),
        (None, None, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None, None),  # a batch script, which is no task
        (None, None, slurm(2, 1, "red[1-2]", "1(x2)"), ("red1:29700", "red2:29700"), 1),
        (None, None, slurm(3, 2, "red1,blue", "2,1"), ("red1:29700", "red1:29701", "blue:29700"), 2),
        (None, None, slurm(3, 0, "node[01-03]", "1(x3)"), ("node01:29700", "node02:29700", "node03:29700"), 0),
        # srun with its plugin for MPI
        (None, None, slurm(2, 1, "red", "2") | {"PMI_RANK": "1", "PMI_SIZE": "2"}, ("red:29700", "red:29701"), 1),
    ],
)
def test_the_cluster_is_found(addresses, index, environment, expected, at):
    found = machine.find_cluster(addresses, index, environment)
    assert found == (None if expected is None else machine.Cluster(expected, at))


@pytest.mark.parametrize(
    ("addresses", "index", "environment", "sentence"),
    [
        (None, 1, {}, r"--index: expected --cluster beside it"),
        ("red:5000", 0, {}, r"--cluster: expected different addresses"),
        ("red:5000,red:5000", 0, {}, r"--cluster: expected different addresses"),
        ("red,blue", 0, {}, r"--cluster: expected different addresses"),
        ("red:5000,blue:5000", 2, {}, r"--index: expected --index 0 to 1"),
        ("red:5000,blue:5000", None, {}, r"--index: expected --index 0 to 1"),
        ("red:5000,blue:5000", None, {"SLURM_PROCID": "0"}, r"--index: expected --index 0 to 1"),
        ("localhost:1,localhost:2", None, {"PMI_RANK": "0", "PMI_SIZE": "4"}, r"--index: expected --index 0 to 1"),
        (None, None, tf_config(2), r"TF_CONFIG: expected .*the task is none of the workers"),
        (None, None, tf_config(0, kind="ps"), r"TF_CONFIG: expected .*the task is none of the workers"),
        (None, None, {"TF_CONFIG": "red,blue"}, r"TF_CONFIG: expected .*Received: red,blue"),
        (None, None, {"TF_CONFIG": "[]"}, r"TF_CONFIG: expected"),
        (None, None, tf_config(0, "red:5000"), r"TF_CONFIG: expected .*addresses are no list"),
        (None, None, OPEN_MPI, MPI_ALONE),
        (None, None, {"PMI_SIZE": "4", "PMI_RANK": "3"}, MPI_ALONE),
        # mpirun over the nodes of a batch script: its helpers are SLURM's tasks, not what they start
        (
            None,
            None,
            slurm(2, 0, "red[1-2]", "1(x2)") | {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"},
            MPI_ALONE,
        ),
        (None, None, slurm(4, 1, "red[1-2]", "1(x2)"), r"SLURM's variables do not fit together \(2 addresses\)"),
        (None, None, slurm(2, 1, "red[1-2]", "2"), r"SLURM's variables do not fit together"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(addresses, index, environment, sentence):
    with pytest.raises(ValueError, match=sentence):
        machine.find_cluster(addresses, index, environment)


@pytest.mark.parametrize(
    ("nodes", "hosts"),
    [
        ("red", ["red"]),
        ("red[9-11],blue", ["red9", "red10", "red11", "blue"]),
        ("red[08-10,12]", ["red08", "red09", "red10", "red12"]),
        ("a[1-2]-ib,b-3", ["a1-ib", "a2-ib", "b-3"]),
        ("node[01-03]", ["node01", "node02", "node03"]),
        ("rack[1-2]node[08,11]", ["rack1node08", "rack1node11", "rack2node08", "rack2node11"]),
    ],
)
def test_host_names_are_spelled_out(nodes, hosts):
    assert machine.hosts_of(nodes) == hosts


def test_what_a_process_is_told_is_what_it_finds():
    told = machine.Cluster(TWO, None).environment(1)
    assert machine.find_cluster(environment=told) == machine.Cluster(TWO, 1)
