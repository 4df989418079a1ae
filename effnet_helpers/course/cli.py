"""The command `effnet`. What a command needs is imported inside it, so that `effnet --help` answers at once."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from effnet_helpers.course import ROOT, CourseError
from effnet_helpers.course.refusals import FAILED, Commands, naming, writing

import typer
from rich.console import Console

AUDIT, TABLE = Path("audit.csv"), Path("predictions.csv")
CLUSTER_HELP = "host:port of all processes on several machines, commas between, the same for each."
MODEL_HELP = "A .keras, .tflite or .onnx file or the folder of a SavedModel, its .json beside it."
OUT_HELP = "The table to write; an earlier one of this command that nobody changed is replaced."


app = typer.Typer(
    cls=Commands,
    help="Builds, runs and checks the notebooks of the EfficientNet fine-tuning course.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# The options that several commands share.
NOTEBOOKS_HELP = "Numbers, names or their beginnings: 4, 04, 04_head, head. All if none."
Notebooks = Annotated[list[str] | None, typer.Argument(metavar="[NOTEBOOK]...", help=NOTEBOOKS_HELP)]
ROOT_HELP = "The checkout to work in, or a folder that `effnet notebooks` laid out."
ROOT_DEFAULT = "that of this package, else around here"
Root = Annotated[Path, typer.Option(help=ROOT_HELP, resolve_path=True, show_default=ROOT_DEFAULT)]
PROFILE_HELP = "quick, or a file in notebooks/profiles/: smoke, full."
Profile = Annotated[str | None, typer.Option(help=PROFILE_HELP, show_default="quick")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Sets a parameter wherever it exists; repeatable."),
]
JOBS_HELP = "Notebooks side by side; cells that measure time run alone."
JOBS_DEFAULT = "2, or 1 with one core, little memory or a GPU"
Jobs = Annotated[
    int | None, typer.Option("-j", "--jobs", min=1, metavar="N", help=JOBS_HELP, show_default=JOBS_DEFAULT)
]
VALUES_HELP = "Values to go through: steps=60,120; several lists in brackets, a text with a comma in double quotes."
Values = Annotated[list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE,VALUE", help=VALUES_HELP)]
SWEEP_JOBS_HELP = "Notebooks side by side on this machine; cells that measure time run alone."
JobsOfSweep = Annotated[
    int | None,
    typer.Option("-j", "--jobs", min=1, metavar="N", help=SWEEP_JOBS_HELP, show_default="by cores and free memory"),
]
SCHEDULER_HELP = "Run on the workers of this Dask scheduler: tcp://host:8786."
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help=SCHEDULER_HELP, show_default="workers of this machine")
]
RESUME_HELP = "Go on with a run that was interrupted or failed: what ended well is not run again."
Name = Annotated[str | None, typer.Option(help="The folder under runs/.", show_default="time and profile")]
KEEP_HELP = "Execute nothing where no code has changed: only prose and what all notebooks begin with are written anew."


@app.command()
def run(
    notebooks: Notebooks = None,
    profile: Profile = None,
    parameter: Assignments = None,
    name: Name = None,
    jobs: Jobs = None,
    resume: Annotated[str | None, typer.Option(metavar="NAME", help=RESUME_HELP)] = None,
    root: Root = ROOT,
) -> None:
    """Runs notebooks and leaves their results, pages and figures in runs/NAME/."""
    from effnet_helpers.course import profiles
    from effnet_helpers.course.run import default_name, run_series

    if resume is not None:
        if name not in (None, resume):
            raise CourseError(f"A run that goes on keeps its name, {resume}. Received: --name {name}")
        name, chosen, profile, given = profiles.resumed(root, resume, notebooks or [], profile, parameter or [])
    else:
        profile = profile or profiles.QUICK
        chosen = profiles.select(profiles.notebooks(root), notebooks or [])
        given = profiles.resolve(root, chosen, profile, parameter or [])
        name = name or default_name(root, profile)
    with naming(root / "runs" / name):
        _exit_1_unless_ok(*run_series(root, chosen, {name: given}, profile, Console(), jobs, resume is not None))


@app.command()
def sweep(
    notebooks: Notebooks = None,
    profile: Profile = None,
    parameter: Values = None,
    name: Name = None,
    jobs: JobsOfSweep = None,
    resume: Annotated[str | None, typer.Option(metavar="NAME", help=RESUME_HELP)] = None,
    scheduler: Scheduler = None,
    root: Root = ROOT,
) -> None:
    """Runs notebooks for every combination of values: a table of all runs, means over seeds with intervals."""
    _sweep(root, notebooks, profile, parameter or [], name, jobs, resume, scheduler)


@app.command()
def seeds(
    notebooks: Notebooks = None,
    seeds: Annotated[str | None, typer.Option(help="Training seeds, commas between.", show_default="0,1,2")] = None,
    profile: Profile = None,
    parameter: Values = None,
    name: Name = None,
    jobs: JobsOfSweep = None,
    resume: Annotated[str | None, typer.Option(metavar="NAME", help=RESUME_HELP)] = None,
    scheduler: Scheduler = None,
    root: Root = ROOT,
) -> None:
    """Repeats notebooks over training seeds: `effnet sweep` with -p seed=0,1,2."""
    seeds = seeds or (None if resume else "0,1,2")
    if seeds and not all(seed.strip().isdecimal() for seed in seeds.split(",")):
        raise CourseError(f"--seeds expects whole numbers separated by commas. Received: {seeds!r}")
    given = [f"seed={seeds}"] if seeds else []
    _sweep(root, notebooks, profile, [*(parameter or []), *given], name, jobs, resume, scheduler)


@app.command()
def build(
    notebooks: Notebooks = None,
    check: Annotated[bool, typer.Option("--check", help="Execute nothing: say what is out of step.")] = False,
    exercises: Annotated[bool, typer.Option("--exercises", help="Only the exercises of these lessons.")] = False,
    keep_outputs: Annotated[bool, typer.Option("--keep-outputs", help=KEEP_HELP)] = False,
    root: Root = ROOT,
) -> None:
    """Builds lessons from notebooks/src/*.py, with the outputs of the quick profile, and their exercises."""
    from effnet_helpers.course import build as builder

    console, chosen = Console(), builder.choose(root, notebooks or [], exercises)
    if check:
        problems = [problem for source in chosen if (problem := builder.out_of_step(source))]
        problems += [f"{path.name} has no source" for path in builder.without_source(root)]
        for problem in problems:
            console.print(problem, soft_wrap=True, markup=False, highlight=False)
        console.print(f"{len(chosen)} notebooks checked, {len(problems)} problems.", highlight=False)
        raise typer.Exit(FAILED if problems else 0)
    builder.refuse_answers(chosen)
    if keep_outputs:
        chosen = [source for source in chosen if not builder.keep_outputs(source)]
        if not chosen:
            return
    from effnet_helpers.course.work import run_all

    # One after the other, since the seconds that they print are committed.
    folder, workdir = root / "notebooks" / "src", root / "runs" / "build"
    paths = {source.relative_to(folder).with_suffix("").as_posix(): source for source in chosen}
    work = {name: functools.partial(builder.build, paths[name], (workdir / name).parent) for name in paths}
    _exit_1_unless_ok(run_all(work, console).values())


@app.command("notebooks")
def lay_out(folder: Annotated[Path, typer.Argument(help="Where to; it is made if there is none.")]) -> None:
    """Lays out the lessons and exercises that came with this package. What is there already is never overwritten."""
    from effnet_helpers.course.lay_out import lay_out as copy_series

    console = Console()
    with naming(folder):
        result = copy_series(folder.expanduser())
    told = f"{folder}: {len(result.written)} files written, {len(result.same)} were there already"
    console.print(told + "." * (not result.kept), soft_wrap=True, markup=False, highlight=False)
    if result.kept:
        names = ", ".join(path.as_posix() for path in result.kept)
        sentence = f"{folder} has other files of these names, which stay; name another folder for: {names}"
        raise CourseError(sentence)


@app.command("catch-up")
def catch_up(
    lesson: Annotated[str, typer.Argument(metavar="LESSON", help="Its number, name or their beginning: 5, 05, unf.")],
    profile: Profile = "quick",
    parameter: Assignments = None,
    root: Root = ROOT,
) -> None:
    """Brings you to the start of a lesson: notebook, features it looks for, a fitted head. Overwrites nothing."""
    from effnet_helpers.course.catch_up import FOLDER, place_of
    from effnet_helpers.course.catch_up import catch_up as make_ready

    with naming(place_of(root) / FOLDER):
        typer.echo(make_ready(lesson, root, profile, parameter))


@app.command()
def publish(
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on GitHub.")],
    root: Root = ROOT,
) -> None:
    """Writes the course's address into project, README, environment and the badges of all notebooks."""
    from effnet_helpers.course.publish import publish as write_address

    changed = write_address(root, repository)
    typer.echo(f"{len(changed)} files changed: the address of the course is https://github.com/{repository}")


@app.command()
def check(profile: Profile = "quick", root: Root = ROOT) -> None:
    """Says in seconds, without network, whether this computer can run a profile, and what helps where it cannot."""
    try:
        from effnet_helpers import machine
    except ImportError as error:  # not there, or a library that does not load
        name = (error.name or "numpy").partition(".")[0]
        typer.echo(f"effnet: even this check needs {name}, which does not load ({error}): pip install {name}")
        raise typer.Exit(FAILED) from None
    from effnet_helpers.course.check import needs, table

    report = machine.check_computer(profile, *needs(root, profile), root)
    console = Console()
    console.print(table(report))
    console.print(report.summary, highlight=False)
    raise typer.Exit(0 if report.can_run else FAILED)


@app.command()
def audit(
    path: Annotated[str, typer.Argument(help="A folder, a zip or tar archive, a CSV table, or a specification.")],
    out: Annotated[Path, typer.Option(help=OUT_HELP)] = AUDIT,
    labels: Annotated[bool, typer.Option("--labels", help="Which labels may be wrong, too; takes a network.")] = False,
) -> None:
    """Reads every picture of a collection once: what cannot be used, is odd, is there twice. Changes nothing."""
    from effnet_helpers import outputs
    from effnet_helpers.course.display import audit_table, count_progress
    from effnet_helpers.data import TABLE_OF_FINDINGS
    from effnet_helpers.data import audit as audit_pictures

    console = Console()
    with writing(out):
        outputs.check_free(TABLE_OF_FINDINGS, out.expanduser().absolute())  # before minutes of reading
        with count_progress("reading", console) as progress:
            result = audit_pictures(path, progress=progress)
        out.parent.mkdir(parents=True, exist_ok=True)
        result.to_csv(out)
        said = ""
        if labels:  # after that: what the audit is for, such as a class with one picture, may make this impossible
            from effnet_helpers.course.audit_labels import suspect_labels

            result, said = suspect_labels(path, result)
            result.to_csv(out)
    if len(result.findings):
        console.print(audit_table(result.summary))
    if said:
        console.print(f"{said}.", soft_wrap=True, markup=False, highlight=False)
    console.print(f"{result.headline}. All of them: {out}", soft_wrap=True, markup=False, highlight=False)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Pictures, folders, zip or tar archives.")],
    out: Annotated[Path, typer.Option(help=OUT_HELP)] = TABLE,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 32,
) -> None:
    """Says what is on pictures: a table with a row for each, and a PNG beside it with the least certain ones."""
    from effnet_helpers.course.predict import predict as predict_pictures

    with writing(out):
        summary = predict_pictures(model, paths, out, batch_size, Console())
    if not any(summary.counts.values()):
        raise typer.Exit(FAILED)


@app.command()
def demo(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    host: Annotated[
        str, typer.Option(help="Where to listen; 0.0.0.0 for all computers of this network.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="the first free one from 7860 on")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open the page.")] = True,
) -> None:
    """Opens a page to try a model on: drag a picture there, or point a camera. Pictures stay on this computer."""
    from effnet_helpers.course.demo import demo as serve_page

    serve_page(model, host, port, browser, Console())


@app.command()
def train(
    specification: Annotated[
        str, typer.Argument(help="A folder of pictures, one subfolder a class; an archive, a CSV table; textile, …")
    ],
    out: Annotated[Path, typer.Option(help="The model to write, ending in .keras; its card goes beside it.")],
    variant: Annotated[str, typer.Option(help="Which EfficientNet: Lite0 … Lite2 offline, B0 … B7.")] = "Lite0",
    image_size: Annotated[int, typer.Option(min=32, help="Side of the square images in pixels.")] = 224,
    resize_mode: Annotated[str, typer.Option(help="crop, pad or squash.")] = "crop",
    augment: Annotated[
        str, typer.Option(help="What pictures may also look like: none, upright, mirrored, any-way-up.")
    ] = "none",
    steps: Annotated[int | None, typer.Option(help="Of fine-tuning.", show_default="300, or one pass if more")] = None,
    from_block: Annotated[str | None, typer.Option(help="Lowest block to train.", show_default="by the head")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its peak.", show_default="0.0003")] = None,
    batch_size: Annotated[int, typer.Option(help="Images in a step, 0 takes 32, or 64 on a GPU.")] = 0,
    group_by: Annotated[str | None, typer.Option(help="Pattern in names of what stays together: video[0-9]+")] = None,
    balance: Annotated[str | None, typer.Option(help="class_weights or balanced_sampling, for rare classes.")] = None,
    limit_per_class: Annotated[int | None, typer.Option(help="At most so many images of each class.")] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Further models, each scored on images it has not seen; 0 for none.",
            show_default="5 where a class has fewer than 30 validation images",
        ),
    ] = None,
    alarm: Annotated[str | None, typer.Option(help="Classes that must not slip through: torn,stained.")] = None,
    alarm_recall: Annotated[float, typer.Option(help="Share of them that an alarm is to find.")] = 0.99,
    split_seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    seed: Annotated[int, typer.Option(help="Of training.")] = 0,
    report: Annotated[Path | None, typer.Option(help="The page to write.", show_default="named as the model")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was interrupted.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Processes of this machine that train together.")] = 1,
    cluster: Annotated[str | None, typer.Option(help=CLUSTER_HELP, show_default="TF_CONFIG, or SLURM's")] = None,
    index: Annotated[int | None, typer.Option(help="Which of these this is.", show_default="SLURM's or MPI's")] = None,
) -> None:
    """Fine-tunes a classifier on your pictures: audit, split, head, recipe, fine-tuning, test; a model and a report."""
    options = locals()
    others = ("out", "report", "resume", "processes", "cluster", "index")
    given = {name: value for name, value in options.items() if name not in others}
    report = report or out.with_suffix(".html")
    with writing(out), writing(report):
        from effnet_helpers.course import launch

        code = launch.train_in_processes(options, processes, cluster, index)
        if code is not None:  # they have trained, without TensorFlow in this process
            raise typer.Exit(code)
        from effnet_helpers.course.train import train as train_classifier
        from effnet_helpers.course.train_settings import Settings

        train_classifier(Settings(**given), out, Console(), report, resume)


@app.command(context_settings={"allow_interspersed_args": False})
def launch(
    script: Annotated[Path, typer.Argument(help="A Python file.", exists=True, dir_okay=False)],
    arguments: Annotated[list[str] | None, typer.Argument(help="What it is given.")] = None,
    processes: Annotated[int, typer.Option(min=2, help="How many, in a network of their own.")] = 2,
) -> None:
    """Runs a script of yours in several processes that train together: TF_CONFIG tells each one which it is.

    Where none of them has reported a step, and all have used next to nothing of their cores, for ten minutes, they are
    taken to hang, and are ended.
    """
    import sys

    from effnet_helpers.course.launch import launch as run_together

    raise typer.Exit(run_together([sys.executable, str(script), *(arguments or [])], processes))


@app.command("clean-cache")
def clean_cache() -> None:
    """Deletes the cache of features, activations and decoded images (EFFNET_CACHE, or the user's cache folder)."""
    from effnet_helpers.machine import clear_cache

    try:
        path, size = clear_cache()
    except ValueError as error:
        raise CourseError(str(error)) from None
    typer.echo(f"Freed {size / 1e6:,.1f} MB: {path}")


def _sweep(
    root: Path,
    notebooks: list[str] | None,
    profile: str | None,
    values: list[str],
    name: str | None,
    jobs: int | None,
    resume: str | None,
    scheduler: str | None,
) -> None:
    from effnet_helpers.course import profiles, sweep_plan
    from effnet_helpers.course.sweep import sweep as carry_out

    if resume is not None:
        if name not in (None, resume):
            raise CourseError(f"A sweep that goes on keeps its name, {resume}. Received: --name {name}")
        name, planned = sweep_plan.resumed(root, resume, notebooks or [], profile, values)
    else:
        chosen = profiles.select(profiles.notebooks(root), notebooks or [])
        planned = sweep_plan.plan(root, chosen, profile or profiles.QUICK, values)
    with naming(root / "runs" / (name or "")):
        if not carry_out(root, planned, Console(), name, jobs, scheduler, resume is not None):
            raise typer.Exit(FAILED)


def _exit_1_unless_ok(*runs: Iterable) -> None:
    if any(outcome.status != "ok" for outcomes in runs for outcome in outcomes):
        raise typer.Exit(FAILED)
