"""Fetches and prepares a set of `tensorflow_datasets` (tfds), or says within seconds why not and what to do instead."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from effnet_helpers import machine, runtime


class NotPreparedError(RuntimeError):
    """A set of tensorflow_datasets is not on this computer and cannot be fetched now, or what is there is damaged."""


def import_tfds() -> ModuleType:
    """Imports tensorflow_datasets, without its chatter and progress bars."""
    with runtime.filtered_stderr():
        import tensorflow_datasets as tfds
    tfds.disable_progress_bar()
    return tfds


def prepare(builder: Any) -> None:
    """Lets tfds download and prepare a set that was never prepared here.

    Without a network tfds would try for minutes, so it is not asked to unless archives of the set are there already,
    and each server is asked before anything is fetched from it.

    Args:
        builder: A builder of tfds.

    Raises:
        NotPreparedError: If that is not possible, or what was prepared is not complete.
    """
    if builder.data_path.exists():  # tfds moves a set to this path when it is complete, never before
        if not (builder.data_path / "dataset_info.json").exists():
            raise damaged(builder, "there is no dataset_info.json in it")
        return
    infos = builder.url_infos or {}
    by_hand = [_manual_dir(builder) / info.filename for info in infos.values() if info.filename]
    is_there = _has_archives(_downloads(builder)) or any(map(Path.exists, by_hand)) or _instructions(builder)
    problem = machine.why_unreachable(next(iter(infos))) if infos and not is_there else ""
    refused: list[str] = []
    if not problem:
        print(f"{builder.name}: preparing it in {_shown(builder.data_path)}, once", flush=True)
        try:
            # tfds says the same at greater length
            with contextlib.redirect_stdout(io.StringIO()), _asking_for_servers(refused):
                builder.download_and_prepare()
        except Exception as error:  # it can fail in more ways than tfds has names for
            problem = _shown(f"{type(error).__name__}: {first_line(error)}")
    if problem:
        raise NotPreparedError(_explanation(builder, problem, refused))


def damaged(builder: Any, reason: str) -> NotPreparedError:
    """Returns the error for a prepared set that is not whole, such as one that was copied in part."""
    return NotPreparedError(
        f"{builder.name!r} was prepared, but is damaged or incomplete: {reason}.\n"
        f"Delete this folder and run again, and it is prepared anew: {_shown(builder.data_path)}"
    )


def first_line(error: Exception) -> str:
    """Returns the first line of an error's text that says anything."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no details")


@contextlib.contextmanager
def _asking_for_servers(refused: list[str]) -> Iterator[None]:
    """Lets a download of tfds fail at once where its server cannot be reached, and adds its address to a list."""
    from tensorflow_datasets.core import utils
    from tensorflow_datasets.core.download.downloader import _Downloader

    download = _Downloader._sync_download

    def ask_and_download(self: Any, url: str, *arguments: Any, **options: Any) -> Any:
        if url.startswith("http") and (problem := machine.why_unreachable(url)):
            refused.append(url)
            raise ConnectionError(problem)
        return download(self, url, *arguments, **options)

    # Not among the settings of tfds: how often it tries, and for how long.
    with utils.temporary_assignment(_Downloader, "_sync_download", ask_and_download):
        yield


def _explanation(builder: Any, problem: str, refused: list[str]) -> str:
    infos = builder.url_infos or {}
    total = sum(info.size for info in infos.values())  # of all configurations
    size = f"{total / 2**30:,.2f} GiB" if total >= 2**30 else f"{total / 2**20:,.2f} MiB" if total else "unknown"
    size = f"at most {size}" if len(builder.BUILDER_CONFIGS) > 1 else size
    name = f"{builder.name}/{builder.builder_config_name}" if builder.builder_config_name else builder.name
    first, lines = f"connect to the internet once and run: tfds build {name}", []
    if instructions := _instructions(builder):
        lines = [f"It must be downloaded by hand; here, manual_dir is {_shown(_manual_dir(builder))}"]
        lines += [f"    {line.strip()}" for line in instructions.splitlines()]
        first = "place these files there and run this again"
    elif refused:
        # All that the set is made of; which of these a configuration takes, tfds knows only when it asks for them.
        missing = [url for url in infos if _is_missing(builder, url)]
        wanted = refused if len(builder.BUILDER_CONFIGS) > 1 or not missing else missing
        named = ", ".join((url in infos and infos[url].filename) or url for url in wanted)
        lines = [f"Missing, without network to be placed in {_shown(_manual_dir(builder))}: {named}"]
    elif _has_archives(_downloads(builder)):
        lines = [f"If what was downloaded is damaged, delete it: {_shown(_downloads(builder))}"]
    return "\n".join([
        f"{builder.name!r} is not on this computer and could not be prepared ({problem}).",
        f"Download size: {size}. Place: {_shown(builder.data_path)}",
        *lines,
        "Three ways forward:",
        f"  1. {first}",
        "  2. set TFDS_DATA_DIR to a folder in which it is prepared already",
        '  3. use dataset="textile", which is embedded and needs no network',
    ])  # fmt: skip


def _instructions(builder: Any) -> str:
    return (builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").strip()


def _downloads(builder: Any) -> Path:
    return Path(builder.data_dir_root) / "downloads" / builder.name


def _has_archives(folder: Path) -> bool:
    return any(path.is_file() for path in folder.glob("*"))  # what is still arriving lies in folders


def _is_missing(builder: Any, url: str) -> bool:
    """Tells whether what belongs to an address is neither downloaded nor placed by hand."""
    from tensorflow_datasets.core.download.resource import get_dl_fname

    info = builder.url_infos[url]
    places = [_downloads(builder) / name for name in (get_dl_fname(url, info.checksum), get_dl_fname(url))]
    places += [_manual_dir(builder) / info.filename] if info.filename else []
    return not any(map(Path.exists, places))


def _manual_dir(builder: Any) -> Path:
    return Path(builder.data_dir_root) / "downloads" / "manual"


def _shown(path: Any) -> str:
    return str(path).replace(str(Path.home()), "~", 1)
