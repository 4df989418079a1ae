"""How long the reader waits before anything happens."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .harness import Line, Row, Settings, Target, interleaved, timed


def _run(settings: Settings) -> Iterator[Line]:
    effnet = shutil.which("effnet", path=str(Path(sys.executable).parent))
    if effnet is None:
        raise FileNotFoundError(f"There is no command effnet beside {Path(sys.executable).name}. Set up with: make env")
    commands = {
        "import effnet_helpers": ([sys.executable, "-c", "import effnet_helpers"], 0.2),
        "effnet --help": ([effnet, "--help"], 0.5),
    }
    sides = {
        name: timed(lambda command=command: subprocess.run(command, check=True, capture_output=True))
        for name, (command, _) in commands.items()
    }
    measured = interleaved(sides, settings.rounds)
    for name, (_, bound) in commands.items():
        detail = f"{measured.spread(name)}; the start of Python is part of it"
        yield Line(name, measured.median(name), None, "s", Target("below", bound, "s"), settings.rounds, detail)


ROW = Row("start", "start of the package and of the command", lambda settings: settings.rounds * 0.05, _run)
