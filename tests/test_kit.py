"""The archive for a room without network: what is in it, what is said of a damaged one, and that it starts."""

import base64
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from effnet_helpers.course import ROOT

import pytest

HERE = ROOT / "docs" / "kit"
VERSION = ".".join(platform.python_version_tuple()[:2])
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "python_version": VERSION}


def script(name):
    spec = importlib.util.spec_from_file_location(f"kit_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def build():
    return script("build")


@pytest.fixture
def start():
    return script("start")


def wheel(folder, name, version="1.0", requires=(), code="ANSWER = 42\n", tag="py3-none-any"):
    """The smallest wheel that pip installs."""
    folder.mkdir(parents=True, exist_ok=True)
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{module}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    digests = {each: hashlib.sha256(text.encode()).digest() for each, text in files.items()}
    record = [f"{each},sha256={base64.urlsafe_b64encode(digests[each]).decode().rstrip('=')}," for each in files]
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]))
    return path


@pytest.fixture
def kit(tmp_path, build):
    """A kit of one package of two lines, for the Python that runs this."""
    kit = tmp_path / "kit"
    wheel(kit / "wheels", "effnet-helpers")
    (kit / "course").mkdir()
    (kit / "course" / "01.ipynb").write_text("{}")
    shutil.copy(HERE / "start.py", kit)
    build.describe(kit, build.markers_here(), True, {"effnet-helpers": "1.0"})
    build.write_sums(kit)
    return kit


# what is needed


def test_requirements_are_followed_through_wheels_as_they_are_on_another_system(tmp_path, build):
    wheel(tmp_path, "course", requires=["A>=1", "lab>=4; extra == 'lab'", "never; extra == 'test'"])
    wheel(tmp_path, "a", requires=["winonly; sys_platform == 'win32'", "old; python_version < '3'"])
    versions, missing = build.needed(tmp_path, "course[lab]", build.markers_of("win_amd64"))
    assert versions == {"course": "1.0", "a": "1.0"}
    assert sorted(map(str, missing)) == ['lab>=4; extra == "lab"', 'winonly; sys_platform == "win32"']
    wheel(tmp_path, "lab", "3.9")  # too old
    _, missing = build.needed(tmp_path, "course[lab]", build.markers_of("manylinux_2_28_x86_64"))
    assert [each.name for each in missing] == ["lab"]


@pytest.mark.parametrize("tag", ["solaris_sparc", "win", "amd64"])
def test_a_platform_that_is_none_is_refused(tag, build):
    with pytest.raises(build.KitError, match="expected a platform such as win_amd64"):
        build.markers_of(tag)


def test_what_can_only_be_built_there_is_said(tmp_path, build):
    wheel(tmp_path, "pure")
    build._check_pure(tmp_path, "pure", "win_amd64")
    wheel(tmp_path, "compiled", tag="cp311-cp311-linux_x86_64")
    with pytest.raises(build.KitError, match="compiled is to be had for win_amd64 as source only"):
        build._check_pure(tmp_path, "compiled", "win_amd64")
    assert [path.name for path in tmp_path.glob("*.whl")] == ["pure-1.0-py3-none-any.whl"]


# the archive


def test_an_archive_has_every_file_below_one_folder_and_replaces_an_earlier_one_when_it_is_whole(
    kit, tmp_path, build, monkeypatch
):
    archive = tmp_path / "dist" / "effnet-kit.zip"
    digest = build.pack(kit, archive)
    assert (archive.parent / "effnet-kit.zip.sha256").read_text() == f"{digest}  effnet-kit.zip\n"
    with zipfile.ZipFile(archive) as packed:
        assert {*packed.namelist()} == {f"effnet-kit/{path.as_posix()}" for path in build.files_of(kit)}
    before = archive.read_bytes()
    monkeypatch.setattr(zipfile.ZipFile, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build.pack(kit, archive)
    assert archive.read_bytes() == before
    assert sorted(path.name for path in archive.parent.iterdir()) == ["effnet-kit.zip", "effnet-kit.zip.sha256"]


def test_the_course_comes_without_solutions_and_with_them_apart(tmp_path, build, monkeypatch):
    (tmp_path / "root" / "site").mkdir(parents=True)
    for name in build._of_git("notebooks", "docs/glossary.md", "LICENSE"):
        if name.endswith((".ipynb", ".md", "LICENSE", "04_head_training.py")):
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_text("x")
    names = [path.relative_to(tmp_path / "root").as_posix() for path in (tmp_path / "root").rglob("*.*")]
    monkeypatch.setattr(build, "_of_git", lambda *_: [name for name in names if not name.startswith("site")])
    monkeypatch.setattr(build, "ROOT", tmp_path / "root")
    with pytest.raises(build.KitError, match="make site"):
        build.lay_out(tmp_path / "without")
    (tmp_path / "root" / "site" / "index.html").touch()
    build.lay_out(tmp_path / "kit")
    there = {path.relative_to(tmp_path / "kit").as_posix() for path in (tmp_path / "kit").rglob("*") if path.is_file()}
    assert {"solutions/01_first_predictions.ipynb", "course/notebooks/exercises/01_first_predictions.ipynb"} <= there
    assert {"start.py", "LICENSE", "site/index.html", "course/docs/glossary.md"} <= there
    assert not [name for name in there if name.startswith("course") and ("solutions" in name or "/src/" in name)]


def test_the_readme_says_what_was_not_tried_and_how_to_start(kit, build):
    build.describe(kit, build.markers_of("win_amd64"), False, {})
    text = (kit / "README.txt").read_text(encoding="utf-8")
    assert "NOT TRIED" in text and f"py -{VERSION} start.py" in text and "{" not in text
    facts = json.loads((kit / "kit.json").read_text())
    assert (facts["system"], facts["machine"], facts["tried"]) == ("Windows", "x86_64", False)


# the start


def test_checksums_tell_what_is_damaged_missing_or_worked_in(kit, start):
    count = len((kit / "SHA256SUMS").read_text().splitlines())
    assert start.check_files(kit) == f"{count} files compared with their checksums."
    (kit / "course" / "01.ipynb").write_text("mine")
    assert start.check_files(kit).endswith("not as they came, and left so: course/01.ipynb.")
    (path,) = (kit / "wheels").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(start.KitError, match=r"^wheels/effnet_helpers-1.0-py3-none-any.whl is damaged"):
        start.check_files(kit)
    path.unlink()
    with pytest.raises(start.KitError, match="is missing; unpack the archive again"):
        start.check_files(kit)


def test_a_wheel_that_has_no_checksum_is_refused(kit, start):
    """As when the list was cut short at the end of a line."""
    sums = kit / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines(keepends=True) if "wheels/effnet_helpers-" not in line]
    for name in (".DS_Store", "._a.whl"):
        (kit / "wheels" / name).touch()
    assert start.check_files(kit)
    sums.write_text("".join(lines))
    with pytest.raises(start.KitError, match=r"^wheels/effnet_helpers-1.0-py3-none-any.whl is not in SHA256SUMS; copy"):
        start.check_files(kit)


@pytest.mark.parametrize(
    ("name", "content"), [("kit.json", b'{"python"'), ("SHA256SUMS", b"0a1b"), ("SHA256SUMS", b"\xff" * 70 + b"  x\n")]
)
def test_damage_of_what_is_read_before_any_checksum_is_said(kit, name, content):
    (kit / name).write_bytes(content)
    done = subprocess.run([sys.executable, "start.py"], cwd=kit, capture_output=True, text=True, encoding="utf-8")
    assert (
        done.returncode == 1 and done.stderr == f"start.py: {name} is damaged; copy the archive again and unpack it.\n"
    )


def test_a_damaged_wheel_ends_the_start_in_a_sentence(kit):
    (path,) = (kit / "wheels").iterdir()
    path.write_bytes(b"half")
    done = subprocess.run([sys.executable, "start.py"], cwd=kit, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "is damaged" in done.stderr
    assert not (kit / ".venv").exists()


@pytest.mark.parametrize(
    ("fact", "value", "said"), [("python", "3.99", "made for Python 3.99"), ("system", "Plan 9", "made for Plan 9 on")]
)
def test_another_python_or_system_is_said(kit, start, fact, value, said):
    facts = json.loads((kit / "kit.json").read_text())
    start.check_computer(facts)
    with pytest.raises(start.KitError, match=said):
        start.check_computer(facts | {fact: value})


def test_it_sets_up_from_its_wheels_alone_and_once(kit, start):
    start.set_up(kit)
    asked = [
        start.python_of(kit),
        "-I",
        "-c",
        "import effnet_helpers; print(effnet_helpers.ANSWER, effnet_helpers.__file__)",
    ]
    told = subprocess.run(asked, capture_output=True, text=True, cwd=kit, check=True).stdout
    assert told.startswith("42 ") and Path(told[3:].strip()).is_relative_to(kit.resolve())
    assert start.is_set_up(kit)
    moved = kit.rename(kit.with_name("moved"))
    assert not start.is_set_up(moved), "its commands name the place where it was made"
    (moved / "course" / "01.ipynb").unlink()
    assert start.check_files(moved).endswith("left so: course/01.ipynb."), "the learner's own doing, since it started"


def test_an_environment_of_somebody_else_stays(kit, start):
    (kit / ".venv").mkdir()
    (kit / ".venv" / "mine").touch()
    with pytest.raises(start.KitError, match="is not of this kit"):
        start.set_up(kit)
    assert (kit / ".venv" / "mine").exists()


def test_a_package_without_a_wheel_ends_in_a_sentence(kit, start, monkeypatch):
    run = start._run
    monkeypatch.setattr(start, "_run", lambda command, *rest: None if "venv" in command else run(command, *rest))
    monkeypatch.setattr(start, "python_of", lambda kit: sys.executable)
    (kit / "requirements.txt").write_text("not-there==1.0\n")
    with pytest.raises(start.KitError, match=r"the wheels cannot be installed: .*not-there") as caught:
        start.set_up(kit)
    assert "\n" not in str(caught.value) and not (kit / start.DONE).exists()


def test_what_the_user_set_stays_set(kit, start, monkeypatch):
    monkeypatch.setattr(start, "python_of", lambda kit: Path(sys.executable))
    monkeypatch.setenv("EFFNET_CACHE", "mine")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    told = start.environment(kit)
    assert "PYTHONPATH" not in told
    assert told["EFFNET_CACHE"] == "mine" and told["PATH"].startswith(os.path.dirname(sys.executable))
    monkeypatch.delenv("EFFNET_CACHE")
    assert start.environment(kit)["EFFNET_CACHE"] == str(kit / "cache")


# the real one


@pytest.mark.release
@pytest.mark.posix
def test_the_real_kit_runs_a_lesson_and_an_exercise_without_any_network(tmp_path):
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("needs Linux, and leave to make a network namespace")
    if not (ROOT / "site" / "index.html").exists():
        pytest.skip("needs the site: make site")
    made = subprocess.run([sys.executable, HERE / "build.py", "--out", tmp_path], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (archive,) = tmp_path.glob("*.zip")
    shutil.unpack_archive(archive, tmp_path / "room")
    archive.unlink()  # a gigabyte
    (kit,) = (tmp_path / "room").iterdir()
    (tmp_path / "home").mkdir()
    alone = {"HOME": str(tmp_path / "home"), "PATH": f"{os.defpath}:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
    python = Path(sys.base_prefix, "bin", f"python{VERSION}")
    command = f"ip link set lo up && exec {python} start.py --check"
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", command], cwd=kit, env=alone, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "exercises of lesson 01 checked: all right." in done.stdout
