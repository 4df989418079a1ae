"""`effnet catch-up`: a lesson finds in the cache what it looks for first, and nothing of the learner's changes."""

import re

from effnet_helpers import machine, models
from effnet_helpers.course import ROOT, build, catch_up
from effnet_helpers.course.cli import app

import jupytext
import pytest
from tiny import tiny_backbone, tiny_classifier
from typer.testing import CliRunner

SMALL = {"image_size": "64", "limit_per_class": "6", "from_block": '"block7a"', "steps": "1", "head_epochs": "1"}
CELLS = {  # those of a lesson that look something up in the cache, and those that these need
    "05": ["def unfreeze_blocks", "training.fit_head(", "choose_recipe(", "extract_features(prefix"],
    "06": ["training.fit_head("],
    "08": ["extract_features(extractor"],
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setitem(catch_up.HEAD, "epochs", 1)
    monkeypatch.setattr(models, "build_backbone", lambda _, image_size: tiny_backbone(image_size=image_size))
    monkeypatch.chdir(tmp_path)
    return machine.cache_dir() / "features"  # that of all tests, in which the textile images are scanned already


def effnet(folder, lesson, *more):
    return CliRunner().invoke(app, ["catch-up", lesson, "--root", str(folder), *more])


def small(code):
    """A parameters cell with other values, as the command gets them."""
    return re.sub(
        r"^(\w+): (.*?) = \S+", lambda m: f"{m[1]}: {m[2]} = {SMALL.get(m[1], m[0].split(' = ')[1])}", code, flags=re.M
    )


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# One of them within seconds; before a release, all.
@pytest.mark.parametrize("lesson", ["08", *(pytest.param(each, marks=pytest.mark.release) for each in ("05", "06"))])
def test_a_lesson_computes_nothing_that_was_made_ready(lesson, cache, tmp_path):
    (source,) = [path for path in build.sources(ROOT) if path.name.startswith(lesson)]
    cells = [cell for cell in jupytext.read(source, fmt="py:percent").cells if cell.cell_type == "code"]
    text = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    given = [f"{name}={value.strip(chr(34))}" for name, value in SMALL.items() if f"\n{name}:" in text]
    before = files_in(cache)
    done = effnet(tmp_path, lesson, *(part for each in given for part in ("-p", each)))
    assert done.exit_code == 0, done.output
    assert f"{source.stem} can start" in done.output and "was copied for you" in done.output
    made = files_in(cache)
    assert len(made - before) == (3 if lesson == "08" else 4)
    assert (tmp_path / "course" / catch_up.FOLDER / f"{source.stem}_head.keras").stat().st_size > 10_000

    marks = ["from typing import", "data.load(dataset", *CELLS[lesson]]
    namespace = {}
    for cell in cells:
        if cell.source == text:
            exec(small(text), namespace)
        elif any(mark in cell.source for mark in marks):
            exec(cell.source, namespace)
    assert files_in(cache) == made
    for name in made - before:  # the next lesson looks for the same
        (cache / name).unlink()


def test_a_lesson_that_takes_nothing_is_copied_with_its_exercises_and_no_solution(cache, tmp_path):
    done = effnet(tmp_path, "03")
    assert done.exit_code == 0
    assert done.output.endswith("it takes nothing from the lessons before it (0 s).\n")
    names = {"notebooks/03_data_loading.ipynb", "notebooks/exercises/03_data_loading.ipynb", "docs/glossary.md"}
    assert files_in(tmp_path / "course") == names


def test_what_the_learner_has_stays(cache, tmp_path):
    effnet(tmp_path, "03")
    notebook, head = (
        tmp_path / "course" / "notebooks" / "03_data_loading.ipynb",
        catch_up.FOLDER / "05_unfreezing_head.keras",
    )
    notebook.write_bytes(worked_in := notebook.read_bytes().replace(b"data.load", b"data.load "))
    done = effnet(tmp_path / "course", "03")
    assert done.exit_code == 0 and "03_data_loading.ipynb was there and stays as it is" in done.output
    assert notebook.read_bytes() == worked_in

    (tmp_path / "course" / head).parent.mkdir(parents=True)
    (tmp_path / "course" / head).write_text("mine")
    done = effnet(tmp_path / "course", "05")
    assert done.exit_code == 2 and done.output.count("\n") == 1 and head.name in done.output
    assert (tmp_path / "course" / head).read_text() == "mine"


def test_a_model_that_lies_where_the_head_is_to_be_stays(tmp_path):
    path, card = (
        tmp_path / "heads" / "head.keras",
        {"class_names": ["a", "b", "c"], "resize_mode": "pad", "variant": "Lite0"},
    )
    model = tiny_classifier()
    assert catch_up.keep(model, path, **card) == catch_up.keep(model, path, **card) == path
    first = path.read_bytes()
    other = catch_up.keep(tiny_classifier(seed=1), path, **card)
    assert other.name == "head_2.keras" and other.is_file() and path.read_bytes() == first


def test_a_lesson_that_is_none_is_refused_in_a_sentence(cache, tmp_path):
    done = effnet(tmp_path, "77")
    assert done.exit_code == 2 and "None fits" in done.output and "Traceback" not in done.output
    assert not (tmp_path / "course").exists()


def test_every_start_is_one_of_a_lesson():
    assert set(catch_up.STARTS) == set(CELLS) <= {path.stem.partition("_")[0] for path in build.sources(ROOT)}
