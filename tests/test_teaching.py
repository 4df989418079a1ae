"""The guide for whoever teaches the course: a page and exercises to each lesson, plans whose minutes add up."""

import re

from effnet_helpers.course import ROOT, build

import pytest

GUIDE = ROOT / "docs" / "teaching"
SOURCES = {path.stem.partition("_")[0]: path for path in build.sources(ROOT)}
WITHOUT_EXERCISES = {"B"}  # whose page says what to do instead
PARTS = ["Questions that learners ask", "What to cut first", "What goes wrong"]
EXERCISE = r"\b(?:\d\d|[A-Z])\.\d\b"


def page(name):
    return (GUIDE / f"{name}.md").read_text(encoding="utf-8")


def parts_of(text):
    """Maps each heading of the second level to what stands below it."""
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {heading.strip(): body for heading, _, body in (part.partition("\n") for part in parts)}


def rows_of(text):
    """Returns the cells of each row of a page's tables, but for their headings."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if not set("".join(row)) <= set("-")]


def dead_links(file):
    """Returns relative links that lead nowhere; to a notebook they may if there is its source."""
    targets = [target for target in re.findall(r"\]\(([^)#]+)", file.read_text(encoding="utf-8")) if ":" not in target]
    there = {path.resolve() for path in (*GUIDE.iterdir(), *(ROOT / "docs").iterdir())}
    there |= {build.built_path(source).resolve() for source in build.sources(ROOT)}
    there |= {(ROOT / "notebooks" / "exercises" / f"{source.stem}.ipynb") for source in build.exercise_sources(ROOT)}
    return [target for target in targets if (file.parent / target).resolve() not in there]


def late_starts(rows):
    """Returns where a row of a plan does not begin when the one before it ends."""
    clock, late = 0, []
    for start, minutes, *_ in rows:
        hours, _, past = start.partition(":")
        if int(hours) * 60 + int(past) != clock:
            late.append(f"{start} instead of {clock // 60}:{clock % 60:02}")
        clock += int(minutes)
    return late


def named_exercises(text):
    """Returns the exercises and quizzes that a text names, such as 04.3."""
    spoken = re.findall(rf"(?:[Ee]xercises?|[Qq]uiz) {EXERCISE}(?:(?:,| and) {EXERCISE})*", text)
    return [(each[:4].lower() == "quiz", number) for each in spoken for number in re.findall(EXERCISE, each)]


@pytest.mark.parametrize("lesson", SOURCES)
def test_each_lesson_has_a_page_with_all_its_parts(lesson):
    text, parts, rows = page(lesson), parts_of(page(lesson)), dict(rows_of(page(lesson)))
    assert text.startswith(f"# {lesson} · ")
    assert list(parts) == PARTS
    assert f"](../../notebooks/{SOURCES[lesson].stem}.ipynb)" in rows["lesson"]
    assert re.match(r"\d+ minutes", rows["to teach"]) and re.match(r"\d+ minutes", rows["to practise"])
    assert len(rows["checkpoint"]) > 20
    questions = re.findall(r"^\*\*([^*]+)\*\*", parts[PARTS[0]], re.MULTILINE)
    assert len(questions) >= 5
    assert all(re.search(r"[?.]$", question) for question in questions)
    assert len(parts[PARTS[1]].split()) >= 8
    assert len(re.findall(r"^- \*[^*]+\*", parts[PARTS[2]], re.MULTILINE)) >= 2


@pytest.mark.parametrize("lesson", SOURCES)
def test_each_lesson_has_slides(lesson):
    cells = re.findall(r"^# %%.*", SOURCES[lesson].read_text(encoding="utf-8"), re.MULTILINE)
    assert any(re.search(r'tags=\[[^\]]*"slide(?:-code)?"', cell) for cell in cells)


@pytest.mark.parametrize("lesson", [lesson for lesson in SOURCES if lesson not in WITHOUT_EXERCISES])
def test_a_page_gives_the_minutes_that_the_exercises_give(lesson):
    source = SOURCES[lesson].parent / "exercises" / SOURCES[lesson].name
    rows = dict(rows_of(page(lesson)))
    minutes = re.search(r"(\d+) minutes", source.read_text(encoding="utf-8"))[1]
    assert rows["to practise"].startswith(f"{minutes} minutes")
    assert f"](../../notebooks/exercises/{source.stem}.ipynb)" in rows["lesson"]


def test_there_is_no_page_without_a_lesson():
    assert {path.stem for path in GUIDE.glob("*.md")} == {*SOURCES, "plans", "before"}


@pytest.mark.parametrize("file", sorted(GUIDE.glob("*.md")), ids=lambda file: file.stem)
def test_what_a_page_leads_to_is_there(file):
    assert dead_links(file) == []
    there = "\n".join(path.read_text(encoding="utf-8") for path in build.exercise_sources(ROOT))
    for is_quiz, number in named_exercises(file.read_text(encoding="utf-8")):
        heading = f"**Quiz {number}** " if is_quiz else f"# ## {number} · "
        assert heading in there, number


def test_the_minutes_of_each_plan_add_up():
    plans = parts_of(page("plans"))
    assert len(plans) == 3
    for name, text in plans.items():
        rows = rows_of(text)[1:]
        assert late_starts(rows) == [], name
    total = {name: sum(int(row[1]) for row in rows_of(text)[1:]) for name, text in plans.items()}
    assert list(total.values()) == [90, 4 * 60, 7 * 60]


def test_a_plan_that_does_not_add_up_is_noticed():
    assert late_starts([["0:00", "10"], ["0:10", "55"], ["1:05", "5"]]) == []
    assert late_starts([["0:00", "10"], ["0:15", "5"]]) == ["0:15 instead of 0:10"]


def test_exercises_are_found_in_what_a_page_says():
    text = "quiz 06.1 asks, exercises A.2 and A.3 ask, exercise 08.2, not lesson 05 or 0.5"
    assert named_exercises(text) == [(True, "06.1"), (False, "A.2"), (False, "A.3"), (False, "08.2")]


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("[a](plans.md) [b](https://example.org) [c](before.md#a-survey)", encoding="utf-8")
    assert dead_links(file) == ["plans.md", "before.md"]
