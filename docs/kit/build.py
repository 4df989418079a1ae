"""Writes the course into one archive for a room without network: wheels, lessons, site, warm cache, `start.py`.

    python docs/kit/build.py                          for this system and this Python
    python docs/kit/build.py --platform win_amd64     for another one, of the same Python; it says that nobody tried it

The archive is written beside its place and moved there when it is whole, so that one which is there stays until then.
"""

from __future__ import annotations

import argparse
import contextlib
import email.parser
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from effnet_helpers.course import ROOT, catch_up
from effnet_helpers.machine import cache

import packaging.markers
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
NOT_FOR_LEARNERS = {"gpu", "hub", "site", "test"}  # these extras need other hardware, a network, or a checkout
STORED = {".whl", ".zip", ".png", ".npy", ".gz"}  # not made smaller by another compression
SYSTEMS = {  # by the beginning of a platform's tag: what environment markers, and start.py, call it
    "manylinux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macosx": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "win": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}
ABANDONED = 24 * 3600  # seconds after which a folder belongs to nobody who is still making an archive
# What pip says of a package without a wheel for a platform: the second where its version is given.
NO_WHEEL = re.compile(r"(?:No matching distribution found for|Cannot install) ([\w.-]+)")


class KitError(Exception):
    """Why there is no archive, in a sentence."""


def markers_of(tag: str) -> dict[str, str]:
    """Returns what the markers of requirements say on a platform, such as `win_amd64`, with the Python that runs this.

    Raises:
        KitError: If it is no tag of a platform known here.
    """
    name = next((name for name in SYSTEMS if tag.startswith(f"{name}_")), None)
    processor = re.search(r"(x86_64|amd64|aarch64|arm64)$", tag)
    if name is None or processor is None:
        raise KitError(f"expected a platform such as win_amd64 or macosx_14_0_arm64. Received: {tag!r}")
    exact = processor[0].upper() if name == "win" else processor[0]
    version = platform.python_version()
    return SYSTEMS[name] | {
        "platform_machine": exact,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "implementation_version": version,
        "platform_release": "",
        "platform_version": "",
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": version,
    }


def markers_here() -> dict[str, str]:
    """Returns the same for this system."""
    return packaging.markers.default_environment()


def extras_for_learners() -> list[str]:
    """Returns the extras whose packages go in: what some lesson or command uses, and works without a network."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted({*project["optional-dependencies"]} - NOT_FOR_LEARNERS)


def metadata(wheel: Path) -> email.message.Message:
    """Reads what a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", each)]
        return email.parser.BytesParser().parsebytes(archive.read(name), headersonly=True)


def needed(wheels: Path, asked: str, markers: dict[str, str]) -> tuple[dict[str, str], list[Requirement]]:
    """Follows requirements through a folder of wheels.

    Args:
        wheels: The folder.
        asked: What to begin with, such as `effnet-helpers[lab]`.
        markers: Of the platform they are for.

    Returns:
        The versions of all that is needed and there, by name, and the requirements that no wheel here meets.
    """
    there = {canonicalize_name(each["Name"]): each for each in map(metadata, sorted(wheels.glob("*.whl")))}
    versions, missing, seen, todo = {}, {}, set(), [Requirement(asked)]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        new = {(name, extra) for extra in ("", *wanted.extras)} - seen
        seen |= new
        if name not in there or not wanted.specifier.contains(there[name]["Version"], prereleases=True):
            missing.setdefault(str(wanted.specifier) + name, wanted)
            continue
        versions[name] = there[name]["Version"]
        for text in there[name].get_all("Requires-Dist") or []:
            requirement = Requirement(text)
            if any(_applies(requirement, extra, markers) for _, extra in new):
                todo.append(requirement)
    return versions, list(missing.values())


def _applies(requirement: Requirement, extra: str, markers: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(markers | {"extra": extra})


def pip(*arguments: str | Path, problem: str) -> None:
    """Runs pip; a `KitError` has its last line."""
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        reasons = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise KitError(f"{problem}: {'; '.join(reasons) or 'pip gave no reason'}")


def course_wheel(wheels: Path) -> Path:
    """Builds the wheel of the course from a copy of what git knows, since building leaves folders."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _of_git("effnet_helpers", "notebooks", "docs", *(each.name for each in ROOT.iterdir())):
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        options = ["-q", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels]
        pip("wheel", *options, folder, problem="the wheel of the course cannot be built")
    (wheel,) = wheels.glob("effnet_helpers-*.whl")
    return wheel


def _of_git(*names: str) -> list[str]:
    command = ["git", "-c", "core.quotePath=off", "ls-files", "-co", "--exclude-standard", "--", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise KitError(f"the kit is made of a checkout with git: {done.stderr.strip()}")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def collect(wheels: Path, tag: str | None) -> dict[str, str]:
    """Puts the wheels of everything that the course needs into a folder, in the versions that were tested.

    Args:
        wheels: The folder; it has the wheel of the course.
        tag: Of another platform; None for this one, for which what comes as source only is built.

    Returns:
        The versions, by name.

    Raises:
        KitError: If something is not to be had for that platform.
    """
    extras = ",".join(extras_for_learners())
    asked, tested = f"effnet-helpers[{extras}]", ["-c", ROOT / "constraints.txt"]
    find = ["-q", "--find-links", wheels]
    if tag is None:
        (wheel,) = wheels.glob("effnet_helpers-*.whl")
        options = [*find, *tested, "--wheel-dir", wheels, f"{wheel}[{extras}]"]
        pip("wheel", *options, problem="not every package can be had as a wheel")
        markers = markers_here()
    else:
        markers = markers_of(tag)
        only = ["--no-deps", "--only-binary=:all:", "--platform", tag, "--implementation", "cp"]
        while missing := needed(wheels, asked, markers)[1]:
            names = [f"{each.name}{each.specifier}" for each in missing]
            try:
                pip("download", *find, *tested, *only, "--dest", wheels, *names, problem=f"for {tag}")
            except KitError as error:
                source_only, before = NO_WHEEL.search(str(error)), sorted(wheels.iterdir())
                if source_only is None:
                    raise
                built = ["--no-deps", "--wheel-dir", wheels, source_only[1]]
                pip("wheel", *find, *tested, *built, problem=f"{source_only[1]} comes as source only")
                _check_pure(wheels, source_only[1], tag)
                if sorted(wheels.iterdir()) == before:  # so that was not what is wrong
                    raise
    versions, missing = needed(wheels, asked, markers)
    if missing:
        raise KitError(f"no wheels of {', '.join(map(str, missing))}")
    return versions


def _check_pure(wheels: Path, name: str, tag: str) -> None:
    for path in wheels.glob("*.whl"):
        if canonicalize_name(path.name.partition("-")[0]) == canonicalize_name(name) and "-none-any" not in path.name:
            path.unlink()
            raise KitError(f"{name} is to be had for {tag} as source only, and has to be built there")


def lay_out(kit: Path) -> None:
    """Puts lessons, exercises and solutions, the site and what starts it all into a folder."""
    notebooks = kit / "course" / "notebooks"
    for name in _of_git("notebooks", "docs/glossary.md"):
        part = Path(name).parts
        if part[:2] == ("notebooks", "solutions"):
            target = kit / "solutions" / part[-1]
        elif part[1] in ("src", "figures", "results"):  # solved exercises, which the wheel has; what README alone shows
            continue
        else:
            target = kit / "course" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    if not list(notebooks.glob("*.ipynb")):
        raise KitError("no lesson has been built: effnet build")
    if not (ROOT / "site" / "index.html").exists():
        raise KitError("there is no site to put in: make site")
    shutil.copytree(ROOT / "site", kit / "site", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(HERE / "start.py", kit)
    shutil.copy(ROOT / "LICENSE", kit)


def warm(target: Path, root: Path) -> None:
    """Fills a cache with what the lessons look for at their start; what is in the user's cache is taken from there."""
    started, features = time.time(), target / "features"
    features.mkdir(parents=True)
    (target / cache.TAG_FILE).write_text(cache.TAG_TEXT, encoding="utf-8")
    for path in (cache.cache_dir() / "features").glob("*.npy"):
        with contextlib.suppress(OSError):  # Windows may not allow links; then all is computed
            (features / path.name).symlink_to(path)
    for lesson in catch_up.STARTS:
        command = [sys.executable, "-m", "effnet_helpers", "catch-up", lesson, "--root", str(root)]
        told = os.environ | {"EFFNET_CACHE": str(target), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=told, capture_output=True, text=True)
        if done.returncode:
            raise KitError(f"the cache cannot be filled: {done.stderr.strip().splitlines()[-1]}")
    for path in [each for each in features.iterdir() if each.is_symlink()]:
        original = path.resolve()
        path.unlink()
        if original.stat().st_mtime >= started:  # a lesson has looked for it
            shutil.copy(original, path)
    shutil.rmtree(target / "scans", ignore_errors=True)  # of files by their place, which is another one there
    shutil.rmtree(target / "written", ignore_errors=True)


def files_of(kit: Path) -> Iterator[Path]:
    """Yields the files of a kit, as paths within it, in an order that is the same everywhere."""
    yield from sorted(path.relative_to(kit) for path in kit.rglob("*") if path.is_file())


def write_sums(kit: Path) -> None:
    """Writes the checksums of all files, in the form that `sha256sum -c` reads."""
    lines = []
    for name in files_of(kit):
        with (kit / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name.as_posix()}\n")
    (kit / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def pack(kit: Path, archive: Path) -> str:
    """Packs a folder and moves the archive to its place when it is whole, its checksum beside it.

    Returns:
        The checksum.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(f".{archive.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
            for name in files_of(kit):
                how = zipfile.ZIP_STORED if name.suffix in STORED else zipfile.ZIP_DEFLATED
                out.write(kit / name, f"{archive.stem}/{name.as_posix()}", how)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(part, archive)
    finally:
        part.unlink(missing_ok=True)
    archive.with_name(f"{archive.name}.sha256").write_text(f"{digest}  {archive.name}\n", encoding="utf-8")
    return digest


def describe(kit: Path, markers: dict[str, str], tried: bool, versions: dict[str, str]) -> None:
    """Writes the README, and what `start.py` has to know."""
    python = ".".join(platform.python_version_tuple()[:2])
    machine = markers["platform_machine"].lower().replace("amd64", "x86_64").replace("aarch64", "arm64")
    facts = {"python": python, "system": markers["platform_system"], "machine": machine, "tried": tried}
    (kit / "kit.json").write_text(json.dumps(facts | {"versions": versions}, indent=1), encoding="utf-8")
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
    (kit / "requirements.txt").write_text(lines, encoding="utf-8")
    size = sum((kit / name).stat().st_size for name in files_of(kit)) / 1e9
    inside = 0
    for wheel in (kit / "wheels").iterdir():
        with zipfile.ZipFile(wheel) as archive:
            inside += sum(each.file_size for each in archive.infolist()) / 1e9
    told = facts | {
        "tried": ""
        if tried
        else "NOT TRIED: nobody has started it on such a computer; it was written from the same list.",
        "size": f"{size:.1f} GB",
        "unpacked": f"{inside:.1f}",
        "command": f"py -{python}" if markers["os_name"] == "nt" else f"python{python}",
        "package": next((kit / "wheels").glob("effnet_helpers-*.whl")).name,
    }
    text = (HERE / "README.txt").read_text(encoding="utf-8").format(**told).replace("\n\n\n", "\n\n")
    (kit / "README.txt").write_text(text, encoding="utf-8")


def main() -> int:
    """Does what the command line asks for; returns an exit code."""
    parser = argparse.ArgumentParser(description="Writes the course into one archive for a room without network.")
    parser.add_argument("--platform", help="of another system: win_amd64, macosx_14_0_arm64, manylinux_2_28_x86_64")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder for it")
    options = parser.parse_args()
    try:
        markers = markers_of(options.platform) if options.platform else markers_here()
        options.out.mkdir(parents=True, exist_ok=True)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that nothing stays half-made
        for left in options.out.glob(".kit-*"):  # of one that was killed
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=options.out, prefix=".kit-") as folder:
            archive = make(Path(folder), options.platform, markers, options.out)
    except (KitError, OSError) as error:
        print(f"make kit: {error}.", file=sys.stderr)
        return 1
    print(f"{archive}: {archive.stat().st_size / 1e9:.2f} GB (10**9 bytes); its checksum lies beside it.")
    return 0


def make(kit: Path, tag: str | None, markers: dict[str, str], out: Path) -> Path:
    """Makes the archive, by way of an empty folder."""
    lay_out(kit)
    print("Wheels …", flush=True)
    (kit / "wheels").mkdir()
    version = metadata(course_wheel(kit / "wheels"))["Version"]
    versions = collect(kit / "wheels", tag)
    print(f"{len(versions)} packages. Cache …", flush=True)
    with tempfile.TemporaryDirectory() as nowhere:
        warm(kit / "cache", Path(nowhere))
    tried = tag is None and markers["sys_platform"] == "linux"  # by the tests before a release
    describe(kit, markers, tried, versions)
    write_sums(kit)
    print("Archive …", flush=True)
    python = "".join(platform.python_version_tuple()[:2])
    name = tag or f"{markers['platform_system'].lower()}_{markers['platform_machine'].lower()}"
    archive = out / f"effnet-kit-{version}-{name}-cp{python}.zip"
    pack(kit, archive)
    return archive


if __name__ == "__main__":
    sys.exit(main())
