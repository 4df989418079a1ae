"""Where images come from, by a specification such as "textile" or "folder:PATH"."""

from __future__ import annotations

import difflib

from effnet_helpers.data import tfds
from effnet_helpers.data.folder import find_folder
from effnet_helpers.data.records import Collection, Provenance

import conformal_clip_data

FORMS = {
    "textile": "the embedded benchmark of simulated textile",
    "folder:PATH": "your own pictures, one subfolder a class",
    "stanford_dogs": "120 breeds, through tensorflow_datasets",
    "tfds:NAME": "any other set of tensorflow_datasets",
}

TEXTILE = Provenance(
    title="Simulated woven textile",
    source="PyPI package conformal-clip-data 0.1.4",
    licence="MIT",
    citation="Megahed et al., arXiv 2501.12596",
    note="The images are simulated, not photographed: nominal weave, a global shift, or a small local flaw.",
)


def parse_spec(spec: str) -> tuple[str, str]:
    """Takes a specification of a data set apart.

    Args:
        spec: One of the forms in `FORMS`.

    Returns:
        The kind of source (`"textile"`, `"folder"` or `"tfds"`) and its argument, a path or a name.

    Raises:
        ValueError: If `spec` has none of these forms.
    """
    kind, _, argument = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if spec == "textile":
        return "textile", ""
    if spec == "stanford_dogs":
        return "tfds", "stanford_dogs"
    if kind in ("folder", "tfds") and argument:
        return kind, argument
    forms = "".join(f"\n  {form}: {meaning}" for form, meaning in FORMS.items())
    heads = {form.partition(":")[0]: form for form in FORMS}
    nearest = difflib.get_close_matches(kind.lower(), heads, n=1)
    hint = f'\nDid you mean "{heads[nearest[0]]}"?' if nearest else ""
    raise ValueError(f"A data set is specified in one of these forms:{forms}{hint}\nReceived: {spec!r}")


def find(spec: str) -> Collection:
    """Finds the images that a specification names.

    Args:
        spec: One of the forms in `FORMS`.

    Returns:
        The `Collection`.

    Raises:
        ValueError: If `spec` has none of these forms, or what it names cannot be used.
        tfds.NotPreparedError: If a set of tensorflow_datasets is not there and cannot be fetched.
    """
    kind, argument = parse_spec(spec)
    if kind == "folder":
        return find_folder(argument)
    if kind == "tfds":
        return tfds.find_tfds(argument)
    return find_folder(conformal_clip_data.textile_simulated_root(), name="textile", provenance=TEXTILE)
