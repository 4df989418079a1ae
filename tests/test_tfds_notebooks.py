"""Lessons 03 to 05 on a set of tensorflow_datasets: Stanford Dogs in miniature, prepared by its real builder."""

from effnet_helpers.course import ROOT, profiles
from effnet_helpers.course.execute import execute

import mini_tfds
import nbformat
import pytest

LESSONS = ("03_data_loading", "04_head_training", "05_unfreezing")
SMALL = (
    "dataset=stanford_dogs",
    "variant=Lite0",
    "image_size=64",
    "resize_mode=squash",
    "limit_per_class=0",
    "batch_size=8",
    "comparison_images=64",
    "epochs=1",
    "trial_epochs=0",
)


@pytest.fixture(scope="module", autouse=True)
def miniature(tmp_path_factory):
    """Leaves all that the notebooks need in two variables of the environment: TFDS_DATA_DIR and EFFNET_CACHE."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("tfds")
        patch.setenv("TFDS_DATA_DIR", str(folder))
        mini_tfds.prepare_stanford_dogs(folder)
        yield


@pytest.mark.notebooks
@pytest.mark.parametrize("stem", LESSONS)
def test_a_lesson_runs_on_stanford_dogs(stem, tmp_path):
    (path,) = profiles.select(profiles.notebooks(ROOT), [stem])
    given = profiles.resolve(ROOT, [path], "smoke", [each for each in SMALL if _is_taken(path, each)])
    executed = tmp_path / path.name
    outcome = execute(path, executed, parameters=given[stem], cwd=path.parent, log=tmp_path / "log.txt")
    assert outcome.error is None, f"{outcome.error} under {outcome.heading!r}"
    outputs = [output for cell in nbformat.read(executed, as_version=4).cells for output in cell.get("outputs", [])]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    breeds = [folder[10:].replace("_", " ").capitalize() for folder in mini_tfds.STANFORD_DOGS]
    assert any(breed in printed for breed in breeds)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def _is_taken(path, assignment):
    return assignment.partition("=")[0] in profiles.parameters_of(path)
