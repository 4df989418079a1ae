"""A training step with memory that stays with the process, against the C library's own ways."""

from __future__ import annotations

from collections.abc import Iterator

from effnet_helpers.machine import keep_freed_memory

from .harness import Line, Measured, Row, Settings, Side, interleaved
from .lab import ALLOCATOR_AS_IT_IS, in_child


def _run(settings: Settings) -> Iterator[Line]:
    options = {"image_size": 32, "batch_size": 4} if settings.tiny else {"image_size": 256, "batch_size": 32}
    peaks: dict[str, list[float]] = {"ours": [], "theirs": []}

    def side(name: str, environment: dict[str, str]) -> Side:
        def steps() -> float:
            done = in_child("step", environment=environment, **options)
            peaks[name].append(done["peak_mb"])
            return 1000 * done["seconds"]

        return steps

    sides = {"ours": side("ours", {}), "theirs": side("theirs", ALLOCATOR_AS_IT_IS)}
    times = interleaved(sides, settings.rounds, warm_up=False)
    memory = Measured(peaks)
    detail = "the whole network trains, Lite0, in batches of {batch_size} of {image_size} pixels".format(**options)
    if not keep_freed_memory():
        detail += "; this is not glibc, or it is set up from outside, so both sides are alike"
    what = "training with freed memory kept, against the C library's default"
    yield times.compare(f"{what}: time", "ours", "theirs", None, "ms/image", detail=detail)
    yield memory.compare(f"{what}: peak memory", "ours", "theirs", None, "MB", detail=detail)


ROW = Row("step", "a training step, with freed memory kept or not", lambda settings: settings.rounds * 1.2, _run)
