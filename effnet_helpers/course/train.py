"""What `effnet train` does: lessons 04 and 05 as one command, which goes on where it was after any interruption."""

from __future__ import annotations

import contextlib
import gc
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from effnet_helpers import data, evaluation, machine, models, outputs, preprocessing, records, runtime, training
from effnet_helpers.course import CourseError, train_trust
from effnet_helpers.course.display import audit_table, count_progress
from effnet_helpers.course.train_report import REPORT, Trained, write_report
from effnet_helpers.course.train_settings import FEW_VALIDATION_IMAGES, Settings, estimate, shortages
from effnet_helpers.course.train_state import answers_kept, is_seen, keep, remove, resumed
from effnet_helpers.data import ImageDataset
from effnet_helpers.runtime import keras
from effnet_helpers.specs import parse_spec

import numpy as np
import pandas as pd
from rich import progress
from rich.console import Console

READING, HEAD, FINE_TUNING, TRUST, TEST, FOLDS = "reading", "head", "fine-tuning", "when to trust it", "test", "folds"
HISTORIES = {HEAD: "head-history.csv", FINE_TUNING: "fine_tune-history.csv"}  # what `training` keeps of a phase


def train(
    settings: Settings, out: Path, console: Console, report: Path | None = None, resume: bool = False
) -> evaluation.Report:
    """Fine-tunes a classifier on pictures, and writes it, its card and a page on how it came to be.

    Where folds are wanted, they come after that, and then the page once more, with what they say. Where the environment
    names other processes, see `training.join_processes`, it is one training of them all: each runs this function, and
    the first of them shows and writes.

    Args:
        settings: What to train on, and how.
        out: The `.keras` file to write. While the training lasts, there is a folder of this name with the ending
            `.training` beside it.
        console: Where to show progress and results.
        report: The page to write; by default named as the model, ending in ".html".
        resume: Whether to go on with a training of the same settings that was interrupted, if there is one.

    Returns:
        The report on the test split.

    Raises:
        CourseError: If there is an unfinished training that may not be resumed, or one of other settings; or nothing to
            resume beside a model.
        ValueError: If a setting or a path cannot work, another process trains this model, or training diverges.
    """
    out = out.expanduser()
    report = (report or out.with_suffix(".html")).expanduser()
    models.check_save_path(out)
    outputs.check_free(REPORT, report)
    parse_spec(data.spec_of_path(settings.specification))
    cluster, folder = machine.find_cluster(), out.with_suffix(".training")
    with contextlib.nullcontext() if cluster and cluster.index else outputs.alone_in(folder):  # the first one writes
        return _train_to_the_end(settings, out, folder, console, report, resume)


def _train_to_the_end(
    settings: Settings, out: Path, folder: Path, console: Console, report: Path, resume: bool
) -> evaluation.Report:
    kept = resumed(folder, settings, resume)
    if resume and not kept and out.exists():
        ended = "its training has ended, or a new one was interrupted before it began"
        replaced = "without --resume a new one begins and replaces it"
        raise CourseError(f"{out} is there and nothing is left to go on with: {ended}; {replaced}")
    processes = training.join_processes()
    if processes is not None:
        processes.agree("What is left of an earlier training", json.dumps(kept and kept["pictures"]))
        console = console if processes.is_chief else Console(quiet=True)
    writes = processes is None or processes.is_chief
    if resume and not kept:
        console.print(f"Nothing to go on with in {folder}: a new training begins.", soft_wrap=True, markup=False)
    batch_size = training.use_device(settings.batch_size)
    if processes is not None:
        console.print(f"{processes.share[2]} devices share the images of each step.", highlight=False)
    runtime.set_seed(settings.seed)
    backbone = models.build_backbone(settings.variant, image_size=settings.image_size)
    blocks, block = models.block_names(backbone)[1:], settings.from_block
    records.expect(block is None or block in blocks, "--from-block", block, f"one of {', '.join(blocks)}")
    started = time.perf_counter()
    findings, everything = _read(settings, console)
    train_trust.alarm_classes(settings, everything)
    dataset, apart = train_trust.keep_apart(everything)
    if apart is not dataset:
        kept_apart = f"{apart.sizes['val']:,} validation images choose nothing and say when to trust the model."
        console.print(kept_apart, highlight=False, soft_wrap=True)
    reading = time.perf_counter() - started
    pictures = {split: everything.fingerprint(split) for split in everything.sizes}
    if kept and kept["pictures"] != pictures:
        raise CourseError(
            f"The pictures changed since the training in {folder} began: delete that folder to start afresh"
        )
    model, folds = models.add_head(backbone, dataset.num_classes), _folds(settings, everything, console)
    if kept:
        console.print(f"Going on with the training in {folder}.", markup=False, highlight=False, soft_wrap=True)
    else:
        expected = estimate(model, dataset, settings, batch_size, len(folds), processes)
        console.print(str(expected), highlight=False)
        if folds and settings.folds is None:
            few = f"A class has fewer than {FEW_VALIDATION_IMAGES} validation images, so {len(folds)} further models"
            console.print(f"{few} are scored on images they have not seen; --folds 0 leaves them out.", soft_wrap=True)
        for line in shortages(expected, batch_size, processes):
            console.print(line, highlight=False)
        kept = {"settings": asdict(settings), "pictures": pictures, "seconds": {READING: reading}}
        if writes:
            keep(folder, kept)
    if processes is not None:
        processes.wait()
        processes.agree("The folder of --out", str(is_seen(folder)))
    try:
        run = _Run(settings, batch_size, folder, kept, console, processes, writes)
        trained = _train(run, model, dataset, apart, pending=len(folds))
        card = {"class_names": dataset.class_names, "resize_mode": settings.resize_mode, "bits": dataset.bits}
        card |= {"trained_on": data.printable(dataset.provenance.title), "tested": trained.test.tally}
        if writes:
            models.save(model, out, **card, variant=settings.variant, trust=trained.trust)
            write_report(report, trained, settings, findings, dataset, out)
        console.print(f"{trained.verdict}\nOn test images: {trained.test}.", highlight=False, soft_wrap=True)
        console.print(f"The model: {out}\nThe report: {report}", soft_wrap=True, markup=False, highlight=False)
        if folds:
            del model, backbone  # a fold needs the memory
            trained = _cross_validate(run, trained, folds)
            if writes:
                write_report(report, trained, settings, findings, dataset, out)
            console.print(*trained.cross_validated, highlight=False, soft_wrap=True)
    except (KeyboardInterrupt, OSError):
        how = {"soft_wrap": True, "markup": False, "highlight": False}
        console.print(f"What was reached is in {folder}: the same command with --resume goes on.", **how)
        raise
    if writes:
        remove(folder)
    if processes is not None:
        processes.wait()  # who is gone early is taken for lost
    return trained.test


class _Run(NamedTuple):
    """A training as it goes on: what decides it, where its state is kept and shown, who takes part, who writes."""

    settings: Settings
    batch_size: int
    folder: Path
    kept: dict[str, Any]
    console: Console
    processes: training.Processes | None
    writes: bool

    def say(self, sentence: object) -> None:
        self.console.print(str(sentence), highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Shows that something runs, and keeps how long it took and what it brought."""
        columns = progress.SpinnerColumn(), progress.TextColumn("{task.description}"), progress.TimeElapsedColumn()
        if name in HISTORIES:
            columns = *columns, _LastValidation(self.folder / HISTORIES[name])
        started, is_terminal, seconds = time.perf_counter(), self.console.is_terminal, self.kept["seconds"]
        if not is_terminal:
            self.console.print(f"{time.strftime('%H:%M:%S')} {name}", highlight=False)
        with progress.Progress(*columns, console=self.console, disable=not is_terminal, transient=True) as shown:
            shown.add_task(name, total=None)
            try:
                yield
            finally:
                seconds[name] = seconds.get(name, 0) + time.perf_counter() - started
                if self.writes:
                    keep(self.folder, self.kept)


def _train(run: _Run, model: keras.Model, dataset: ImageDataset, apart: ImageDataset, pending: int) -> Trained:
    """Goes through the phases; each starts from what is kept of those before, so that it may have been interrupted."""
    head, recipe, fine = _fit(run, model, dataset, run.folder, run.phase, run.say)
    with run.phase(TRUST):
        trust = train_trust.fit(model, dataset, apart, run.settings, run.batch_size, run.processes)
    with run.phase(TEST):
        test = _tested(run, model, dataset)
    for name, fit in ((HEAD, head), (FINE_TUNING, fine)):  # what a killed process did is in the checkpoints alone
        run.kept["seconds"][name] = max(run.kept["seconds"][name], fit.preparation_seconds + fit.seconds)
    return Trained(head, recipe, fine, trust, test, None, pending, dict(run.kept["seconds"]))


def _cross_validate(run: _Run, trained: Trained, folds: list[ImageDataset]) -> Trained:
    """Trains without each part of the images in turn, and adds what is then said of that part."""
    answers = []
    for number, fold in enumerate(folds):
        with run.phase(f"{FOLDS} {number + 1} of {len(folds)}"):
            gc.collect()  # a Keras model holds on to itself: the one before would stand beside the next
            answers.append(_answers_of_fold(run, number, fold))
    probabilities, labels = (np.concatenate(each) for each in zip(*answers, strict=True))
    pooled = evaluation.report_from_probabilities(probabilities, labels, folds[0].class_names)
    return replace(trained, folds=(pooled, len(folds)), pending=0, seconds=dict(run.kept["seconds"]))


def _fit(
    run: _Run,
    model: keras.Model,
    dataset: ImageDataset,
    folder: Path,
    phase: Callable[[str], contextlib.AbstractContextManager] = contextlib.nullcontext,
    say: Callable[[object], object] = str,
) -> tuple[training.Fit, training.Recipe, training.Fit]:
    """Fits the head, chooses what else trains, and trains that."""
    settings, common = (
        run.settings,
        {"batch_size": run.batch_size, "checkpoint_dir": folder, "processes": run.processes},
    )
    common |= {"balance": settings.balance, "seed": settings.seed}
    with phase(HEAD):
        _restart_random_streams(model, settings.seed)
        head = training.fit_head(model, dataset, **common)
    say(f"The head alone: {head.val_accuracy:.1%} of validation images right.")
    chosen = {name: getattr(settings, name) for name in ("steps", "from_block", "learning_rate")}
    recipe = training.choose_recipe(dataset.sizes["train"], head.val_accuracy, **chosen, batch_size=run.batch_size)
    say(recipe)
    with phase(FINE_TUNING):
        models.unfreeze_blocks(model, from_block=recipe.from_block)
        _restart_random_streams(model, settings.seed + 1)
        augment = preprocessing.AUGMENTATIONS.get(settings.augment)
        how = {"steps": recipe.steps, "learning_rate": recipe.learning_rate, "augment": augment}
        fine = training.fine_tune(model, dataset, **how, **common)
    return head, recipe, fine


def _tested(run: _Run, model: keras.Model, dataset: ImageDataset) -> evaluation.Report:
    """What the model says of test images, of which each process looks at its share."""
    if run.processes is None:
        return evaluation.evaluate(model, dataset, "test", run.batch_size)
    probabilities = training.predict_in_shares(model, dataset, "test", run.batch_size, run.processes)
    return evaluation.report_from_probabilities(probabilities, dataset.labels("test"), dataset.class_names)


def _folds(settings: Settings, dataset: ImageDataset, console: Console) -> list[ImageDataset]:
    """The same pictures with other test splits, which together hold all of them; none where they are not wanted."""
    count = settings.folds_for(dataset)
    try:
        return [_load(settings, fold=(number, count)) for number in range(count)]
    except ValueError as error:
        if settings.folds:
            raise
        console.print(f"No folds, although classes have few images: {error}", highlight=False, soft_wrap=True)
        return []


def _answers_of_fold(run: _Run, number: int, dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
    """Trains without one part of the images; probabilities and labels of that part, kept once they are known."""
    settings, processes, folder = run.settings, run.processes, run.folder / f"fold-{number}"
    kept = folder.with_suffix(".npz")
    answers = answers_kept(kept)
    missing = int(answers is None)
    if not (missing if processes is None else processes.sum(np.array([missing], float))[0]):
        return answers
    runtime.set_seed(settings.seed)  # whichever folds were answered before in this process
    backbone = models.build_backbone(settings.variant, image_size=settings.image_size)
    model = models.add_head(backbone, dataset.num_classes)
    _fit(run, model, dataset, folder)
    report = _tested(run, model, dataset)
    if run.writes:
        new = kept.with_suffix(".new.npz")
        np.savez(new, probabilities=report.probabilities, labels=report.labels)
        outputs.onto_disk(new)
        new.replace(kept)
    return report.probabilities, report.labels


def _read(settings: Settings, console: Console) -> tuple[data.Audit, ImageDataset]:
    with count_progress("reading", console) as shown:
        findings = data.audit(settings.specification, progress=shown)
    if len(findings.findings):
        console.print(audit_table(findings.summary))
    console.print(findings.headline, soft_wrap=True, markup=False, highlight=False)
    dataset = _load(settings)
    sizes = ", ".join(f"{size:,} {split}" for split, size in dataset.sizes.items())
    console.print(f"{dataset.num_classes} classes; images: {sizes}", highlight=False)
    return findings, dataset


def _load(settings: Settings, fold: tuple[int, int] | None = None) -> ImageDataset:
    how = ("image_size", "resize_mode", "split_seed", "group_by", "limit_per_class")
    spec = data.spec_of_path(settings.specification)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", data.LeftOutWarning)  # the audit has said it
        return data.load(spec, **{name: getattr(settings, name) for name in how}, fold=fold)


def _restart_random_streams(model: keras.Model, seed: int) -> None:
    """Lets dropout and stochastic depth draw the same whatever ran before in this process, as after an interruption."""
    for number, layer in enumerate(model.layers):
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign([np.random.SeedSequence([seed, number]).generate_state(1)[0], 0])


class _LastValidation(progress.ProgressColumn):
    """The last line of the history that a training keeps."""

    max_refresh = 1.0  # seconds

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def render(self, task: progress.Task) -> str:
        if not self.path.is_file():
            return ""
        last = pd.read_csv(self.path).iloc[-1]
        return f"validation {last['epoch']:.0f}: {last['val_accuracy']:.1%} right"
