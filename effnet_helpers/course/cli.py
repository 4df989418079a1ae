"""The command `effnet`. What a command needs is imported inside it, so that `effnet --help` answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from effnet_helpers.course import ROOT, CourseError

import typer
from rich.console import Console

REFUSED, INTERRUPT = 2, 130

app = typer.Typer(
    help="Builds, runs and checks the notebooks of the EfficientNet fine-tuning course.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Notebooks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NOTEBOOK]...", help="Numbers, names or their beginnings: 4, 04, 04_head, head. All if none."
    ),
]
Root = Annotated[Path, typer.Option(help="The checkout to work in.", show_default="the one of this package")]
Profile = Annotated[str, typer.Option(help="quick, or a file in notebooks/profiles/: smoke, full.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Sets a parameter wherever it exists; repeatable."),
]
Name = Annotated[str | None, typer.Option(help="The folder under runs/.", show_default="time and profile")]


@app.command()
def run(
    notebooks: Notebooks = None,
    profile: Profile = "quick",
    parameter: Assignments = None,
    name: Name = None,
    root: Root = ROOT,
) -> None:
    """Runs notebooks and leaves their results, pages and figures in runs/NAME/."""
    with _exit_codes():
        from effnet_helpers.course import profiles
        from effnet_helpers.course.display import summary_table
        from effnet_helpers.course.execute import INTERRUPTED
        from effnet_helpers.course.run import default_name, run_series

        console = Console()
        root = root.resolve()
        chosen = profiles.select(profiles.notebooks(root), notebooks or [])
        given = profiles.resolve(root, chosen, profile, parameter or [])
        name = name or default_name(profile)
        outcomes = run_series(root, chosen, profile=profile, given=given, name=name, console=console)
        console.print(summary_table(outcomes))
        console.print(f"Open {root / 'runs' / name / 'index.html'}", soft_wrap=True, markup=False, highlight=False)
        if outcomes[-1].error == INTERRUPTED:
            raise KeyboardInterrupt
        if any(outcome.status != "ok" for outcome in outcomes):
            raise typer.Exit(1)


@app.command()
def seeds(
    notebooks: Notebooks = None,
    seeds: Annotated[str, typer.Option(help="Training seeds, separated by commas.")] = "0,1,2",
    profile: Profile = "quick",
    parameter: Assignments = None,
    name: Name = None,
    root: Root = ROOT,
) -> None:
    """Repeats notebooks over training seeds: mean and spread of every recorded figure, and runs/NAME/seeds.csv."""
    with _exit_codes():
        from effnet_helpers.course import profiles
        from effnet_helpers.course.display import seeds_table
        from effnet_helpers.course.execute import INTERRUPTED
        from effnet_helpers.course.run import default_name, run_series, seed_statistics, write_csv

        console = Console()
        root = root.resolve()
        chosen = profiles.select(profiles.notebooks(root), notebooks or [])
        name = name or default_name(f"{profile}-seeds")
        if not all(seed.strip().isdecimal() for seed in seeds.split(",")):
            raise CourseError(f"--seeds expects whole numbers separated by commas. Received: {seeds!r}")
        plans = {
            int(seed): profiles.resolve(root, chosen, profile, [*(parameter or []), f"seed={int(seed)}"])
            for seed in seeds.split(",")
        }
        runs = {}
        for seed, given in plans.items():
            console.print(f"seed {seed}", highlight=False)
            runs[seed] = run_series(
                root, chosen, profile=profile, given=given, name=f"{name}/seed-{seed}", console=console
            )
            if runs[seed][-1].error == INTERRUPTED:
                raise KeyboardInterrupt
        rows = seed_statistics(runs)
        write_csv(root / "runs" / name / "seeds.csv", rows)
        console.print(seeds_table(rows))
        console.print(f"Wrote {root / 'runs' / name / 'seeds.csv'}", soft_wrap=True, markup=False, highlight=False)
        if any(outcome.status != "ok" for outcomes in runs.values() for outcome in outcomes):
            raise typer.Exit(1)


@app.command()
def build(
    notebooks: Notebooks = None,
    check: Annotated[bool, typer.Option("--check", help="Execute nothing: say what is wrong or out of step.")] = False,
    root: Root = ROOT,
) -> None:
    """Builds notebooks/*.ipynb from notebooks/src/*.py, with the outputs of the quick profile."""
    with _exit_codes():
        from effnet_helpers.course import build as builder
        from effnet_helpers.course import profiles
        from effnet_helpers.course.display import live_progress, summary_table
        from effnet_helpers.course.execute import INTERRUPTED

        console = Console()
        root = root.resolve()
        sources = builder.sources(root)
        if not sources:
            raise CourseError(f"No sources in {root / 'notebooks' / 'src'}. Pass --root, the folder of a checkout")
        chosen = profiles.select(sources, notebooks or [])
        if check:
            problems = [problem for source in chosen for problem in builder.problems(source)]
            problems += [f"{path.name} has no source" for path in builder.without_source(root)]
            for problem in problems:
                console.print(problem, soft_wrap=True, markup=False, highlight=False)
            console.print(f"{len(chosen)} notebooks checked, {len(problems)} problems.", highlight=False)
            raise typer.Exit(1 if problems else 0)
        outcomes = []
        with live_progress([source.stem for source in chosen], console) as display:
            for source in chosen:
                outcomes.append(builder.build(source, root / "runs" / "build", display.start(source.stem)))
                display.finish(outcomes[-1])
                if outcomes[-1].error == INTERRUPTED:
                    raise KeyboardInterrupt
        console.print(summary_table(outcomes))
        if any(outcome.status != "ok" for outcome in outcomes):
            raise typer.Exit(1)


@app.command()
def check(profile: Profile = "quick", root: Root = ROOT) -> None:
    """Says in seconds, without network, whether this computer can run a profile, and what helps where it cannot."""
    with _exit_codes():
        try:
            from effnet_helpers import machine
        except ModuleNotFoundError as error:
            typer.echo(f"effnet: {error.name} is not installed, which even this check needs: pip install {error.name}")
            raise typer.Exit(1) from None
        from effnet_helpers.course.check import needs, table

        root = root.resolve()
        report = machine.check_computer(needs(root, profile), root)
        console = Console()
        console.print(table(report))
        console.print(report.summary, highlight=False)
        raise typer.Exit(0 if report.can_run else 1)


@app.command()
def audit(
    path: Annotated[str, typer.Argument(help="A folder, a zip or tar archive, a CSV table, or a specification.")],
    out: Annotated[Path, typer.Option(help="The table of all findings to write; an existing one is replaced.")] = Path(
        "audit.csv"
    ),
) -> None:
    """Reads every picture of a collection once: what cannot be used, is odd, is there twice. Changes nothing."""
    with _exit_codes():
        from effnet_helpers.course.display import audit_table, count_progress
        from effnet_helpers.data import audit as audit_pictures

        console = Console()
        try:
            with count_progress("reading", console) as progress:
                result = audit_pictures(path, progress=progress)
        except ValueError as error:
            raise CourseError(str(error)) from None
        result.to_csv(out)
        if len(result.findings):
            console.print(audit_table(result.summary))
        console.print(f"{result.headline}. All of them: {out}", soft_wrap=True, markup=False, highlight=False)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="The .keras file of a saved model, with its .json beside it.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Pictures, folders, zip or tar archives.")],
    out: Annotated[Path, typer.Option(help="The table to write; an existing one is replaced.")] = Path(
        "predictions.csv"
    ),
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 32,
) -> None:
    """Says what is on pictures: a table with a row for each, and a PNG beside it with the least certain ones."""
    with _exit_codes():
        from effnet_helpers.course.predict import predict as predict_pictures

        try:
            summary = predict_pictures(model, paths, out, batch_size, Console())
        except ValueError as error:
            raise CourseError(str(error)) from None
        if not any(summary.counts.values()):
            raise typer.Exit(1)


@app.command("clean-cache")
def clean_cache() -> None:
    """Deletes the cache of features, activations and decoded images (EFFNET_CACHE, or the user's cache folder)."""
    with _exit_codes():
        from effnet_helpers.machine import clear_cache

        try:
            path, size = clear_cache()
        except ValueError as error:
            raise CourseError(str(error)) from None
        typer.echo(f"Freed {size / 1e6:,.1f} MB: {path}")


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Turns a refused request into its message and exit code 2, and Ctrl-C into exit code 130."""
    try:
        yield
    except CourseError as error:
        typer.echo(f"effnet: {error}", err=True)
        raise typer.Exit(REFUSED) from None
    except KeyboardInterrupt:
        typer.echo("effnet: interrupted", err=True)
        raise typer.Exit(INTERRUPT) from None
