"""Where images come from, by a specification such as "textile" or "folder:PATH"."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from effnet_helpers.data.archives import extract_archive, is_archive
from effnet_helpers.data.folder import list_folder, list_table
from effnet_helpers.data.listing import Listing, PassedOver, Provenance
from effnet_helpers.data.tfds import list_tfds
from effnet_helpers.specs import parse_spec

import conformal_clip_data

TEXTILE = Provenance(
    title="Simulated woven textile",
    source="PyPI package conformal-clip-data 0.1.4",
    licence="MIT",
    citation="Megahed et al., arXiv 2501.12596",
    note="The images are simulated, not photographed: nominal weave, a global shift, or a small local flaw.",
)


def list_files(spec: str, limit_per_class: int | None = None) -> Listing:
    """Lists the files that a specification names, without opening them.

    Args:
        spec: One of the forms in `specs.FORMS`.
        limit_per_class: How many images of each class are wanted at most, so that a large published set need not be
            read to its end. Other sources are listed whole.

    Returns:
        The `Listing`; of a set of tensorflow_datasets, of its images as they were written to the cache.

    Raises:
        ValueError: If `spec` has none of these forms, or what it names cannot be listed.
        NotPreparedError: If a set of tensorflow_datasets is not there and cannot be fetched.
    """
    kind, argument = parse_spec(spec)
    if kind == "csv":
        return list_table(argument)
    if kind == "tfds":
        return list_tfds(argument, limit_per_class)
    if kind == "textile":
        return list_folder(conformal_clip_data.textile_simulated_root(), name="textile", provenance=TEXTILE)
    path = Path(argument).expanduser()
    if not path.is_file():
        return list_folder(argument)
    extracted = extract_archive(path)
    # its own path in messages, not one inside the cache, which nobody typed
    listing = list_folder(extracted.root, name=path.name.partition(".")[0], given=argument)
    others = [PassedOver(name, "unsafe", reason) for name, reason in extracted.skipped]
    if extracted.in_cp437:
        others.append(PassedOver(path.name, "code_page", "its names are not in UTF-8 and were read in code page 437"))
    return replace(listing, passed_over=(*listing.passed_over, *others))


def spec_of_path(spec: str | os.PathLike) -> str:
    """Turns the path of a folder, an archive or a table into a specification; leaves specifications as they are."""
    path = Path(spec).expanduser()
    is_path = path.exists() or (":" not in str(spec) and (os.sep in str(spec) or path.suffix))
    if not is_path or spec == "textile":
        return str(spec)
    is_table = path.suffix.lower() == ".csv" or (path.is_file() and not is_archive(path))
    return f"csv:{spec}" if is_table else f"folder:{spec}"
