"""`kiban tune`: a search for better hyperparameters, which can be killed and goes on where it was."""

import click


@click.command()
@click.argument("name")
@click.option(
    "--trials", "number", type=click.IntRange(min=1), help="Another number than the file's; those done count."
)
def tune(name: str, number: int | None) -> None:
    """Search what conf/tune/NAME.yaml describes, on all cores.

    The best parameters become conf/experiment/tuned_NAME.yaml, all trials reports/tuning/NAME.csv, and a run with its
    trials under it in MLflow. The same command after a kill goes on where it was.

    \b
    Examples:
      kiban tune hist_gradient_boosting
      kiban tune logistic --trials 100
    """
    from kiban.tune.run import run

    run(name, number)
