"""Fetches and prepares a set of `tensorflow_datasets` (tfds), or says within seconds why not and what to do instead.

tfds does the work: it downloads archives, compares their checksums, and writes records. Here it is found out first
whether that can succeed, since tfds itself would try for minutes where there is no network.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from effnet_helpers import machine, runtime

import tensorflow as tf


class NotPreparedError(RuntimeError):
    """A set of tensorflow_datasets is not on this computer and cannot be fetched now, or what is there is damaged."""


def import_tfds() -> ModuleType:
    """Imports tensorflow_datasets, without its chatter and progress bars."""
    with runtime.filtered_stderr():
        import tensorflow_datasets as tfds
    tfds.disable_progress_bar()
    return tfds


def prepare(builder: Any) -> None:
    """Downloads what is not there yet, and prepares a set. Archives that are there are used without a network.

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
    by_hand = bool(builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
    archives = {url: _archive(builder, url) for url in _wanted(builder) or (() if by_hand else infos)}
    size = _size(infos, archives or infos)
    absent = [url for url, path in archives.items() if path is None]
    problem = machine.why_unreachable(absent[0]) if absent else ""
    if not problem and (broken := [url for url, path in archives.items() if path and _forget_if_damaged(builder, url)]):
        why = machine.why_unreachable(broken[0])
        problem = why and f"{archives[broken[0]].name} is damaged; {why}"
        absent += broken
    if not problem:
        download = f"downloading {_size(infos, absent)} and " if absent else ""
        print(f"{builder.name}: {download}preparing it in {_shown(builder.data_path)}, once", flush=True)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # tfds says the same at greater length
                builder.download_and_prepare()
        except Exception as error:  # it can fail in more ways than tfds has names for
            problem = _shown(f"{type(error).__name__}: {first_line(error)}")
    if problem:
        raise NotPreparedError(_explanation(builder, problem, size))


def damaged(builder: Any, reason: str) -> NotPreparedError:
    """Returns the error for a prepared set that is not whole, such as one that was copied in part."""
    return NotPreparedError(
        f"{builder.name!r} was prepared, but is damaged or incomplete: {reason}.\n"
        f"Delete this folder and run again, and it is prepared anew: {_shown(builder.data_path)}"
    )


def first_line(error: Exception) -> str:
    """Returns the first line of an error's text that says anything."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no details")


def _explanation(builder: Any, problem: str, size: str) -> str:
    name = f"{builder.name}/{builder.builder_config_name}" if builder.builder_config_name else builder.name
    first = f"connect to the internet once and run: tfds build {name}"
    by_hand = ""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        lines = builder.MANUAL_DOWNLOAD_INSTRUCTIONS.strip().splitlines()
        by_hand = f"It must be downloaded by hand; here, manual_dir is {_shown(_manual_dir(builder))}\n"
        by_hand += "".join(f"    {line.strip()}\n" for line in lines)
        first = "place these files there and run this again"
    return (
        f"{builder.name!r} is not on this computer and could not be prepared ({problem}).\n"
        f"Download size: {size}. Place: {_shown(builder.data_path)}\n"
        f"{by_hand}"
        "Three ways forward:\n"
        f"  1. {first}\n"
        "  2. set TFDS_DATA_DIR to a folder in which it is prepared already\n"
        '  3. use dataset="textile", which is embedded and needs no network'
    )


def _wanted(builder: Any) -> list[str]:
    """Returns the addresses that a set is made from, as far as they are known before the first is fetched.

    `builder.url_infos` has those of all configurations and versions.
    """
    notes = _Notes(_manual_dir(builder) / "not-there")
    # A dry run, which ends where the first archive would be read. Of a copy, because it may leave marks on the builder.
    with contextlib.suppress(Exception):
        copy.copy(builder)._split_generators(notes)
    return list(dict.fromkeys(notes.urls))


class _Notes:
    """Stands in for tfds' download manager: notes which addresses a builder asks for, and fetches nothing."""

    def __init__(self, nowhere: Path) -> None:
        self.urls: list[str] = []
        self._nowhere = nowhere

    def download(self, urls: Any) -> Any:
        return tf.nest.map_structure(self._note, urls)

    download_and_extract = download

    def iter_archive(self, path: Any) -> Any:
        return iter(())

    def _note(self, url: Any) -> Path:
        self.urls.append(getattr(url, "url", url))
        return self._nowhere


def _archive(builder: Any, url: str) -> Path | None:
    """Returns the file that tfds would take instead of downloading, or None."""
    from tensorflow_datasets.core.download import resource

    info = (builder.url_infos or {}).get(url)
    by_hand = _manual_dir(builder) / (info.filename or "") if info else None
    if by_hand and by_hand.is_file():
        return by_hand
    name = resource.get_dl_fname(url, info.checksum if info else None)
    places = [_downloads(builder) / builder.name / name, _downloads(builder) / name]
    return next((path for path in places if resource.is_locally_cached(path)), None)


def _forget_if_damaged(builder: Any, url: str) -> bool:
    """Compares a downloaded archive with its checksum, which tfds did when it came and does not do again.

    One that is damaged loses the note beside it without which tfds fetches it anew. Files placed by hand are left to
    tfds, which compares them.
    """
    from tensorflow_datasets.core.download import checksums, resource

    path, info = _archive(builder, url), (builder.url_infos or {}).get(url)
    if info is None or path.parent == _manual_dir(builder) or checksums.compute_url_info(path) == info:
        return False
    resource.get_info_path(path).unlink()
    return True


def _size(infos: dict, urls: Iterable[str]) -> str:
    from tensorflow_datasets.core import units

    total = sum(infos[url].size for url in urls if url in infos)
    return str(units.Size(total)) if total else "unknown size"


def _downloads(builder: Any) -> Path:
    return Path(builder.data_dir_root) / "downloads"


def _manual_dir(builder: Any) -> Path:
    return _downloads(builder) / "manual"


def _shown(path: Any) -> str:
    return str(path).replace(str(Path.home()), "~", 1)
