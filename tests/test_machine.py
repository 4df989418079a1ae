"""What `effnet check` says: each check on facts that are bad on purpose, and all of them on this computer."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from effnet_helpers import machine
from effnet_helpers.course import ROOT, CourseError, profiles
from effnet_helpers.course.check import WEIGHTS, needs
from effnet_helpers.course.cli import app
from effnet_helpers.machine import NOTE, OK, PROBLEM, checks, facts
from effnet_helpers.machine.facts import TensorFlow
from effnet_helpers.models import weights
from effnet_helpers.variants import VARIANTS

import lesson_rules
import mini_course
import pytest
import tensorflow_datasets as tfds
from typer.testing import CliRunner


@pytest.fixture(autouse=True)
def of_this_test(monkeypatch, tmp_path):
    """Homes of their own for Keras and its like, and a TensorFlow that need not be asked."""
    for name in ("KERAS_HOME", "TFDS_DATA_DIR", "EFFNET_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(facts, "tensorflow", TensorFlow)
    monkeypatch.setattr(facts, "nvidia_smi", str)


def only(findings):
    (found,) = findings
    return found


@pytest.mark.parametrize(
    ("installed", "text"),
    [
        ({"papermill": None}, "papermill>=2.6 is needed, none is installed"),
        ({"keras": "3.11.1"}, "keras>=3.12 is needed, 3.11.1 is installed"),
        ({"protobuf": "8.1.0"}, "8.1.0 is installed"),
    ],
)
def test_what_is_missing_too_old_or_too_new_is_a_problem(monkeypatch, installed, text):
    known = facts.installed_version
    monkeypatch.setattr(facts, "installed_version", lambda name: installed.get(name, known(name)))
    python, found = checks._packages()
    assert (python.status, found.status) == (OK, PROBLEM)
    assert text in found.text
    assert found.remedy.startswith(f'pip install "{next(iter(installed))}')


def test_requirements_of_extras_and_other_systems_do_not_count():
    lines = ["nowhere; python_version < '3'", "nowhere; extra == 'gpu'", "numpy>=1"]
    assert facts.unmet(lines) == {}


def test_another_python_and_a_course_that_was_never_installed_are_problems(monkeypatch):
    monkeypatch.setattr(checks.platform, "python_version", lambda: "3.10.9")
    assert next(checks._packages()).status == PROBLEM
    monkeypatch.setattr(checks, "PACKAGE", "effnet-elsewhere")
    assert only(checks._packages()).remedy == "pip install -e ."


@pytest.mark.parametrize(
    ("driver", "tensorflow", "hidden", "profile", "status", "helps"),
    [
        ("", TensorFlow(), "0", "quick", OK, ""),
        ("", TensorFlow(), "0", "full", NOTE, "NVIDIA GPU"),
        ("L4", TensorFlow(gpus=("L4",)), "0", "full", OK, ""),
        ("RTX", TensorFlow(gpus=("RTX",), too_new=("RTX",)), "0", "quick", NOTE, "CUDA_VISIBLE_DEVICES=-1"),
        ("L4", TensorFlow(), "0", "quick", NOTE, "tensorflow[and-cuda]"),
        ("L4", TensorFlow(), "-1", "quick", NOTE, "unset CUDA_VISIBLE_DEVICES"),
        ("Driver/library version mismatch", TensorFlow(), "0", "quick", NOTE, "driver"),
    ],
)
def test_a_gpu_that_tensorflow_cannot_use_is_noted(monkeypatch, driver, tensorflow, hidden, profile, status, helps):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(facts, "tensorflow", lambda: tensorflow)
    monkeypatch.setattr(facts, "nvidia_smi", lambda: driver)
    _, found = checks._tensorflow(profile)
    assert found.status == status
    assert helps in found.remedy
    assert bool(helps) == bool(found.remedy)


def test_a_gpu_of_a_later_generation_than_tensorflow_was_built_for_is_found():
    details = [
        {"device_name": "H100", "compute_capability": [9, 0]},
        {"device_name": "RTX 5090", "compute_capability": [12, 0]},
        {"device_name": "METAL"},
    ]
    found = facts._seen(details, ["sm_60", "sm_89", "compute_90"])
    assert found == TensorFlow("", ("H100", "RTX 5090", "METAL"), ("RTX 5090",))
    assert facts._seen(details, []).too_new == ()


@pytest.mark.posix
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA L4'; echo 'NVIDIA L4'", "NVIDIA L4, NVIDIA L4"),
        ("echo 'Failed to initialize NVML'; exit 18", "Failed to initialize NVML"),
        ("echo 'No devices were found' >&2", "No devices were found"),
    ],
)
def test_nvidia_smi_is_read(monkeypatch, tmp_path, script, expected):
    monkeypatch.undo()
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert facts.nvidia_smi() == expected


def test_keras_settings_of_other_projects_are_found_unless_they_are_unreadable(monkeypatch, tmp_path):
    settings = tmp_path / "KERAS_HOME" / "keras.json"
    assert facts.foreign_keras_settings() == []
    settings.parent.mkdir()
    settings.write_text(json.dumps({"backend": "jax", "image_data_format": "channels_first", "floatx": "float32"}))
    expected = ["backend is jax in keras.json", "image_data_format is channels_first in keras.json"]
    assert facts.foreign_keras_settings() == expected
    assert next(checks._tensorflow("quick")).status == PROBLEM
    settings.write_text(settings.read_text().replace("channels_first", "channels_last"))
    assert next(checks._tensorflow("quick")).status == NOTE
    settings.write_text(settings.read_text().replace("channels_last", "channels_first"))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert facts.foreign_keras_settings() == expected[1:]
    settings.write_text("[1]")
    assert facts.foreign_keras_settings() == []


@pytest.mark.parametrize(
    ("cores", "memory", "status"),
    [(2, (8, 5), OK), (1, (8, 5), NOTE), (2, (8, 3.2), NOTE), (2, (3.2, 3), PROBLEM)],
)
def test_cores_and_memory_are_compared_with_what_a_lesson_takes(monkeypatch, cores, memory, status):
    monkeypatch.setattr(facts, "usable_cores", lambda: cores)
    monkeypatch.setattr(facts, "memory_gb", lambda: memory)
    assert only(checks._computer()).status == status


@pytest.mark.skipif(sys.platform != "linux", reason="containers limit by Linux' control groups")
def test_a_containers_limit_counts(monkeypatch):
    cores, (total, _) = facts.usable_cores(), facts.memory_gb()
    limits = {"cpu.max": "100000 100000", "memory.max": str(2**30)}
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: limits.get(path.name, str(2**63)))
    assert (facts.usable_cores(), facts.memory_gb()) == (1, (1, 1))
    limits.update({"cpu.max": "max 100000", "memory.max": "max"})
    assert (facts.usable_cores(), facts.memory_gb()[0]) == (cores, total)


def test_without_a_container_memory_is_what_there_is(monkeypatch):
    """Outside containers the kernel has none of the files that hold limits."""
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    assert facts.memory_gb()[0] == facts.psutil.virtual_memory().total / 2**30


def test_a_folder_that_is_not_there_yet_is_tried_where_it_will_be(tmp_path):
    assert checks._folder("cache", tmp_path / "not" / "yet", 1e-6, "X").status == OK
    full = checks._folder("cache", tmp_path / "not" / "yet", 1e9, "X")
    assert (full.status, full.remedy) == (PROBLEM, "set X to a folder with room in which you may write")
    (tmp_path / "file").touch()
    closed = checks._folder("runs", tmp_path / "file" / "runs", 1e-6)
    assert (closed.status, closed.text) == (PROBLEM, "runs cannot be written (Not a directory)")


def test_paths_are_written_without_the_users_home(monkeypatch):
    monkeypatch.setenv("HOME", str(Path("/") / "u"))
    assert machine.without_home(Path("/u/a/b")) == "~/a/b"
    assert machine.without_home(Path("/other")) == str(Path("/other"))
    assert machine.without_home(Path("/other"), "OTHER") == "OTHER"
    monkeypatch.setenv("KERAS_HOME", "~/k")
    assert machine.keras_home() == Path("/u/k")


def test_weights_that_keras_will_fetch_are_a_note_with_the_files_that_it_looks_for(monkeypatch, tmp_path):
    found, folder = checks._weights([("B0", True), ("B0", False)])
    assert (found.status, folder.status) == (NOTE, OK)
    assert found.text == "the first run needs the network: efficientnetb0.h5, efficientnetb0_notop.h5, about 42 MB"
    monkeypatch.setattr(weights.machine, "why_unreachable", lambda url: "offline")
    for top, file in ((True, "efficientnetb0.h5"), (False, "efficientnetb0_notop.h5")):
        with pytest.raises(weights.WeightsError, match=file) as refused:
            weights.build_keras_application(VARIANTS["B0"], include_top=top, image_size=64)
        assert str(tmp_path / "KERAS_HOME" / "models") in str(refused.value)
        (tmp_path / "KERAS_HOME" / "models").mkdir(parents=True, exist_ok=True)
        (tmp_path / "KERAS_HOME" / "models" / file).touch()
    assert only(checks._weights([("B0", True), ("B0", False), ("Lite0", True)])).status == OK


def test_variants_without_packaged_weights_are_a_problem():
    wanted = [(name, True) for name in VARIANTS]
    assert next(checks._weights(wanted)).text == "no package has brought those of Lite3, Lite4"


def test_a_set_that_tfds_has_prepared_is_found(tmp_path):
    found, folder, _ = checks._data(["stanford_dogs", "textile"])
    assert (found.status, folder.status) == (NOTE, OK)
    builder = tfds.builder("stanford_dogs", data_dir=tmp_path / "TFDS_DATA_DIR")
    assert facts.download_gb("stanford_dogs") * 1e9 == sum(info.size for info in builder.url_infos.values())
    builder.data_path.mkdir(parents=True)
    (builder.data_path / "dataset_info.json").touch()
    shutil.copytree(builder.data_path, tmp_path / "TFDS_DATA_DIR" / "set" / "config" / "1.0.0")
    sets = ["stanford_dogs", f"tfds:stanford_dogs:{builder.version}", "tfds:set", "tfds:set/config:1.0.0"]
    assert next(checks._data(sets)).status == OK
    assert "unknown size" in next(checks._data(["tfds:set:2.0.0"])).text


def test_data_that_nobody_can_fetch_are_a_problem():
    found = next(checks._data(["folder:photos", "csv:no_such_table.csv"]))
    assert (found.status, found.text) == (PROBLEM, "not here: folder:photos, csv:no_such_table.csv")


def test_a_kernel_of_another_python_is_told_apart(monkeypatch, tmp_path):
    assert only(checks._jupyter()).status == OK
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/opt/other/bin/python", "-m", "x"], "display_name": "x"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert only(checks._jupyter()).text == "its kernel python3 is another Python than this one, python"
    spec.write_text(json.dumps({"argv": [], "display_name": "x"}))
    assert only(checks._jupyter()).status == PROBLEM


def test_what_a_profile_needs_is_read_from_its_parameters(tmp_path):
    assert needs(ROOT, "smoke")[1] == ["textile"]
    variants, datasets = needs(ROOT, "full")
    assert "stanford_dogs" in datasets
    assert {("B0", True), ("B0", False), ("B7", True)} <= set(variants)
    with pytest.raises(CourseError, match="there is no profile 'ful'"):
        needs(ROOT, "ful")
    assert needs(tmp_path, "quick") == ([], [])  # without a checkout
    with pytest.raises(CourseError, match="No notebooks in"):
        needs(tmp_path, "full")


def test_every_parameter_that_names_variants_is_known_to_the_check():
    paths = profiles.notebooks(ROOT)
    values = profiles.in_effect(paths, profiles.resolve(ROOT, paths, "full", [])).values()
    named = [(name, value if isinstance(value, list) else [value]) for each in values for name, value in each.items()]
    assert {name for name, value in named if {*VARIANTS} & {*value}} == {*WEIGHTS, "timed"}  # with random weights


def test_this_computer_is_ready_and_its_report_is_short_and_names_no_path():
    report = machine.check_computer()
    assert report.can_run, report
    assert str(report).splitlines()[-1].startswith("This computer is ready for the quick profile (")
    assert lesson_rules.machine_paths("\n".join(map(str, report.findings))) == []


def test_a_report_shows_what_is_not_fine_and_a_sentence():
    fine, noted, bad = (checks.Finding("name", status, "text", "do x") for status in (OK, NOTE, PROBLEM))
    assert str(machine.Readiness("quick", (fine, noted))) == (
        "note: name: text. What helps: do x.\nThis computer is ready for the quick profile (2 checks, with one note)."
    )
    report = machine.Readiness("full", (bad, noted, bad))
    assert not report.can_run
    assert report.summary == "This computer is not ready for the full profile: 2 problems stand in the way."


def test_a_profile_that_cannot_run_exits_with_1(monkeypatch, tmp_path):
    mini_course.write_with_notebooks(tmp_path)
    command = ["check", "--root", str(tmp_path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert CliRunner().invoke(app, [*command, "--profile", "tinny"]).exit_code == 2
    monkeypatch.setattr(facts, "tensorflow", lambda: TensorFlow("ImportError: no engine"))
    shown = CliRunner().invoke(app, command)
    assert (shown.exit_code, "no engine" in shown.output) == (1, True)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("stand_ins", "said"),
    [
        (
            {"keras": "import os, signal; os.kill(os.getpid(), signal.SIGILL)", "nbformat": "raise ImportError"},
            "SIGILL",
        ),
        (
            {"keras": "raise ImportError('no engine')", "nbformat": "raise ImportError"},
            "does not load: ImportError: no",
        ),
        ({"psutil": "raise ModuleNotFoundError(name='psutil')"}, "pip install psutil"),
    ],
)
def test_what_is_broken_is_reported_not_raised(tmp_path, stand_ins, said):
    """A library that was not built for this processor kills Python at import."""
    for name, text in stand_ins.items():
        Path(tmp_path, f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "effnet_helpers", "check"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert said in shown.stdout


def test_nothing_that_is_checked_is_imported_by_the_check():
    code = (
        "import sys; from effnet_helpers import machine;"
        "print({'tensorflow', 'keras', 'tensorflow_datasets', 'papermill', 'jupyter_client'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
