"""How a data set is specified, such as "textile" or "folder:PATH": the one place that takes such texts apart."""

from effnet_helpers.records import did_you_mean

FORMS = {
    "textile": "the embedded benchmark of simulated textile",
    "folder:PATH": "your own pictures: PATH/class/* or PATH/{train,val,test}/class/*; or an archive (zip, tar) of them",
    "csv:FILE": "your own table with the columns path,label and, if wanted, split and group",
    "stanford_dogs": "120 breeds, through tensorflow_datasets",
    "tfds:NAME": "any other set of tensorflow_datasets, as NAME, NAME/CONFIG or NAME:VERSION",
}


def parse_spec(spec: str) -> tuple[str, str]:
    """Takes a specification of a data set apart.

    Args:
        spec: One of the forms in `FORMS`.

    Returns:
        The kind of source (`"textile"`, `"folder"`, `"csv"` or `"tfds"`) and its argument, a path or a name.

    Raises:
        ValueError: If `spec` has none of these forms.
    """
    kind, _, argument = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if spec == "textile":
        return "textile", ""
    if spec == "stanford_dogs":
        return "tfds", "stanford_dogs"
    if kind in ("folder", "csv", "tfds") and argument:
        return kind, argument
    forms = [f"  {form}: {meaning}" for form, meaning in FORMS.items()]
    hint = did_you_mean(kind, (form.partition(":")[0] for form in FORMS)).strip()
    lines = ["A data set is specified in one of these forms:", *forms, hint, f"Received: {spec!r}"]
    raise ValueError("\n".join(filter(None, lines)))
