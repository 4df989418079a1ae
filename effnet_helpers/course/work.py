"""Works through notebooks, several at once, with progress, a closing table, and Ctrl-C that ends them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from effnet_helpers.course.display import LiveProgress, duration, summary_table
from effnet_helpers.course.execute import CellCallback, Outcome
from effnet_helpers.course.kernels import Kernels
from effnet_helpers.machine import usable_cores

from rich.console import Console

Work = Callable[[CellCallback, Kernels], Outcome]


@dataclass(frozen=True)
class Effort:
    """How many notebooks ran at once, how long it took in all, and the share of the usable cores they kept busy."""

    notebooks_at_once: int
    seconds: float
    cores: int
    share_of_cores_busy: float

    def __str__(self) -> str:
        at_once = f"{self.notebooks_at_once} notebook{'s' * (self.notebooks_at_once > 1)} at once"
        return f"{duration(self.seconds)} min, {at_once}, {self.share_of_cores_busy:.0%} of {self.cores} cores busy."


def run_all(
    work: dict[str, Work],
    console: Console,
    at_once: int = 1,
    report: Callable[[dict[str, Outcome], Effort], None] = lambda outcomes, effort: None,
    seconds_before: float = 0.0,
    cores: int | None = None,
) -> dict[str, Outcome]:
    """Works through notebooks with progress and a closing table; one that fails does not stop the others.

    Args:
        work: What to do, by the name to show. Side by side the last ones begin: later lessons take longer, and beside
            the end of what was begun last nothing else runs.
        console: Where progress is shown.
        at_once: How many run side by side.
        report: Is told, whenever a notebook has ended, what came of all that have.
        seconds_before: For how long the run went on before it was interrupted.
        cores: How many there are; those of this machine by default.

    Returns:
        What came of each, in the order of `work`.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when all kernels have ended, and what they reached is reported and shown.
    """
    kernels, ended, started = Kernels(), {}, time.perf_counter() - seconds_before
    stopped = threading.Event()
    at_once, cores = min(at_once, len(work)), cores or usable_cores()

    def so_far() -> tuple[dict[str, Outcome], Effort]:
        seconds = time.perf_counter() - started
        busy = sum(outcome.usage.cpu_seconds for outcome in ended.values()) / seconds / cores
        effort = Effort(at_once, round(seconds, 1), cores, round(busy, 3))
        return {label: ended[label] for label in work if label in ended}, effort

    def collect(futures: Iterable[Future]) -> None:
        for future in futures:
            label = running.pop(future)
            if isinstance(future.exception(), CancelledError):
                continue
            ended[label] = future.result()
            display.mark_ended(label, ended[label])
            report(*so_far())

    try:
        with LiveProgress(work, console) as display, ThreadPoolExecutor(at_once) as pool:

            def begin(each: str) -> Outcome:
                if stopped.is_set():
                    raise CancelledError
                try:
                    return work[each](display.begin(each), kernels)
                except BaseException:
                    stopped.set()  # here, before this thread begins the next one
                    raise

            order = list(work) if at_once == 1 else reversed(work)
            running = {pool.submit(begin, each): each for each in order}
            try:
                while running:
                    # With a timeout, since without one Windows does not let Ctrl-C through.
                    collect(wait(running, timeout=1, return_when=FIRST_COMPLETED).done)
            except BaseException:
                kernels.stop()
                pool.shutdown(cancel_futures=True)
                collect([future for future in running if not future.cancelled() and not future.exception()])
                raise
    finally:
        outcomes, effort = so_far()
        console.print(summary_table(outcomes))
        console.print(str(effort), highlight=False)
    return outcomes
