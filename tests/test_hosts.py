"""The wheel on hosts that lack the course: an environment of its own, and Colab's packages, which stay as they are.

Both begin as a learner does: with one notebook in an empty folder, whose set-up cell installs the rest.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from effnet_helpers.course import ROOT

import pytest

pytestmark = pytest.mark.release
COLAB = {"tensorflow": "2.20.0", "keras": "3.13.2", "numpy": "2.1.3", "protobuf": "5.29.6", "ipykernel": "6.17.1"}
EXERCISES = "05_unfreezing"
SMOKE = ("01", "04", "05")
INSTALLED = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
print(*(output.text for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream"))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Builds the wheel of what git tracks, by way of the source archive, as for a release."""
    place, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheels")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, place]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out


def environment(folder, python=None, **told):
    """Makes an environment and returns a function that runs its Python somewhere, with this package out of sight."""
    if python:
        subprocess.run([python, "-m", "venv", folder], check=True)
    else:
        venv.create(folder, with_pip=True)
    scripts = Path(folder, "Scripts" if os.name == "nt" else "bin")

    def run(cwd, *arguments, **more):
        hidden = {"PYTHONPATH": "", "EFFNET_CACHE": str(Path(folder, "cache")), "VIRTUAL_ENV": str(folder)}
        path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
        variables = os.environ | hidden | {"PATH": path} | told | more
        command = [str(scripts / "python"), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def learn(run, tmp_path, wheels, lessons):
    """Opens exercises in an empty folder, solves them, and runs lessons: from nowhere, and of a course laid out."""
    here = tmp_path / "empty"
    here.mkdir()
    find = {"PIP_FIND_LINKS": f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}"}
    for form, said in (("exercises", "not attempted: "), ("solutions", "right: ")):
        shutil.copy(ROOT / "notebooks" / form / f"{EXERCISES}.ipynb", here / "mine.ipynb")
        printed = run(here, "-c", EXECUTE, "mine.ipynb", **find)
        answers = [line for line in printed.splitlines() if line.strip()[:3] == f"{EXERCISES[:2]}."]
        assert len(answers) >= 4
        assert all(said in line for line in answers), answers
    run(here, "-m", "effnet_helpers", "run", *lessons, "--profile", "smoke", "--name", "x")
    metrics = json.loads((here / "runs" / "x" / "metrics.json").read_text(encoding="utf-8"))
    assert [outcome["status"] for outcome in metrics.values()] == ["ok"] * len(lessons)
    run(here, "-m", "effnet_helpers", "notebooks", "course")
    run(here / "course", "-m", "effnet_helpers", "run", "01", "--profile", "smoke", "--name", "x")
    assert (here / "course" / "runs" / "x" / "01_first_predictions.html").exists()
    assert "site-packages" in run(here, "-c", "import effnet_helpers; print(effnet_helpers.__file__)")


def test_a_wheel_in_an_environment_of_its_own(tmp_path, wheels):
    """The packages are those of this environment, so that nothing is fetched; only the course is installed anew."""
    run = environment(tmp_path / "own", JUPYTER_PATH=str(Path(sysconfig.get_path("data"), "share", "jupyter")))
    (site,) = (tmp_path / "own").rglob("site-packages")
    (site / "those_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = wheels.glob("*.whl")
    run(tmp_path, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--ignore-installed", wheel)
    learn(run, tmp_path, wheels, ["01"])


def test_colab_s_packages_stay_and_its_learners_can_learn(tmp_path, wheels):
    """Needs a package index. Colab's Python is 3.12; another one that has these packages does as well."""
    python = shutil.which("python3.12")
    if (
        python and subprocess.run([python, "--version"], capture_output=True).returncode
    ):  # pyenv's, which has no such one
        python = None
    run = environment(tmp_path / "colab", python)
    pins = [f"{name}=={version}" for name, version in COLAB.items()]
    try:
        run(tmp_path, "-m", "pip", "install", "-q", "nbclient", *pins)
    except AssertionError as error:
        if any(name in str(error) for name in ("Failed to establish", "NewConnectionError", "Temporary failure")):
            pytest.skip("no package index")
        raise
    before = json.loads(run(tmp_path, "-c", INSTALLED))
    assert "effnet-helpers" not in before
    learn(run, tmp_path, wheels, SMOKE)
    after = json.loads(run(tmp_path, "-c", INSTALLED))
    assert {name: after[name] for name in before} == before
    assert "effnet-helpers" in after
