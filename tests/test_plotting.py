import io
import itertools

from effnet_helpers import evaluation, plotting
from effnet_helpers.plotting import style

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.text import Text
from nbconvert import HTMLExporter
from PIL import Image

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (250, 250, 3), dtype=np.uint8)  # the hardest picture to compress
LABELS = np.array([0, 0, 0, 1, 1, 2])
REPORT = evaluation.report_from_probabilities(np.eye(3)[[0, 0, 1, 1, 1, 1]], LABELS, ("hound", "poodle", "$5 and $6"))
HISTORY = {"accuracy": [0.4, 0.61], "val_accuracy": [0.3, 0.52], "loss": [1.0, 0.5], "val_loss": [1.1, 0.7]}
FACTORS = {"depth": [1.0, 1.23], "width": [1.0, 1.1], "resolution": [224, 258]}
PUBLISHED = {"depth": [1.0, 1.25], "width": [1.0, 1.0], "resolution": [224, 240]}
COSTS = pd.DataFrame(
    {
        "name": ["B1", "B0", "ResNet-50"],
        "family": ["EfficientNet", "EfficientNet", "ResNet"],
        "multiply_adds": [0.70e9, 0.39e9, 4.1e9],
        "top1": [79.1, 77.1, 76.0],
    }
)
SERVED = pd.DataFrame(
    {"precision": ["Keras", "int8"], "milliseconds": [130.2, 3.456], "megabytes": [13.9, 4.0]},
    index=["model(x)", "LiteRT int8"],
)
DRAWS = pd.DataFrame({"method": ["head"] * 4, "labels": [10, 10, 20, 20], "accuracy": [0.5, 0.7, 0.8, 0.9]})
POINTS = [(100, 64, "Lite0"), (200, 64, "Lite0"), (100, 128, "Lite0"), (100, 64, "Lite1")]
GROWTH = pd.DataFrame(POINTS, columns=["images", "image_size", "variant"]).assign(
    seconds=[1.0, 2.0, 4.0, 1.5], peak_mb=[500.0, 510.0, 700.0, 560.0]
)
RUNS = pd.DataFrame(
    [
        (name, which, test)
        for name, tests in {"a": (0.8, 0.9, 0.6), "b": (0.6, 0.6, None)}.items()
        for which, test in zip(("base", "mixup", "SAM"), tests, strict=True)
    ],
    columns=["set", "candidate", "test"],
)
CHANGED = pd.DataFrame(
    [("head", "", 0, 0.9, 0.95), ("head", "blur", 0.5, 0.8, 0.81), ("head", "blur", 1, 0.4, 0.5)],
    columns=["model", "change", "strength", "accuracy", "coverage"],
)
BEFORE, AFTER = np.zeros((8, 8)), np.eye(8) * np.arange(8)

PLANS = {
    "time": ({"one core": [3.0, 0.3, 0.03], "a GPU": [1.0, 0.5, 0.1]}, {"one core": ([1, 2], [3.1, 1.6])}, "s"),
    "speed": ({"both": [1.0, 10.0, 1000.0]}, {}, ""),
}
FIGURES = {
    "photos_with_predictions": (
        lambda: plotting.photos_with_predictions(
            [NOISE, NOISE[:100]], ["cat", "cup"], [[("tabby", 0.875), ("lynx", 0.1)], [("espresso", 0.94)]]
        ),
        ["cat: tabby 0.88, lynx 0.10", "cup: espresso 0.94"],
    ),
    "robustness": (
        lambda: plotting.robustness(CHANGED, promised=0.9),
        [
            "blur, accuracy of head: 0.90, 0.80, 0.40; blur, coverage of head: 0.95, 0.81, 0.50",
            "Promised coverage 0.90",
        ],
    ),
    "image_grid": (
        lambda: plotting.image_grid([NOISE] * 7, ["true a\nsaid b"] * 7, heading="Mistakes"),
        ["Mistakes, 7 shown", "true a, said b"],
    ),
    "image_grid with detail": (
        lambda: plotting.image_grid([NOISE, NOISE], ["crop", "pad"], detail=40),
        ["crop; pad", "central 40 × 40 pixels"],
    ),
    "activation_maps": (
        lambda: plotting.activation_maps(
            [NOISE, NOISE],
            {"before": [BEFORE, BEFORE], "after": [AFTER, AFTER]},
            ["flaw", "none"],
            [(40, 25), None],
        ),
        [
            "flaw: known place: 10 % from the left, 16 % from the top; before strongest",
            "after strongest at 94 % from the left, 94 % from the top. none: before",
        ],
    ),
    "learning_curves": (
        lambda: plotting.learning_curves({"head": HISTORY, "short": {"accuracy": [0.7]}}),
        [
            "accuracy of head, 2 points: training 0.4 to 0.61, validation 0.3 to 0.52",
            "accuracy of short, 1 points: training 0.7 to 0.7; loss of head",
            "loss of head, 2 points: training 1 to 0.5, validation 1.1 to 0.7.",
        ],
    ),
    "learning_curves with marks": (
        lambda: plotting.learning_curves({"head": HISTORY}, num_classes=3, kept=2),
        ["guessing has a loss of 1.10; kept is epoch 2."],
    ),
    "learning_curves of nothing better": (
        lambda: plotting.learning_curves({"tuned": {"val_loss": [1.5]}}, "step", num_classes=2, kept=0),
        ["by step. loss of tuned, 1 points", "a loss of 0.69; kept is what it began with."],
    ),
    "confusion": (
        lambda: plotting.confusion(REPORT),
        ["3 classes", "66.7 % of 6 right", "hound taken for poodle 1 times", "$5 and $6 taken for poodle 1 times"],
    ),
    "per_class_recall": (
        lambda: plotting.per_class_recall(REPORT),
        ["$5 and $6 0.00 of 1 images, hound 0.67 of 3 images, poodle 1.00 of 2 images", "All classes together: 0.67"],
    ),
    "per_class_recall of the lowest": (
        lambda: plotting.per_class_recall(REPORT, most=1),
        ["the 1 lowest of 3: $5 and $6 0.00 of 1 images. All"],
    ),
    "accuracy_comparison": (
        lambda: plotting.accuracy_comparison(
            [("scratch", 0.41, 0.35, 0.48), ("head", 0.815, 0.755, 0.863)], chance=1 / 3
        ),
        ["scratch 41.0 % (35.0–48.0 %)", "head 81.5 % (75.5–86.3 %)", "chance 33.3 %"],
    ),
    "compound_scaling": (
        lambda: plotting.compound_scaling(["B0", "B1"], FACTORS, PUBLISHED),
        ["depth: B0 1 → 1, B1 1.23 → 1.25", "resolution: B0 224 → 224, B1 258 → 240"],
    ),
    "block_diagram": (
        plotting.block_diagram,
        ["24 channels are expanded to 144", "144 → 6 → 144 numbers", "ReLU6 in place of swish"],
    ),
    "pixel_values": (
        lambda: plotting.pixel_values(np.arange(120.0).reshape(10, 12), (2, 3), side=2),
        ["10 × 12 pixels", "row 2, column 3", "row by row: 27 28; 39 40."],
    ),
    "functions": (
        lambda: plotting.functions({"ReLU": [0.0, 0.0, 8.0], "ReLU6": [0.0, 0.0, 6.0]}, [-8, 0, 8]),
        ["what goes in from -8 to 8: ReLU 0 to 8; ReLU6 0 to 6"],
    ),
    "descent": (
        lambda: plotting.descent(
            np.add.outer([0.0, 4.0], [1.0, 0.0, 9.0]), [-1, 0, 3], [0, 2], {"slow": np.array([[3, 2], [1, 0.5]])}
        ),
        ["lowest, 0.00, at (0.00, 0.00)", "slow, 1 steps: (3.00, 2.00) to (1.00, 0.50)"],
    ),
    "accuracy_versus_cost": (
        lambda: plotting.accuracy_versus_cost(COSTS),
        ["EfficientNet: B0 77.1 % at 0.39, B1 79.1 % at 0.7; ResNet: ResNet-50 76 % at 4.1"],
    ),
    "latency": (
        lambda: plotting.latency(pd.DataFrame({1: [24.12, 60.0], 32: [8.3, 20.0]}, index=["Lite0", "B0"])),
        ["Lite0: 24.1 ms at batch 1, 8.3 ms at batch 32", "B0: 60 ms at batch 1"],
    ),
    "image_grid with places": (
        lambda: plotting.image_grid([NOISE, NOISE], ["nominal", "flawed"], detail=8, places=[(0, 0), (20, 20)]),
        ["nominal; flawed. Below each, the circled 8 × 8 pixels enlarged."],
    ),
    "throughput": (
        lambda: plotting.throughput({"decode": 1640.2, "cache": 51000.0}, {"forward": 120.3}),
        ["of the pipeline: decode 1,640, cache 51,000; of the network: forward 120."],
    ),
    "serving": (
        lambda: plotting.serving(SERVED),
        ["image and size of the file: model(x) 130 ms and 13.9 MB; LiteRT int8 3.46 ms and 4 MB."],
    ),
    "growth": (
        lambda: plotting.growth(GROWTH),
        ["images, 100: 1 s and 500 MB, 200: 2 s and 510 MB", "by variant, Lite0: 1 s and 500 MB, Lite1: 1.5 s"],
    ),
    "outlook": (
        lambda: plotting.outlook(PLANS, [1, 10, 1000], "devices", {"waits": (10, 30.0)}),
        [
            "time, one core (measured from 1 to 2): 3 at 1, 0.03 at 1,000; time, a GPU (not measured): 1 at 1",
            "speed, both (not measured): 1 at 1, 1e+03 at 1,000; at 10: waits.",
        ],
    ),
    "label_curve": (
        lambda: plotting.label_curve(DRAWS, {"CLIP": (20, 0.975)}, again=(20, 0.88)),
        ["head: 10 labels 0.600, 20 labels 0.850", "CLIP: 0.975 with 20", "measured again: 0.880 with 20"],
    ),
    "paired_differences": (
        lambda: plotting.paired_differences(evaluation.paired_differences(RUNS, ["mixup", "SAM", "never run"])),
        ["recipe, over paired runs: mixup +5.0 (-58.5 to +68.5; 2 runs); SAM -20.0 (one run; 1 runs)."],
    ),
    "schedule": (
        lambda: plotting.schedule([1e-5, 3e-4, 2e-4]),
        ["over 3 steps: 1e-05 at the first, 0.0003 at its peak in step 2, 0.0002 at the last"],
    ),
}


def test_a_plan_is_drawn_solid_dashed_and_dotted_as_far_as_it_was_measured(monkeypatch):
    drawn = []

    def look(fig, alt):
        lines = [line for line in fig.axes[0].lines if len(line.get_xdata()) > 1 and line.get_linestyle() != "None"]
        drawn.extend((line.get_xdata()[0], line.get_xdata()[-1], line.get_linestyle()) for line in lines)
        plt.close(fig)

    monkeypatch.setattr(style, "show", look)
    plotting.outlook({"time": ({"one core": [1, 10, 1000]}, {"one core": ([1, 2], [1, 2])}, "s")}, [1, 10, 1000], "n")
    assert [(low, high) for low, high, _ in drawn] == [(1, 2), (2, 20), (20, 1000)]
    assert drawn[0][2] == "-"
    assert drawn[1][2] != "-"


@pytest.fixture
def shown(monkeypatch):
    """Collects (PNG, alternative text) of every figure instead of showing it."""
    figures = []

    def collect(fig, alt):
        figures.append((style._png(fig), alt))
        plt.close(fig)

    monkeypatch.setattr(style, "show", collect)
    return figures


def tick_and_other_texts(fig):
    return {text.get_text() for text in fig.findobj(Text)}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_small_and_its_alternative_text_carries_the_values(shown, name):
    draw, expected = FIGURES[name]
    assert draw() is None
    [(png, alt)] = shown
    for words in expected:
        assert words in alt
    assert len(png) < 150_000
    width, height = Image.open(io.BytesIO(png)).size
    assert 400 <= width <= 900
    assert height <= 900


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_closed_and_print_nothing_outside_a_notebook(name, capsys):
    FIGURES[name][0]()
    assert plt.get_fignums() == []
    assert capsys.readouterr().out == ""


def test_reader_settings_stay(shown):
    before = dict(matplotlib.rcParams)
    plotting.throughput({"decode": 10.0})
    assert dict(matplotlib.rcParams) == before


def test_predictions_may_be_objects(shown):
    class Prediction:
        class_name, wordnet_id, probability = "espresso", "n07920052", 0.5

    plotting.photos_with_predictions([NOISE], ["cup"], [[Prediction()]])
    assert "cup: espresso 0.50" in shown[0][1]


def test_many_classes_keep_a_readable_size(shown):
    labels = np.arange(120).repeat(2)
    report = evaluation.report_from_probabilities(np.eye(120)[labels], labels, [f"breed {i}" for i in range(120)])
    plotting.confusion(report)
    plotting.per_class_recall(report)
    assert "no error" in shown[0][1]
    assert "the 20 lowest of 120" in shown[1][1]
    assert all(max(Image.open(io.BytesIO(png)).size) <= 900 for png, _ in shown)


def test_counts_stand_in_the_confusion_matrix(monkeypatch):
    texts = []
    monkeypatch.setattr(style, "show", lambda fig, alt: (texts.append(tick_and_other_texts(fig)), plt.close(fig)))
    plotting.confusion(REPORT)
    assert {"0", "1", "2", "hound", "poodle", "$5 and $6"} <= texts[0]


def test_curve_names_do_not_overlap(monkeypatch):
    heights = []

    def measure(fig, alt):
        fig.canvas.draw()
        boxes = [Text.get_window_extent(label) for label in fig.axes[0].texts]  # without the leader line
        heights.extend(sorted((box.y0, box.y1) for box in boxes))
        plt.close(fig)

    monkeypatch.setattr(style, "show", measure)
    plotting.label_curve(pd.concat(DRAWS.assign(method=name) for name in ("first", "second", "third")), {})
    assert len(heights) == 3
    assert all(lower[1] <= upper[0] for lower, upper in itertools.pairwise(heights))


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_alternative_text_is_refused_and_closed(alt):
    fig, _ = plt.subplots()
    with pytest.raises(ValueError, match="alt: expected a sentence"):
        plotting.show(fig, alt)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plotting.image_grid([NOISE], ["a", "b"]), r"images and titles and places: .*'images': 1, 'titles': 2"),
        (lambda: plotting.image_grid([], []), "equal lengths above 0"),
        (lambda: plotting.learning_curves({"head": {"auc": [1]}}), r"history of 'head': .*accuracy or loss.*\['auc'\]"),
        (lambda: plotting.learning_curves({str(i): HISTORY for i in range(7)}), "expected 1 to 6. Received: 7"),
        (lambda: plotting.throughput({"decode": 0.0}), "rates above 0"),
        (lambda: plotting.schedule([]), "at least one step"),
        (lambda: plotting.pixel_values(NOISE[..., 0], (246, 0)), r"a square of 1 to 12 inside \(250, 250\)"),
        (lambda: plotting.functions({}, [0.0]), "number of functions: expected 1 to 6"),
        (lambda: plotting.functions({"ReLU": [0.0]}, [0.0, 1.0]), r"number of values: .*2 each.*{'ReLU': 1}"),
        (lambda: plotting.descent(np.eye(2), [0], [0, 1], {"a": np.eye(2)}), r"shape of losses: expected \(2, 1\)"),
        (lambda: plotting.accuracy_versus_cost(COSTS[:0]), "families: expected 1 to 6 of them"),
        (lambda: plotting.block_diagram(channels=144), "sizes of the block: .*expanded above channels"),
        (lambda: plotting.growth(GROWTH[:3]), "variant: expected two values or more"),
        (lambda: plotting.outlook({}, [1], "n"), "panels: expected one or more"),
        (lambda: plotting.outlook({"a": ({"b": [0.0]}, {}, "s")}, [1], "n"), "line 'b': expected 1 numbers above 0"),
        (lambda: plotting.serving(SERVED.assign(megabytes=0.0)), "rows above 0"),
        (lambda: plotting.robustness(CHANGED[CHANGED["change"] != ""]), "each with images as they are"),
    ],
)
def test_bad_input_is_named_and_leaves_no_figure(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
    assert plt.get_fignums() == []


def test_notebook_and_its_html_carry_the_alternative_text(run_cells):
    notebook = run_cells("from effnet_helpers import plotting", "plotting.throughput({'decode & resize': 1640.0})")
    assert notebook.cells[0].outputs == []
    [output] = notebook.cells[1].outputs
    alt = "Images per second of the pipeline: decode & resize 1,640."
    assert output.data["text/plain"] == alt
    for template in ("lab", "classic"):
        page, _ = HTMLExporter(template_name=template).from_notebook_node(notebook)
        [image] = BeautifulSoup(page, "html.parser").find_all("img")
        assert image["alt"] == alt
        assert image["src"].startswith("data:image/png;base64,iVBOR")
