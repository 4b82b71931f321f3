"""`kiban tune`: searches for better hyperparameters. A search that was killed can be continued."""

import click


@click.command()
@click.argument("name")
@click.option(
    "--trials",
    "number",
    type=click.IntRange(min=1),
    help="The number of trials, instead of the file's; earlier trials count.",
)
def tune(name: str, number: int | None) -> None:
    """Run the search for hyperparameters that conf/tune/NAME.yaml describes, on all cores.

    The best parameters are written to conf/experiment/tuned_NAME.yaml, and all trials to reports/tuning/NAME.csv and to
    MLflow, as child runs of the search. After a kill, the same command continues the search. With KIBAN_TUNE_STORAGE,
    the address of a PostgreSQL database, the same command on other machines takes part in it.

    \b
    Examples:
      kiban tune hist_gradient_boosting
      kiban tune logistic --trials 100
    """
    from kiban.tune.run import run

    run(name, number)
