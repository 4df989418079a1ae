"""Feature extraction against the number of images, their size and the variant: time and memory, without a peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from effnet_helpers import evaluation
from effnet_helpers.machine import clear_cache

import pandas as pd

from .harness import Line, Measured, Row, Settings, Side, interleaved
from .lab import in_child, own_cache


@dataclass(frozen=True)
class Point:
    """What is extracted."""

    images: int = 400
    image_size: int = 192
    variant: str = "Lite0"


POINTS = tuple(
    dict.fromkeys(
        [
            *(Point(images=images) for images in (200, 400, 800)),
            *(Point(image_size=size) for size in (128, 192, 256)),
            *(Point(variant=variant) for variant in ("Lite0", "Lite1", "Lite2")),
        ]
    )
)
TINY = (Point(images=20, image_size=32), Point(images=40, image_size=32))


def _run(settings: Settings) -> Iterator[Line]:
    points = TINY if settings.tiny else POINTS
    peaks: dict[Point, list[float]] = {point: [] for point in points}

    def side(point: Point) -> Side:
        def extract() -> float:
            clear_cache()
            done = in_child("extract", **asdict(point))
            peaks[point].append(done["peak_mb"])
            return done["seconds"]

        return extract

    with own_cache():  # each measurement is a process of its own, which warms up by itself
        times = interleaved({point: side(point) for point in points}, settings.rounds, warm_up=False)
    memory = Measured(peaks)
    rows = [asdict(p) | {"seconds": times.median(p), "peak_mb": memory.median(p)} for p in points]
    folder = settings.folder if settings.tiny else evaluation.MEASURED
    pd.DataFrame(rows).round({"seconds": 2, "peak_mb": 0}).to_csv(folder / "growth.csv", index=False)
    for point in points:
        for name, unit, measured in (("time", "s", times), ("peak memory", "MB", memory)):
            detail = "; ".join(f"{key}={value}" for key, value in asdict(point).items())
            yield Line(
                f"{name} of features: {point.images} images of {point.image_size} pixels, {point.variant}",
                measured.median(point),
                None,
                unit,
                None,
                settings.rounds,
                f"{detail}; {measured.spread(point)}",
            )


ROW = Row("growth", "feature extraction against images, size, variant", lambda settings: settings.rounds * 1.7, _run)
