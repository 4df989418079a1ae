"""The words and figures of the page, as HTML: what the model is, and what it says of a picture."""

from __future__ import annotations

import base64
import io

from effnet_helpers.serving.answers import Answer, Opened, percent

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image

SHOWN = 5  # bars
HERE = "A picture stays on this computer: nothing is sent elsewhere, and it is deleted within a minute."
ELSEWHERE = (
    "A picture is sent to the computer that serves this page and nowhere else, and is deleted there within a minute."
)
# Gradio's own variables, so that light and dark follow the reader's choice. Verdicts differ by their mark, too.
CSS = """
.about h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
.about p { margin: 0 0 .2rem; }
.answer .verdict { border-left: .4rem solid #777; padding: .3rem .8rem; margin: 0 0 .8rem; }
.answer .verdict p, .answer .small, .answer figcaption { font-size: .9rem; margin: .2rem 0 0; }
.answer .verdict strong { font-size: 1.15rem; }
.answer .clear { border-left-color: #009E73; } .answer .clear strong::before { content: "✓ "; }
.answer .doubtful { border-left-color: #E69F00; } .answer .doubtful strong::before { content: "? "; }
.answer .none, .answer .alarm { border-left-color: #D55E00; }
.answer .none strong::before { content: "✗ "; } .answer .alarm strong::before { content: "! "; }
.answer .bars { list-style: none; margin: 0 0 .8rem; padding: 0; }
.answer .bars li { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; margin: 0 0 .4rem; }
.answer .bars .name { overflow-wrap: anywhere; }
.answer .bars .track { grid-column: 1 / -1; height: .6rem; background: var(--border-color-primary); }
.answer .bars .track span { display: block; height: 100%; background: #0072B2; }
.dark .answer .bars .track span { background: #56B4E9; }
.answer figure { display: flex; flex-wrap: wrap; align-items: center; gap: .8rem; margin: 0; }
.answer figcaption { flex: 1; min-width: 10rem; }
footer { display: none !important; }
"""

_environment = Environment(
    loader=PackageLoader("effnet_helpers.serving"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_environment.filters["percent"] = percent


def about(opened: Opened, is_local: bool = True) -> str:
    """What stands above: what the model is, and where pictures go.

    Args:
        opened: The model.
        is_local: Whether only browsers of this computer see the page.
    """
    template = _environment.get_template("about.html.j2")
    return template.render(about=opened.about, privacy=HERE if is_local else ELSEWHERE)


def nothing_yet() -> str:
    """What stands in the answer's place before there is one."""
    return _environment.get_template("answer.html.j2").render()


def refused(sentence: str) -> str:
    """What stands there for a file that was not read."""
    return _environment.get_template("answer.html.j2").render(refusal=sentence)


def answered(answer: Answer) -> str:
    """What stands there for a picture: the verdict, bars, and the picture, bright where the answer came from."""
    name, _ = answer.probabilities[0]
    seen, caption = "The picture as the model saw it", answer.why_no_map
    if answer.brightest:
        caption = f"Where it looked: what is bright spoke for {name}."
        seen += f"; most that spoke for {name} lies {answer.brightest}"
    elif answer.evidence is not None:
        caption = f"No place in particular spoke for {name}."
    template = _environment.get_template("answer.html.j2")
    picture = _embedded(answer.spotlight)
    return template.render(answer=answer, shown=SHOWN, picture=picture, alternative=f"{seen}.", caption=caption)


def _embedded(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
