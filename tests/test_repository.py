"""What the repository promises beside its code: documentation that is real, imports that go down, honest metadata."""

import ast
import csv
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from effnet_helpers.course import ROOT
from effnet_helpers.course.cli import app

import lesson_rules as rules
import nbformat
import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PACKAGE = ROOT / "effnet_helpers"
# Lowest first; a room imports from lower floors, and from itself.
FLOORS = (
    {"records", "outputs"},
    {"variants", "imagenet", "specs"},
    {"machine"},
    {"runtime"},
    {"preprocessing"},
    {"models", "data"},
    {"evaluation"},
    {"training", "export"},
    {"plotting", "exercises", "serving"},
    {"course"},
)
# Exercises hand datasets of tf.data to functions of the learner.
MAY_IMPORT_TENSORFLOW = {"preprocessing", "data", "runtime", "export", "exercises"}
SO_MAY = {Path("training", name) for name in ("distributed.py", "processes.py")}  # the loop over several devices
# The brackets keep this file from breaking its own rule.
REGISTRY = re.compile(
    "|".join((r"pypi\.(org|io)", "python" + "hosted", r"(conda\.)?anaconda\.(org|com)", "index" + "-url"))
)


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def commands_in(text, name):
    """Finds commands in code blocks and code spans: the rest of the line behind `name`, without a comment."""
    code = re.findall(r"```.*?\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    found = re.findall(rf"(?:^|[\n;&] *){name} ([^\n#;&]*)", "\n".join(block or span for block, span in code))
    return [command.split() for command in found]


# documentation


def make_targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def unknown_make_targets(text):
    words = [word for command in commands_in(text, "make") for word in command]
    return [word for word in words if re.fullmatch(r"[a-z-]+", word) and word not in make_targets()]


def unknown_effnet_commands(text):
    commands = typer.main.get_command(app).commands
    problems = []
    for name, *arguments in commands_in(text, "effnet") + commands_in(text, "python -m effnet_helpers"):
        if name in ("--help", "…", "..."):
            continue
        options = [option for known in [commands.get(name)] if known for each in known.params for option in each.opts]
        if name not in commands:
            problems.append(name)
        problems += [word for word in arguments if re.match(r"--?[a-z]", word) and word not in [*options, "--help"]]
    return problems


def broken_links(text, folder):
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"", text)
    paths = [(link or attribute).partition("#")[0] for link, attribute in targets]
    return [path for path in paths if path and not re.match(r"[a-z]+:", path) and not (folder / path).exists()]


def test_readme_commands_and_links_are_real():
    assert commands_in(readme(), "make"), "the README shows no make command"
    assert unknown_make_targets(readme()) == []
    assert unknown_effnet_commands(readme()) == []
    assert broken_links(readme(), ROOT) == []


def test_the_picture_in_the_readme_is_one_of_lesson_05():
    figure, _ = re.findall(r"!\[.+\]\((.+\.png)\)", readme())  # the other one is drawn by `make bench`
    notebook = nbformat.read(ROOT / "notebooks" / "05_unfreezing.ipynb", as_version=4)
    assert (ROOT / figure).read_bytes() in rules.pictures(notebook), "copy it again from the rebuilt notebook"


@pytest.mark.parametrize(
    ("notebook", "figure"), [("04_head_training", "val_accuracy"), ("05_unfreezing", "test_accuracy")]
)
def test_the_readme_quotes_the_table_over_seeds(notebook, figure):
    with (ROOT / "notebooks" / "results" / "seeds.csv").open(encoding="utf-8") as file:
        rows = {(row["notebook"], row["figure"]): row for row in csv.DictReader(file)}
    mean, deviation, low, high = (
        float(rows[notebook, figure][key]) for key in ("mean", "standard_deviation", "minimum", "maximum")
    )
    assert f"| {mean:.3f} ± {deviation:.3f} | {low:.3f} to {high:.3f} |" in readme()


def test_a_wrong_command_or_link_in_a_readme_is_noticed():
    text = "```\nmake run\nmake rnu X=y\n```\n`effnet go` `effnet run 4 --profil x -p a=1` [a](no.md) [b](LICENSE)"
    assert unknown_make_targets(text) == ["rnu"]
    assert unknown_effnet_commands(text) == ["go", "--profil"]
    assert broken_links(text, ROOT) == ["no.md"]


@pytest.mark.posix
def test_make_help_lists_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+)", shown, re.MULTILINE)) == make_targets()


def test_links_in_notebook_sources_are_real():
    notebooks = ROOT / "notebooks"
    for source in (notebooks / "src").rglob("*.py"):
        folder = notebooks / ("exercises" if source.parent.name == "exercises" else "")
        broken = broken_links(source.read_text(encoding="utf-8"), folder)
        # Exercises are built from sources, which may come first; tests/test_exercises.py insists on either.
        to_build = [link for link in broken if (folder / link).resolve().parent == notebooks / "exercises"]
        lessons = {f"{path.stem}.ipynb" for path in (notebooks / "src").glob("*.py")}
        assert [link for link in broken if link not in to_build or Path(link).name not in lessons] == [], source.name


# contents of the repository


@pytest.mark.parametrize("path", tracked_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_names_a_registry_or_a_machine(path):
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # a picture
        return
    assert not REGISTRY.search(text)
    assert rules.machine_paths(text) == []


def test_a_registry_or_a_machine_would_be_noticed():
    assert REGISTRY.search("https://" + "py" + "pi.org/simple")
    assert REGISTRY.search("pip install --index-" + "url x")
    assert rules.machine_paths("see " + str(Path("/") / "tmp" / "x"))


def test_the_license_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert pyproject()["license"] == "Apache-2.0"


def test_git_ignores_what_runs_and_environments_leave():
    left = [".venv/x", "runs/a/x", "notebooks/.ipynb_checkpoints/x", "effnet_helpers/__pycache__/x"]
    ignored = subprocess.run(["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert ignored == left


# imports


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source):
    """Returns the rooms of the package and the other packages that a module imports, wherever in it, but for types."""
    rooms, others = set(), set()
    tree = ast.parse(source)
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            (rooms if top == "effnet_helpers" and rest else others).add(rest[0] if top == "effnet_helpers" else top)
    return rooms, others


def floor(room):
    (number,) = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    return number


PYTHON_FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__")
)


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = room_of(path)
    rooms, others = imported_rooms(path.read_text(encoding="utf-8"))
    assert [other for other in rooms if other != room and floor(other) >= floor(room)] == []
    may = room in MAY_IMPORT_TENSORFLOW or path.relative_to(PACKAGE) in SO_MAY
    assert "tensorflow" not in others or may


def offered(room):
    """Returns the names that a room's door offers: those that it imports."""
    door = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    return [alias.name for node in door.body if isinstance(node, ast.ImportFrom) for alias in node.names]


ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "course")


def past_the_door(source, own_room=None):
    """Returns what a module takes from inside another room, or by a name that its door does not offer."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("effnet_helpers."):
            room, _, file = node.module.removeprefix("effnet_helpers.").partition(".")
            if room in ROOMS and room != own_room:
                found += [f"{room}.{file}"] if file else []
                found += [
                    f"{room}.{alias.name}" for alias in node.names if not file and alias.name not in offered(room)
                ]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.count(".") > 1]
    return found


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_are_entered_by_their_door(path):
    assert past_the_door(path.read_text(encoding="utf-8"), room_of(path)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks" / "src").rglob("*.py")), ids=lambda path: path.stem)
def test_lessons_import_rooms_never_files_inside_them(path):
    assert past_the_door(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_what_is_its_own_and_nothing_else(room):
    door = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in door.body if isinstance(node, ast.ImportFrom)]
    assert {node.module.rpartition(".")[0] for node in imports} == {f"effnet_helpers.{room}"}
    assert all(isinstance(node, ast.ImportFrom | ast.Expr) for node in door.body), "a door, no code"


def test_a_way_past_a_door_is_noticed():
    source = "from effnet_helpers.data.scan import scan\nfrom effnet_helpers.data import load, scan"
    assert past_the_door(source) == ["data.scan", "data.scan"]
    assert past_the_door(source, "data") == []
    assert past_the_door("import effnet_helpers.data.scan") == ["effnet_helpers.data.scan"]


def test_few_files_are_loose():
    assert len([path for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]) <= 8


def test_imports_are_found_in_every_form():
    source = (
        "import effnet_helpers.data\nfrom effnet_helpers import models\ndef f():\n    from effnet_helpers.lite import x"
    )
    assert imported_rooms(source) == ({"data", "models", "lite"}, set())
    assert imported_rooms("import tensorflow.data as d")[1] == {"tensorflow"}


def test_the_package_itself_imports_neither_tensorflow_nor_keras():
    code = "import sys, effnet_helpers; print({'tensorflow', 'keras', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# packaging


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements():
    project = pyproject()
    return [Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["test"]]]


def test_every_requirement_is_pinned_to_a_version_it_admits():
    for requirement in requirements():
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_everything_the_package_imports_is_required():
    required = {canonicalize_name(requirement.name) for requirement in requirements()}
    names = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    # Come with a requirement by its own documented interface.
    with_another = {"IPython": "ipykernel", "jupyter_client": "ipykernel", "jinja2": "nbconvert", "starlette": "gradio"}
    imported = set().union(*(imported_rooms(path.read_text(encoding="utf-8"))[1] for path in PYTHON_FILES))
    third_party = imported - sys.stdlib_module_names - {"effnet_helpers"}
    needed = {canonicalize_name(names.get(name, with_another.get(name, name))) for name in third_party}
    assert needed <= required


def test_every_requirement_says_what_it_is_for():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = re.findall(
        r"^ +\"[\w.-]+[^\"]*\",.*$", text[text.index("dependencies") : text.index("[project.scripts]")], re.M
    )
    assert len(lines) >= len(pyproject()["dependencies"])
    assert [line for line in lines if not re.search(r", +# \w{2}", line)] == []


def test_conda_gets_the_same_set_through_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"] == [
        f"python{pyproject()['requires-python'].replace(' ', '')}",
        "pip",
        {"pip": ["-c constraints.txt", "-e .[test]"]},
    ]


@pytest.mark.posix
def test_ci_runs_the_same_on_every_supported_python():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))["jobs"]
    supported = [
        f"3.{minor}"
        for minor in range(20)
        if f"3.{minor}" in Requirement("x" + pyproject()["requires-python"]).specifier
    ]
    assert jobs["test"]["strategy"]["matrix"]["python"] == supported
    assert all({"run": ".ci/run"} in job["steps"] for job in jobs.values())
    assert "vars.GPU_RUNNER" in jobs["gpu"]["if"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_root_is_this_checkout():
    assert Path(__file__).resolve().parents[1] == ROOT
