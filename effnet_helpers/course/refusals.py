"""How a command ends that cannot do what it is asked: in a sentence, and an exit code that says whose it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from effnet_helpers.course import CourseError

import typer
from typer.core import TyperGroup

FAILED, REFUSED, INTERRUPT = 1, 2, 130


class Commands(TyperGroup):
    """Ends a refused request, an error of the system and Ctrl-C in one sentence and an exit code of its own."""

    def main(self, *args: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):  # names that the terminal cannot show are no reason to stop
            stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **options)

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CourseError as error:
            code, sentence = REFUSED, str(error)
        except KeyboardInterrupt:
            code, sentence = INTERRUPT, "interrupted"
        except BrokenPipeError:  # as in `effnet … | head`, which ends without a word
            raise
        except OSError as error:
            code = FAILED
            sentence = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        typer.echo(f"effnet: {sentence}", err=True)
        raise typer.Exit(code)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Refuses a file that cannot be written before the work for it begins, and what the work itself refuses."""
    # Folders that are not there yet will be made in the first one that is.
    folder = next(parent for parent in path.expanduser().absolute().parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise CourseError(f"{path}: {folder} is no folder that can be written to")
    try:
        with naming(path):
            yield
    except (ValueError, FloatingPointError) as error:  # the second: activations too large for what is kept of them
        raise CourseError(str(error)) from None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds a path to errors of the system, which does not always say what it could not write."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            error.filename = str(path)
        raise
