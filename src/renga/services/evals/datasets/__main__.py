"""`scripts/data`: list the public data sets and obtain them by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from renga.services.evals.datasets.dataset_catalog import Dataset, load_catalog, select
from renga.services.evals.datasets.fetching import ORIGIN, FetchError, FetchOptions, obtain
from renga.services.evals.datasets.locations import data_folder, is_here, shared_folder

program = typer.Typer(
    name="scripts/data",
    help="Obtain public data sets by name; none of them is part of the repository.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@program.command("list")
def list_sets() -> None:
    """Show every set: whether it is here, its size, licence and origin."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("set", "here", "MB", "licence", "from", "groups", "what"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", overflow="fold")
    for each in load_catalog():
        here = "yes" if is_here(each) else "no"
        size = f"{each.bytes / 1e6:.1f}"
        table.add_row(each.name, here, size, each.licence, each.provenance, ", ".join(each.groups), each.title)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    for each in load_catalog():
        if each.note:
            console.print(f"{each.name}: {each.note}", highlight=False, soft_wrap=True)
    console.print(f"\nSets are put into {data_folder()} (RENGA_DATASETS names another folder).", soft_wrap=True)


@program.command()
def get(
    names: Annotated[list[str], typer.Argument(help="Sets, groups (eval, benchmarks, training), or all.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="A folder that has the files; looked in first.")
    ] = None,
    origin: Annotated[str, typer.Option(help="A mirror of the public origin.")] = ORIGIN,
) -> None:
    """Obtain sets: from a folder that has them, else from their public origin, each file checked by its hash.

    Without --from, RENGA_SHARED or ../shared is looked in first. What is there and whole is not fetched again, and
    a transfer that was cut goes on where it ended.
    """
    if source is not None and not source.is_dir():
        raise SystemExit(f"scripts/data: {source} is not a folder")
    try:
        chosen = select(names)
    except KeyError as unknown:
        raise SystemExit(f"scripts/data: there is no set {unknown}; `scripts/data list` names them") from None
    root = source if source is not None else shared_folder()
    folders = (root, root / "data") if root is not None else ()
    options = FetchOptions(data_folder(), folders, origin)
    console = Console(stderr=True)
    problems = [problem for each in chosen if (problem := _obtain_shown(each, options, console))]
    if problems:
        raise SystemExit("\n".join(problems))


def _obtain_shown(dataset: Dataset, options: FetchOptions, console: Console) -> str:
    """Obtain one set with its licence and a progress bar shown; returns what went wrong, as one line."""
    console.print(f"{dataset.name}: {dataset.licence}, {dataset.provenance}", highlight=False, soft_wrap=True)
    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(dataset.name, total=dataset.bytes)
            obtain(dataset, options, lambda size: progress.advance(task, size))
    except (FetchError, OSError) as error:
        return f"scripts/data: {dataset.name}: {error}"
    return ""


if __name__ == "__main__":
    program()
