"""Where images come from, by a specification such as "textile" or "folder:PATH"."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from effnet_helpers.data import tfds
from effnet_helpers.data.archives import extract_archive
from effnet_helpers.data.collect import collect
from effnet_helpers.data.folder import list_folder, list_table
from effnet_helpers.data.listing import Collection, Entry, Listing, PassedOver, Provenance
from effnet_helpers.specs import parse_spec

import conformal_clip_data

TEXTILE = Provenance(
    title="Simulated woven textile",
    source="PyPI package conformal-clip-data 0.1.4",
    licence="MIT",
    citation="Megahed et al., arXiv 2501.12596",
    note="The images are simulated, not photographed: nominal weave, a global shift, or a small local flaw.",
)


def find_collection(spec: str, limit_per_class: int | None = None) -> Collection:
    """Finds the images that a specification names.

    Args:
        spec: One of the forms in `FORMS`.
        limit_per_class: How many images of each class are wanted at most, so that a large published set need not be
            read to its end.

    Returns:
        The `Collection`, which may hold more than the limit.

    Raises:
        ValueError: If `spec` has none of these forms, or what it names cannot be used.
        tfds.NotPreparedError: If a set of tensorflow_datasets is not there and cannot be fetched.
    """
    kind, argument = parse_spec(spec)
    return tfds.find_tfds(argument, limit_per_class) if kind == "tfds" else collect(list_files(spec))


def list_files(spec: str) -> Listing:
    """Lists the files that a specification names, without opening them.

    Args:
        spec: One of the forms in `FORMS`.

    Returns:
        The `Listing`; of a set of tensorflow_datasets, of its images as they were written to the cache.

    Raises:
        ValueError: If `spec` has none of these forms, or what it names cannot be listed.
        tfds.NotPreparedError: If a set of tensorflow_datasets is not there and cannot be fetched.
    """
    kind, argument = parse_spec(spec)
    if kind == "csv":
        return list_table(argument)
    if kind == "tfds":
        return _as_listing(tfds.find_tfds(argument))
    if kind == "textile":
        return list_folder(conformal_clip_data.textile_simulated_root(), name="textile", provenance=TEXTILE)
    path = Path(argument).expanduser()
    if not path.is_file():
        return list_folder(argument)
    extracted = extract_archive(path)
    listing = list_folder(extracted.root, name=path.name.partition(".")[0])
    skipped = tuple(PassedOver(name, "unsafe", reason) for name, reason in extracted.skipped)
    return replace(listing, passed_over=listing.passed_over + skipped)


def _as_listing(found: Collection) -> Listing:
    files = found.files
    given = found.given_splits.tolist() if found.given_splits is not None else [None] * len(files)
    entries = [
        Entry(name, found.class_names[label], split)
        for name, label, split in zip(files.names, files.labels, given, strict=True)
    ]
    unread = tuple(PassedOver(name, "unreadable", reason) for name, reason in found.left_out)
    passed_over = (*found.passed_over, *unread)
    return Listing(found.name, files.root, found.class_names, tuple(entries), passed_over, found.provenance)


def spec_of_path(spec: str | os.PathLike) -> str:
    """Turns the path of a folder, an archive or a table into a specification; leaves specifications as they are."""
    path = Path(spec).expanduser()
    is_path = path.exists() or (":" not in str(spec) and (os.sep in str(spec) or path.suffix))
    if not is_path or spec == "textile":
        return str(spec)
    return f"csv:{spec}" if path.suffix.lower() == ".csv" else f"folder:{spec}"
