"""`python -m benchmarks list | run NAME | distance`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import provenance
from benchmarks.distance import distances, read_reports
from benchmarks.kept_cells import FOLDER, KeptCells
from benchmarks.metrics import Metrics, collect, winners
from benchmarks.plot import draw
from benchmarks.report import as_json, as_tables, notes
from benchmarks.runner import Measured, measure_cells, torch_threads
from benchmarks.scenario import Cell, MissingDataError, Plan, RunScale, Scenario
from benchmarks.scenarios import SCENARIOS

INTERRUPTED = 130
RESULTS = Path(__file__).parent / "results"

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Benchmarks of amstream.")
output = Console()
messages = Console(stderr=True)


@app.command("list")
def list_scenarios() -> None:
    """The scenarios: what each measures and the data it needs."""
    table = Table("name", "measures", "data")
    table.columns[0].no_wrap = True
    for scenario in SCENARIOS.values():
        table.add_row(scenario.name, scenario.measures, scenario.data)
    output.print(table)


@app.command("run")
def run_scenario(
    name: Annotated[str, typer.Argument(help="A scenario; `list` shows them.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="Folder of data sets.", exists=True, file_okay=False, show_default=False)
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; the scenario's own by default.")] = None,
    scale: Annotated[RunScale, typer.Option(help="How much of the scenario to run.")] = RunScale.QUICK,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the metrics here.", dir_okay=False)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what an earlier run has finished.")] = False,
) -> None:
    """Run a scenario, from where it was interrupted if it was, and print its table."""
    if name not in SCENARIOS:
        _refuse(f"unknown scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    if json_file is not None and not json_file.absolute().parent.is_dir():
        _refuse(f"--json: there is no folder {json_file.absolute().parent}")
    scenario = SCENARIOS[name]
    plan = Plan(scale=scale, seeds=seeds or scenario.seeds[scale], data=data)
    commit, machine = provenance.commit(), provenance.machine(scenario.threads)
    context = {"commit": commit, "machine": machine, "scale": scale.value, "sources": provenance.sources_digest()}
    kept = KeptCells(FOLDER, scenario.name, context)
    if fresh:
        kept.forget()
    try:
        metrics = _measured(scenario, plan, kept)
    except MissingDataError as missing:
        _refuse(str(missing))
    except KeyboardInterrupt:
        messages.print(f"interrupted; {len(kept)} finished cells are kept, the same command continues")
        raise typer.Exit(INTERRUPTED) from None
    if json_file is not None:
        report: dict[str, Any] = as_json(scenario, plan, commit, machine, metrics)
        json_file.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        if scenario.plot is not None:
            draw(metrics, scenario.plot, scenario.name, json_file.with_suffix(".png"))
    for table in as_tables(scenario, plan, metrics):
        output.print(table)
    for note in notes(scenario, plan, metrics):
        output.print(f"note: {note}", markup=False, highlight=False)


@app.command("distance")
def distance(
    method: Annotated[str, typer.Argument(help="A method, as reports name it.")] = "am-mem",
    folder: Annotated[Path, typer.Option(help="Reports.", exists=True, file_okay=False)] = RESULTS,
) -> None:
    """How far a method is from the best one on every accuracy of the reports of online.*, continual.* and streams.*."""
    found = distances(read_reports(folder, ("online.", "continual.", "streams.")), method)
    if not found:
        _refuse(f"no report in {folder} has {method!r}")
    table = Table("scenario", "net", "figure", method, "best", "of", "distance")
    for one in found:
        numbers = (f"{one.own:.4f}", f"{one.best:.4f}", one.rival, f"{one.distance:.4f}")
        table.add_row(one.scenario, one.net, one.figure, *numbers)
    output.print(table)
    best = sum(one.distance == 0 for one in found)
    output.print(f"{method} is the best in {best} of {len(found)}; its largest distance is {found[0].distance:.4f}")


def _measured(scenario: Scenario, plan: Plan, kept: KeptCells) -> Metrics:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with torch_threads(scenario.threads), Progress(*columns, console=messages) as progress:
        measured = _measured_cells(scenario.name, list(scenario.cells(plan)), kept, progress)
        if scenario.finals is None:
            return collect(measured, scenario.best_by, scenario.over_seeds)
        won, at_edge = winners(measured, scenario.best_by)
        finals = list(scenario.finals(plan, won))
        metrics = collect(_measured_cells(scenario.name, finals, kept, progress), scenario.best_by, scenario.over_seeds)
        metrics.at_edge.extend(at_edge)
        return metrics


def _measured_cells(name: str, cells: list[Cell], kept: KeptCells, progress: Progress) -> list[Measured]:
    task = progress.add_task(name, total=len(cells))
    measured = []
    for one in measure_cells(cells, kept):
        measured.append(one)
        progress.update(task, advance=1, description=f"{name} {one.cell.method} {one.cell.at}".rstrip())
    return measured


def _refuse(message: str) -> NoReturn:
    messages.print(f"error: {message}", style="red", soft_wrap=True, markup=False, highlight=False)
    raise typer.Exit(2)
