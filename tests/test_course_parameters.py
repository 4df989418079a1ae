"""Which notebooks run, with which parameters, and what is refused before anything runs."""

import re

from effnet_helpers.course import ROOT, CourseError, build, profiles
from effnet_helpers.course.cli import app

import mini_course
import pytest
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    mini_course.write_with_notebooks(root)
    return root


@pytest.mark.parametrize("name", ["1", "01", "01_first", "01_f", "first", "fir", "notebooks/01_first.ipynb"])
def test_notebooks_are_chosen_by_number_name_or_slug(course, name):
    assert [path.stem for path in profiles.select(profiles.notebooks(course), [name])] == ["01_first"]


def test_chosen_notebooks_come_once_and_in_the_order_of_the_series(course):
    names = [path.stem for path in profiles.select(profiles.notebooks(course), ["2", "1", "second"])]
    assert names == ["01_first", "02_second"]
    assert profiles.select(profiles.notebooks(course), []) == profiles.notebooks(course)


@pytest.mark.parametrize("name", ["A", "a", "A_keras", "keras"])
def test_an_appendix_comes_last_and_is_chosen_by_its_letter(tmp_path, name):
    mini_course.write(tmp_path)
    sources = tmp_path / "notebooks" / "src"
    for stem in ("A_keras", "Untitled_1"):
        (sources / f"{stem}.py").write_text(mini_course.SECOND)
    found = build.sources(tmp_path)
    assert [path.stem for path in found] == ["01_first", "02_second", "A_keras"]
    assert [path.stem for path in profiles.select(found, [name])] == ["A_keras"]


@pytest.mark.parametrize("name", ["3", "third", "0", "B", ""])
def test_a_notebook_that_does_not_exist_is_refused(course, name):
    with pytest.raises(CourseError, match=re.escape(f"Known: 01_first, 02_second. Received: {name!r}")):
        profiles.select(profiles.notebooks(course), [name])


def test_profile_first_then_assignments_and_only_where_the_parameter_exists(course):
    paths = profiles.notebooks(course)
    given = profiles.resolve(course, paths, "tiny", ["rate=1e-3", "seed=7", "photo=none", "sizes=[3, 4]", "flip=False"])
    assert given["01_first"] == {
        "epochs": 1, "rate": 1e-3, "seed": 7, "photo": None, "sizes": [3, 4], "flip": False,
    }  # fmt: skip
    assert given["02_second"] == {"seed": 7}
    assert profiles.in_effect(paths, given)["02_second"] == {"action": "none", "dataset": "textile", "seed": 7}


def test_a_profile_may_name_a_lesson_that_is_written_and_not_built_yet(tmp_path):
    mini_course.write_with_notebooks(tmp_path)
    build.built_path(tmp_path / "notebooks" / "src" / "01_first.py").unlink()
    given = profiles.resolve(tmp_path, profiles.notebooks(tmp_path), "tiny", [])
    assert [*given] == ["02_second"]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("photo=me=you.png", "{here}/me=you.png"),
        ("photo=~/me.png", "{home}/me.png"),
        ("photo=/a/me.png", "/a/me.png"),
        ("dataset=folder:../pics", "folder:{here}/../pics"),
        ("dataset=csv:~/table.csv", "csv:{home}/table.csv"),
        ("dataset=tfds:beans", "tfds:beans"),
        ("dataset=textile", "textile"),
        ("action=a/b", "a/b"),
    ],
)
def test_paths_are_from_where_the_command_is_given(course, tmp_path, monkeypatch, assignment, expected):
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    name = assignment.partition("=")[0]
    given = profiles.resolve(course, profiles.notebooks(course), "quick", [assignment])
    (value,) = [values[name] for values in given.values() if name in values]
    assert value == expected.format(here=here, home=home)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs=ten", "01_first: parameter 'epochs' expects int. Received: 'ten'"),
        ("epochs=1.5", "parameter 'epochs' expects int. Received: '1.5'"),
        ("rate=fast", "parameter 'rate' expects float. Received: 'fast'"),
        ("flip=1", "parameter 'flip' expects bool. Received: '1'"),
        ("sizes=3,x", "parameter 'sizes' expects list[int]. Received: [3, 'x']"),
        ("ecpohs=3", "No chosen notebook has a parameter 'ecpohs'. Did you mean 'epochs'?"),
        ("zzz=3", "  02_second: action, dataset, seed"),
        ("epochs", "-p expects name=value. Received: 'epochs'"),
    ],
)
def test_wrong_assignments_are_refused_before_anything_runs(course, assignment, message):
    result = CliRunner().invoke(app, ["run", "--root", str(course), "--name", "never", "-p", assignment])
    assert result.exit_code == 2
    assert message in result.output
    assert not (course / "runs" / "never").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("01_frist:\n  epochs: 1\n", "there is no notebook '01_frist'. Did you mean '01_first'?"),
        ("01_first:\n  epoch: 1\n", "there is no parameter 'epoch'. Did you mean 'epochs'?"),
        ("01_first:\n  epochs: two\n", "parameter 'epochs' expects int. Received: 'two'"),
        ("01_first:\n  flip: 1\n", "parameter 'flip' expects bool. Received: 1"),
        ("01_first:\n  epochs: true\n", "parameter 'epochs' expects int. Received: True"),
        ("- 01_first\n", "expected one block"),
        ("01_first: {epochs: [", "wrong.yaml cannot be read: while parsing"),
    ],
)
def test_a_wrong_profile_is_refused(course, content, message):
    (course / "notebooks" / "profiles" / "wrong.yaml").write_text(content)
    with pytest.raises(CourseError, match=re.escape(message)):
        profiles.resolve(course, profiles.notebooks(course)[1:], "wrong", [])


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff"])
def test_a_damaged_notebook_is_refused_in_one_sentence(course, tmp_path, content):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_broken.ipynb").write_bytes(content)
    result = CliRunner().invoke(app, ["run", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert re.fullmatch(r"effnet: \S+01_broken\.ipynb cannot be read: .+\n", result.stderr)


def test_an_unknown_profile_is_refused_with_the_known_ones(course):
    with pytest.raises(CourseError, match=r"Did you mean 'tiny'\? Known: quick, .*tiny"):
        profiles.resolve(course, profiles.notebooks(course), "tinny", [])


@pytest.mark.parametrize("profile", ["quick", "smoke", "full"])
def test_the_profiles_of_the_course_give_every_notebook_values_it_takes(profile):
    chosen = profiles.notebooks(ROOT)
    given = profiles.resolve(ROOT, chosen, profile, [])
    assert list(given) == [path.stem for path in chosen]
    assert all(given.values()) == (profile != "quick")


def test_smoke_tries_other_values_and_full_is_stanford_dogs():
    chosen = profiles.notebooks(ROOT)
    own = profiles.in_effect(chosen, profiles.resolve(ROOT, chosen, "quick", []))
    smoke = profiles.in_effect(chosen, profiles.resolve(ROOT, chosen, "smoke", []))
    full = profiles.in_effect(chosen, profiles.resolve(ROOT, chosen, "full", []))
    for name in ("variant", "image_size", "seed", "limit_per_class"):
        assert smoke["05_unfreezing"][name] != own["05_unfreezing"][name]
    assert (full["03_data_loading"]["dataset"], full["03_data_loading"]["batch_size"]) == ("stanford_dogs", 64)
    assert full["04_head_training"]["comparison_images"] == 0  # all of them, at their full size
    for stem in ("04_head_training", "05_unfreezing", "07_few_labels"):
        assert (full[stem]["dataset"], full[stem]["variant"]) == ("stanford_dogs", "B0")
