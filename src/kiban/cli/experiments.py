"""`kiban experiments`: a table of the experiments of DVC."""

import click

from kiban.core.settings import Sections, read
from kiban.evaluate.settings import Gate

WIDTH = 80


class Params(Sections):
    gate: Gate


@click.command()
@click.option(
    "--commits",
    default=20,
    show_default=True,
    metavar="N",
    help="Of the last N commits: after a winner was adopted, the experiments belong to an earlier one.",
)
def experiments(commits: int) -> None:
    """List the experiments of `dvc exp run`: what each changed, and the gate's metric that came of it.

    \b
    Examples:
      kiban experiments
      kiban experiments --commits 100
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from kiban.core.text import plain
    from kiban.review import experiments

    metric = read(Params).gate.metric
    listed = experiments.experiments(commits, metric)
    if not listed:
        print(f"no experiment in the last {commits} commits: `dvc exp run -S model.max_iter=200` makes one")
        return
    table = Table(title=f"Experiments and their {metric}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in ("experiment", "created", *experiments.SPLITS, "what it changed"):
        table.add_column(heading, justify="right" if heading in experiments.SPLITS else "left", overflow="fold")
    for each in listed:
        name = plain(each.name) if each.is_baseline else f"  {plain(each.name)}"
        figures = ("-" if figure is None else f"{figure:.5f}" for figure in each.figures)
        changes = "\n".join(plain(change, 60) for change in each.changes)
        table.add_row(name, each.at[5:16].replace("T", " "), *figures, changes)
    Console(width=WIDTH, highlight=False, markup=False).print(table)
