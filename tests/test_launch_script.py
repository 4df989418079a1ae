"""`effnet launch`: a script of the user's in several processes, and the loop that lesson 09 shows."""

import ast
import os
import subprocess
import sys

from effnet_helpers.course import ROOT, launch
from effnet_helpers.course.cli import app

import pytest
from typer.testing import CliRunner

pytestmark = pytest.mark.posix
LESSON = ROOT / "notebooks" / "src" / "09_beyond_one_machine.py"


def test_the_script_gets_what_follows_its_name(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(launch, "launch", lambda *given: started.append(given) or 3)
    script = tmp_path / "loop.py"
    script.touch()
    done = CliRunner().invoke(
        app, ["launch", "--processes", "3", str(script), "textile", "--processes", "7", "-p", "a=1"]
    )
    assert done.exit_code == 3
    assert started == [([sys.executable, str(script), "textile", "--processes", "7", "-p", "a=1"], 3)]


@pytest.mark.parametrize("arguments", [["there_is_none.py"], ["--processes", "1", __file__]])
def test_a_script_that_is_not_there_and_one_process_are_refused(arguments, monkeypatch):
    monkeypatch.setattr(launch, "launch", None)  # would fail otherwise
    assert CliRunner().invoke(app, ["launch", *arguments]).exit_code == 2


def test_each_process_is_told_which_one_it_is_and_has_no_way_out(tmp_path):
    """Where this system gives them a network of their own; where it does not, a sentence says what to do."""
    script = tmp_path / "who.py"
    script.write_text(
        "import json, os, socket, sys\n"
        "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "names = [name for _, name in socket.if_nameindex()]\n"
        "open(sys.argv[1] + f'/{index}', 'w').write(' '.join(names))\n"
    )
    command = [sys.executable, "-m", "effnet_helpers", "launch", str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if done.returncode:
        assert "does not let the processes have a network of their own" in done.stderr
        pytest.skip("no network namespaces here")
    assert (tmp_path / "1").exists()
    for index in ("0", "1"):
        assert (tmp_path / index).read_text().split()[0] == "lo"
        assert "eth" not in (tmp_path / index).read_text()


def test_the_lesson_shows_what_has_to_be_right():
    """Its loop in the open: the loss over the global batch, and the optimizer called on each replica."""
    functions = {
        each.name: each for each in ast.walk(ast.parse(LESSON.read_text())) if isinstance(each, ast.FunctionDef)
    }
    shown = ast.unparse(functions["on_each"])
    assert "/ batch_size" in shown
    assert "optimizer.apply" in shown
    assert "strategy.run" in ast.unparse(functions["step_of"])
