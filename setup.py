"""What pyproject.toml cannot say: a wheel brings the notebooks, too, which lie outside the package in a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SERIES = Path("effnet_helpers", "course", "series")


class BuildWithSeries(build_py):
    """Copies the notebooks, their sources and profiles, and the glossary into the package, unless it is editable."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        series = Path(self.build_lib) / SERIES
        shutil.rmtree(series, ignore_errors=True)  # of an earlier build
        shutil.copytree(
            "notebooks", series / "notebooks", ignore=shutil.ignore_patterns(".*", "__pycache__", "results", "figures")
        )
        (series / "docs").mkdir()
        shutil.copy("docs/glossary.md", series / "docs")


setup(cmdclass={"build_py": BuildWithSeries})
