"""`kiban init`: a table to its configuration, its contract and its snapshot."""

from typing import TYPE_CHECKING

import click

from kiban.cli.places import Place

if TYPE_CHECKING:
    from kiban.profile.run import Plan


def _time_zone(context: click.Context, parameter: click.Parameter, name: str) -> str:
    from kiban.data.settings import time_zone

    try:
        return time_zone(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("data", type=Place(), required=False)
@click.option("--target", metavar="COLUMN", required=True, help="The column to predict.")
@click.option("--name", help="The name of the dataset; by default that of the file.")
@click.option("--time", metavar="COLUMN", help="The time of a row: the table is cut into months or days, and split so.")
@click.option("--key", metavar="COLUMN", multiple=True, help="A column that tells rows apart, perhaps with others.")
@click.option("--group", metavar="COLUMN", help="Rows with the same value, such as a customer, stay together.")
@click.option("--task", type=click.Choice(["binary", "multiclass", "regression"]), help="What to predict.")
@click.option("--positive", metavar="VALUE", help="The value of the target that counts as yes.")
@click.option(
    "--timezone", default="UTC", show_default=True, callback=_time_zone, help="The zone of times that have none."
)
@click.option("--decimal", type=click.Choice([".", ","]), help="The decimal sign, where the values do not tell.")
@click.option("--dates", type=click.Choice(["day-first", "month-first"]), help="What 01/02/2024 begins with.")
@click.option("--missing", metavar="TEXT", multiple=True, help="A text that stands for null in every column.")
@click.option("--drop", metavar="COLUMN", multiple=True, help="A column that is not taken at all.")
@click.option("--keep", metavar="COLUMN", multiple=True, help="A column that is a feature, whatever is found of it.")
@click.option("--sql", type=Place(exists=True, dir_okay=False), help="A file with a query, in place of DATA.")
@click.option("--url-env", metavar="VAR", help="The environment variable with the address of the database.")
@click.option("--no-default", is_flag=True, help="Leave the dataset that conf/config.yaml names as it is.")
@click.option("--dry-run", is_flag=True, help="Tell what would be decided, and write nothing.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited, and data that was taken before.")
def init(
    data: str | None,
    sql: str | None,
    url_env: str | None,
    no_default: bool,
    dry_run: bool,
    force: bool,
    **options: object,
) -> None:
    """Write the configuration and the contract of a table, and take it as the first batch.

    DATA is a file in CSV, JSON lines or Parquet, perhaps packed (.gz, .zip), a folder or a pattern of such files, or an
    address s3://BUCKET/PATH. All is decided from its values: types, how they are written, the task, which columns are
    of use, and the model. What can be read in two ways ends with status 2 and the options that decide.

    \b
    Examples:
      kiban init customers.csv --target churned
      kiban init sales.csv --target revenue --time sold_at --timezone Europe/Berlin
      kiban init --sql query.sql --url-env DATABASE_URL --name loans --target defaulted
    """
    from kiban.profile.questions import AmbiguousError
    from kiban.profile.wishes import Wishes

    if (data is None) == (sql is None):
        raise click.UsageError("give either DATA or --sql FILE")
    if (sql is None) != (url_env is None):
        raise click.UsageError("--sql and --url-env belong together")
    wishes = Wishes(**options)  # type: ignore[arg-type]
    try:
        plan = _of_query(sql, url_env, wishes) if sql and url_env else _of_files(str(data), wishes)
    except AmbiguousError as error:
        raise click.UsageError(str(error)) from None
    _show(plan)
    if dry_run:
        print("nothing was written")
        return
    from kiban.profile.take import carry_out

    written = carry_out(plan, force, not no_default)
    folders = sorted({path.parts[0] if path.parts[0] == "conf" else str(path) for path in written})
    switch = f"  kiban compose dataset={plan.name}\n" if no_default else ""
    print(f"\nNext:\n{switch}  dvc repro\n  make serve\nTo commit: git add {' '.join(folders)} dvc.lock reports")


def _of_files(data: str, wishes: object) -> "Plan":
    from kiban.profile.run import of_files

    return of_files(data, wishes)  # type: ignore[arg-type]


def _of_query(sql: str, url_env: str, wishes: object) -> "Plan":
    from kiban.profile.run import of_query

    return of_query(sql, url_env, wishes)  # type: ignore[arg-type]


def _show(plan: "Plan") -> None:
    """Print what was decided: the columns, then the task, the split and the model."""
    from kiban.cli.tables import show
    from kiban.profile.told import columns, facts

    show(f"{plan.name}: {plan.origin}", ["column", "type", "role", "what to know"], columns(plan))
    show("", ["", "what was decided"], facts(plan))
