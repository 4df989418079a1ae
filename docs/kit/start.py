"""Starts the course from this folder without a network: `python start.py`. It needs Python alone, no package.

The first start compares all files with their checksums, makes `.venv` from the folder `wheels` and opens JupyterLab.
Later ones open JupyterLab at once. No notebook of yours is replaced.
"""

from __future__ import annotations  # so that an older Python comes as far as to say that it is older

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

KIT = Path(__file__).resolve().parent
SUMS, FACTS, WANTED = "SHA256SUMS", "kit.json", "requirements.txt"
STARTED, DONE = ".venv/kit-started", ".venv/kit-done"  # whose .venv it is, and whether it is whole
# JupyterLab would ask its makers for news and for a newer version; and it begins with the lessons.
OPTIONS = ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
OPTIONS += ["--LabApp.extension_manager=readonly"]
OPTIONS.append("--LabApp.default_url=/lab/tree/notebooks")
CURE = "copy the archive again and unpack it"
LESSON, SOLUTION = "01", "01_first_predictions.ipynb"


class KitError(Exception):
    """Why this kit cannot start here, in a sentence."""


def read_facts(kit: Path) -> dict:
    """Reads what the kit was made for.

    Raises:
        KitError: If that is damaged, which is found out here, before any checksum.
    """
    try:
        return json.loads((kit / FACTS).read_text(encoding="utf-8"))
    except ValueError:
        raise KitError(f"{FACTS} is damaged; {CURE}") from None


def check_computer(facts: dict) -> None:
    """Raises a `KitError` if the kit was made for another Python or another system."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != facts["python"]:
        command = f"py -{facts['python']}" if os.name == "nt" else f"python{facts['python']}"
        raise KitError(f"this kit was made for Python {facts['python']}, and this is {here}: {command} start.py")
    machine = platform.machine().lower().replace("amd64", "x86_64").replace("aarch64", "arm64")
    if [platform.system(), machine] != [facts["system"], facts["machine"]]:
        wanted = f"{facts['system']} on {facts['machine']}"
        raise KitError(f"this kit was made for {wanted}, and this is {platform.system()} on {machine}")


def check_files(kit: Path) -> str:
    """Compares the files of a kit with their checksums.

    Returns:
        A sentence: how many there are, and what of the course is different, as after work in a notebook.

    Raises:
        KitError: If one is missing or is not what it was, or a wheel is not listed; of several, the first one is named.
    """
    lines, worked_in = (kit / SUMS).read_text(encoding="utf-8", errors="replace").splitlines(), []
    listed = {line.partition("  ")[2] for line in lines}
    for line in lines:
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise KitError(f"{SUMS} is damaged; {CURE}")
        if not (kit / name).is_file():
            if name.startswith("course/") and (kit / STARTED).exists():  # a notebook that the learner has renamed
                worked_in.append(name)
                continue
            raise KitError(f"{name} is missing; unpack the archive again, into a folder of its own")
        with (kit / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                continue
        if not name.startswith("course/"):
            raise KitError(f"{name} is damaged: its checksum is another one; {CURE}")
        worked_in.append(name)
    for wheel in sorted((kit / "wheels").glob("*.whl")):  # as when the list was cut short at the end of a line
        if f"wheels/{wheel.name}" not in listed and not wheel.name.startswith("."):  # those are of systems and sticks
            raise KitError(f"wheels/{wheel.name} is not in {SUMS}; {CURE}")
    stays = f"; not as they came, and left so: {', '.join(worked_in)}" if worked_in else ""
    return f"{len(lines)} files compared with their checksums{stays}."


def python_of(kit: Path) -> Path:
    """Returns the Python of the kit's environment."""
    return kit / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def set_up(kit: Path) -> None:
    """Makes `.venv` of the wheels, without asking any index; what an interrupted start left is made anew.

    Raises:
        KitError: If it cannot be made, or there is a `.venv` of somebody else's.
    """
    folder = kit / ".venv"
    if folder.exists() and not (kit / STARTED).exists():
        raise KitError(".venv is here already and is not of this kit; unpack the archive into a folder of its own")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)  # on Windows something may be left that is in use
    (kit / STARTED).touch()
    try:
        _run([sys.executable, "-m", "venv", str(folder)], "the environment cannot be made")
    except KitError as error:
        hint = "; on Debian and Ubuntu: sudo apt install python3-venv" if sys.platform == "linux" else ""
        raise KitError(f"{error}{hint}") from None
    # Whatever pip is told elsewhere about indexes, here it takes the wheels and nothing else.
    alone = [
        "--isolated",
        "--no-index",
        "--find-links",
        str(kit / "wheels"),
        "--no-deps",
        "--disable-pip-version-check",
    ]
    install = [str(python_of(kit)), "-I", "-m", "pip", "install", "-q", *alone, "-r", str(kit / WANTED)]
    _run(install, "the wheels cannot be installed", {"PIP_CONFIG_FILE": os.devnull})
    (kit / DONE).write_bytes(_what_is_whole(kit))


def is_set_up(kit: Path) -> bool:
    """Whether `.venv` is whole, of these files, and was made in this place: elsewhere its commands would not start."""
    return (kit / DONE).exists() and (kit / DONE).read_bytes() == _what_is_whole(kit)


def _what_is_whole(kit: Path) -> bytes:
    return os.fsencode(kit) + b"\n" + (kit / SUMS).read_bytes()


def _run(command: list, problem: str, more: dict | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env={**os.environ, **(more or {})})
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise KitError(f"{problem}: {said}")
    return done.stdout


def environment(kit: Path) -> dict:
    """Returns the variables with which the course finds what the kit brings."""
    told = {"EFFNET_CACHE": str(kit / "cache"), "JUPYTER_PREFER_ENV_PATH": "1"} | dict(os.environ)
    # So that the kernels, and commands in a terminal of JupyterLab, are those of this folder.
    for name in ("PYTHONPATH", "PYTHONHOME"):  # with which other packages would come before those of this folder
        told.pop(name, None)
    told["PATH"] = os.pathsep.join([str(python_of(kit).parent), told.get("PATH", "")])
    code = "import json; from effnet_helpers import machine; print(json.dumps(machine.kernel_environment()))"
    asked = subprocess.run([str(python_of(kit)), "-c", code], capture_output=True, text=True, env=told)
    return told | (json.loads(asked.stdout) if asked.returncode == 0 else {})


def check_course(kit: Path, told: dict) -> None:
    """Runs a lesson and checks its exercises, as solved.

    Raises:
        KitError: If a lesson does not run through, or a solution is not right.
    """
    python, course = str(python_of(kit)), kit / "course"
    print(f"Running lesson {LESSON} …", flush=True)
    if subprocess.run([python, "-m", "effnet_helpers", "run", LESSON, "--root", str(course)], env=told).returncode:
        raise KitError(f"lesson {LESSON} did not run through; its page in course/runs/latest shows how far it came")
    with tempfile.TemporaryDirectory() as folder:
        command = ["nbconvert", "--log-level=ERROR", "--to", "notebook", "--execute", "--output-dir", folder]
        solved = [python, "-m", "jupyter", *command, str(kit / "solutions" / SOLUTION)]
        _run(solved, f"the exercises of lesson {LESSON} do not run", told)
        cells = json.loads(Path(folder, SOLUTION).read_text(encoding="utf-8"))["cells"]
    verdicts = [
        "".join(output.get("text", ""))
        for cell in cells
        for output in cell.get("outputs", [])
        if "exercises.check(" in "".join(cell["source"])
    ]
    if not verdicts or not all(" right: " in verdict.partition("\n")[0] for verdict in verdicts):
        raise KitError(f"of the exercises of lesson {LESSON}, checked as solved, one is not right: {verdicts}")
    print(f"{verdicts[0].strip()}\n{len(verdicts)} exercises of lesson {LESSON} checked: all right.")


def main() -> int:
    """Does what the command line asks for; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="Other options go to JupyterLab.")
    parser.add_argument("--check", action="store_true", help="run lesson 01 and its exercises instead of opening Lab")
    parser.add_argument("--no-browser", action="store_true", help="open no browser; JupyterLab prints its address")
    options, others = parser.parse_known_args()
    try:
        facts = read_facts(KIT)
        if not facts["tried"]:
            print(f"Note: nobody has tried this kit on {facts['system']}; it was written from the list of another one.")
        check_computer(facts)
        if not is_set_up(KIT):
            print("Comparing files with their checksums …", flush=True)
            print(check_files(KIT), flush=True)
            print("Setting up .venv from the wheels: a minute or two, once …", flush=True)
            set_up(KIT)
        told = environment(KIT)
        if options.check:
            check_course(KIT, told)
            return 0
    except (KitError, OSError) as error:
        print(f"start.py: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # the next start begins the environment anew
        return 130
    lab = [str(python_of(KIT)), "-m", "jupyter", "lab", f"--notebook-dir={KIT / 'course'}", *OPTIONS]
    try:
        return subprocess.run([*lab, *["--no-browser"][: int(options.no_browser)], *others], env=told).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
