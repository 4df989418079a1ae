"""The glossary and the lessons hold on to each other: no link leads nowhere, each term is introduced where it says."""

import re

from effnet_helpers.course import ROOT, build

import pytest

GLOSSARY = ROOT / "docs" / "glossary.md"
SOURCES = {path.stem: path for path in build.sources(ROOT)}
# Where a lesson says it in other words.
OTHER_WORDS = {
    "Confidence interval": "95 % interval",
    "Feature extraction": "extract features",
    "Fine-tuning": "fine-tuned",
    "Int8 quantization": "int8",
    "Sparse labels": "sparse_categorical_crossentropy",
    "Top-5": "most probable classes",
}


def anchor(heading):
    """Returns the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def entries(text):
    """Maps each heading of the second level to what stands below it."""
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {heading.strip(): body for heading, _, body in (part.partition("\n") for part in parts)}


def dead_anchors(text, file, known):
    """Returns the terms linked in `file` that no heading explains."""
    return [term for term in re.findall(rf"\]\({re.escape(file)}#([^)]+)\)", text) if term not in known]


def prose(source):
    """Returns a lesson's text on one line, in small letters, without hyphens and the marks of comments."""
    return re.sub(r"[\s_]+", " ", re.sub(r"^# ?|-", "", source, flags=re.MULTILINE)).lower()


TERMS = entries(GLOSSARY.read_text(encoding="utf-8"))
ANCHORS = [anchor(term) for term in TERMS]


def test_terms_are_there_once_in_order_and_short():
    assert len(TERMS) > 50
    assert [*TERMS] == sorted(TERMS, key=str.lower)
    assert len({*ANCHORS}) == len(ANCHORS)
    for term, body in TERMS.items():
        sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z*\[(])", body.partition("→")[0].replace("(Tan", "(tan").strip())
        assert 1 <= len(sentences) <= 4, (term, sentences)


def test_links_within_the_glossary_lead_somewhere():
    assert dead_anchors(GLOSSARY.read_text(encoding="utf-8"), "", ANCHORS) == []


@pytest.mark.parametrize("term", TERMS)
def test_the_lesson_behind_a_term_introduces_it(term):
    [stem] = re.findall(r"→ \[[^\]]+\]\(\.\./notebooks/(\w+)\.ipynb\)", TERMS[term])
    assert stem in SOURCES
    source = SOURCES[stem].read_text(encoding="utf-8")
    assert f"](../docs/glossary.md#{anchor(term)})" in source or prose(OTHER_WORDS.get(term, term)) in prose(source)


@pytest.mark.parametrize("stem", SOURCES)
def test_a_lesson_links_the_glossary_where_there_is_a_term(stem):
    text = SOURCES[stem].read_text(encoding="utf-8")
    assert dead_anchors(text, "../docs/glossary.md", ANCHORS) == []
    assert "](../docs/glossary.md#" in text


def test_a_dead_anchor_is_noticed():
    text = "[a](../docs/glossary.md#swish), [b](../docs/glossary.md#swush), [c](../docs/glossary.md)"
    assert dead_anchors(text, "../docs/glossary.md", ANCHORS) == ["swush"]
    assert dead_anchors("[d](#top-1) [e](#top)", "", [anchor("Top-1")]) == ["top"]
    assert anchor("Class-activation map") == "class-activation-map"
