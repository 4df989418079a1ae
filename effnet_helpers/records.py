"""Figures that a lesson leaves behind, and conditions it insists on: plain Python, so that anything may import it."""

from __future__ import annotations

import csv
import difflib
import io
import math
import sys
from collections.abc import Iterable
from typing import Any

RECORD_MIME = "application/vnd.effnet.record+json"
"""MIME type of the output in which a notebook leaves a figure, and by which a run finds it again."""


def record(name: str, value: float | int | str | bool) -> None:
    """Leaves a figure in the notebook for `effnet run`, which gathers it into `metrics.json`.

    In a notebook the figure is an output of its own with the MIME type `RECORD_MIME`, which a page does not show: what
    a reader should know, a printed sentence, a table or a drawing says, and says once. Elsewhere it is printed.

    Args:
        name: A Python identifier, the key in `metrics.json`.
        value: A finite number, a string or a truth value. NumPy scalars count as the Python value they hold.

    Raises:
        ValueError: If the name or the value is anything else.

    Example:
        >>> record("val_accuracy", 0.8125)
        val_accuracy = 0.8125
    """
    expect(isinstance(name, str) and name.isidentifier(), "name of a record", name, "a Python identifier")
    plain = value.item() if hasattr(value, "item") and not value.shape else value
    is_usable = isinstance(plain, bool | int | float | str) and (isinstance(plain, str) or math.isfinite(plain))
    expect(is_usable, f"record {name!r}", value, "a finite number, a string or a truth value")
    text = f"{name} = {_four_digits(plain) if isinstance(plain, float) else plain}"
    if not in_ipython():
        print(text)
        return
    from IPython.display import display

    # Empty HTML, since pages prefer it to plain text, which is for terminals.
    display({"text/html": "", "text/plain": text, RECORD_MIME: {"name": name, "value": plain}}, raw=True)


def expect(condition: bool, name: str, received: Any, expected: str) -> None:
    """Stops with one clear message if a parameter cannot work, or a result is not what it must be.

    Args:
        condition: What must hold.
        name: What it is about, such as a parameter's name.
        received: Its value.
        expected: What would work, in words.

    Raises:
        ValueError: If `condition` is false.

    Example:
        >>> expect(3 >= 1, "epochs", 3, "a whole number from 1 up")
    """
    if not condition:
        raise ValueError(f"{name}: expected {expected}. Received: {received!r}")


def check(**ranges: tuple) -> None:
    """Stops with one clear message at the first parameter that is out of its range: a lesson's one call of this kind.

    Args:
        **ranges: By a parameter's name `(value, least, most)`, where `None` leaves an end open. Ends that are all
            written as whole numbers ask for a whole number and count as allowed: `(epochs, 1, None)`. An end with a
            decimal point asks for any number and is itself excluded: `(learning_rate, 0.0, 1.0)` lies between the two,
            `(dropout, 0, 1.0)` may be 0 but not 1. Or `(value, choices)`: one of these, or a list of some of them.

    Raises:
        ValueError: If a value does not fit; it says which, what was received and what would work.

    Example:
        >>> check(epochs=(3, 1, None), dropout=(0.0, 0, 1.0), resize_mode=("pad", ["crop", "pad", "squash"]))
    """
    for name, (value, *ends) in ranges.items():
        if len(ends) == 1:
            _check_choice(name, value, list(ends[0]))
        else:
            _check_number(name, value, *ends)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Returns a sentence that names the known name nearest to a mistyped one, with a blank before it; else nothing.

    Args:
        name: What was given.
        known: What would have been understood.
        cutoff: How alike the two must be, from 0 to 1; short names need less.

    Example:
        >>> did_you_mean("textil", ["textile", "folder"])
        " Did you mean 'textile'?"
    """
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def listed(names: Iterable[str], mark: str = ",") -> str:
    """Lists names so that they can be told apart: as in CSV, one that holds the mark between them stands in quotes.

    Args:
        names: Such as those of classes.
        mark: What stands between them.

    Example:
        >>> listed(["cats", "dogs, large"])
        'cats, "dogs, large"'
    """
    quoted = ['"' + name.replace('"', '""') + '"' if {mark, '"'} & {*name} else name for name in names]
    return f" {mark} ".replace(" ,", ",").join(quoted)


def unlisted(text: str) -> list[str]:
    """Reads names that are separated by commas, such as those of `listed`; blanks around them are nothing."""
    names = next(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True), [])
    return [name.strip() for name in names if name.strip()]


def in_ipython() -> bool:
    """Says whether this code runs under IPython: a notebook, or IPython's terminal."""
    # Looked up, not imported: IPython takes half a second to import and is loaded already where the answer is yes.
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def _check_choice(name: str, value: Any, choices: list) -> None:
    some = isinstance(value, list)
    chosen = value if some else [value]
    if not chosen or any(each not in choices for each in chosen):
        nearest = "".join(did_you_mean(str(each), map(str, choices)) for each in chosen if each not in choices)
        expected = f"{'some' if some else 'one'} of {', '.join(map(str, choices))}"
        raise ValueError(f"{name}: expected {expected}. Received: {value!r}.{nearest}")


def _check_number(name: str, value: Any, least: float | None, most: float | None) -> None:
    is_whole = not any(isinstance(end, float) for end in (least, most))
    fits = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool) and math.isfinite(value)
    words = []
    if least is not None:
        fits = fits and (value > least or (value == least and isinstance(least, int)))
        words.append(f"{'above' if isinstance(least, float) else 'at least'} {least:g}")
    if most is not None:
        fits = fits and (value < most or (value == most and isinstance(most, int)))
        words.append(f"{'below' if isinstance(most, float) else 'at most'} {most:g}")
    expect(fits, name, value, f"a {'whole ' if is_whole else ''}number {' and '.join(words)}".strip())


def _four_digits(number: float) -> str:
    """Formats a float with four significant digits and no exponent."""
    if number == 0:
        return "0"
    decimals = 3 - math.floor(math.log10(abs(number)))
    text = f"{round(number, decimals):.{max(0, decimals)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
