"""What a run leaves names no place of this computer: paths are shown as whoever started it would write them."""

from __future__ import annotations

import html
import os
import re
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from effnet_helpers.course import ROOT
from effnet_helpers.machine import from_here

VARIABLES = ("EFFNET_CACHE", "TFDS_DATA_DIR", "KERAS_HOME")  # name folders that may lie anywhere
PICTURES = ("image/png", "image/jpeg")  # in base64, where a slash is no separator, as in EMBEDDED

EMBEDDED = r"data:[\w/]+;base64,[\w+/=]+"

Hide = Callable[[Any], Any]


def hiding(root: Path, paths: Iterable[Path]) -> Hide:
    """Makes a function that writes absolute paths in texts from the current folder, or a place that has a name.

    Args:
        root: The checkout, shown as `.`, as are this Python's folders, the user's and the temporary one by their names.
        paths: What was given to the notebooks; what lies beside each is shown alike. Outside the current folder and
            the user's, only the last name is shown.

    Returns:
        A function of a text, or of lists and dictionaries of them such as a notebook, that returns another of its kind.
    """
    named = {tempfile.gettempdir(): "tmp", sysconfig.get_path("stdlib"): "python", os.path.expanduser("~"): "~"}
    variables = {name: os.path.expanduser(os.environ[name]) for name in VARIABLES if os.environ.get(name)}
    named |= {os.path.abspath(path): f"${name}" for name, path in variables.items()}
    named |= {str(ROOT): ".", str(root): ".", sysconfig.get_path("purelib"): "site-packages"}
    given = {str(path): from_here(path, f"…/{path.name}") for path in paths}
    named |= {os.path.dirname(path): os.path.dirname(name) or "." for path, name in given.items()} | given
    shown = {}
    for path, name in named.items():
        for spelled in (path, os.path.normpath(path), os.path.realpath(path)):
            if os.path.dirname(spelled) != spelled:  # a home may be "/", in containers
                # As it stands in messages, in Python's strings, in what papermill makes of these, and in tables.
                in_ascii = spelled.encode("unicode_escape").decode("ascii").replace('"', r"\"")
                shown |= dict.fromkeys((spelled, repr(spelled)[1:-1], in_ascii, html.escape(spelled)), name)
    longest_first = sorted(shown, key=len, reverse=True)
    # No part of a longer name, an address, a tag or a picture. Behind "m" ends what gives a traceback its colours.
    any_of_them = "|".join(map(re.escape, longest_first))
    pattern = re.compile(rf"{EMBEDDED}|(?:(?<![\w.~<-])|(?<=\dm))(?:{any_of_them})(?![\w-])")

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            hidden = pattern.sub(lambda match: shown.get(match[0], match[0]), value)
            return hidden.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files need not be UTF-8
        if isinstance(value, dict):
            return type(value)({key: each if key in PICTURES else hide(each) for key, each in value.items()})
        return [hide(each) for each in value] if isinstance(value, list) else value

    return hide
