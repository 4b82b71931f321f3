"""`kiban step`: one stage on a machine of its own, and the result of all of them."""

import os

import click


@click.command()
@click.argument("stage", required=False)
@click.argument("overrides", nargs=-1, metavar="[OVERRIDE]...")
@click.option("--run", required=True, envvar="KIBAN_RUN", metavar="NAME", help="The run that the step is a part of.")
@click.option(
    "--new",
    is_flag=True,
    envvar="KIBAN_NEW",
    help="The stage ingest first takes what the sources have and the ledger lacks.",
)
@click.option("--until", envvar="KIBAN_UNTIL", metavar="BATCH", help="With --new: no batch after this one.")
@click.option("--publish", is_flag=True, help="Let origin have what all steps of the run have made.")
@click.option("--here", is_flag=True, help="With --publish: what `dvc repro` made in this working tree, without steps.")
@click.option("--branch", metavar="NAME", help="With --publish: the branch; kiban-run-NAME otherwise.")
def step(
    stage: str | None,
    overrides: tuple[str, ...],
    run: str,
    new: bool,
    until: str | None,
    publish: bool,
    here: bool,
    branch: str | None,
) -> None:
    """Run one stage in a fresh clone, as schedulers do, and hand on what it made to the stages after it.

    The machines share git's origin and DVC's store, and nothing else. Each step leaves a commit on the ref
    refs/kiban/runs/RUN/STAGE of origin. A step that is repeated does nothing. --publish makes one commit of them, whose
    first line is the verdict of the gate, and pushes it as a branch; with OVERRIDEs of conf/, which the first stage
    takes, as an experiment. KIBAN_OVERRIDES, KIBAN_NEW and KIBAN_UNTIL may be set for all steps of a run.

    \b
    Examples:
      kiban step config --run monday
      kiban step ingest --run monday --new
      kiban step config --run large model.max_iter=800
      kiban step --publish --run monday
    """
    from kiban.runners import refs

    name = refs.name_of(run)
    if publish == (stage is not None):
        raise click.UsageError("give either a STAGE or --publish")
    if until and not new:
        raise click.UsageError("--until is for --new")
    if (here or branch) and not publish:
        raise click.UsageError("--here and --branch are for --publish")
    if publish:
        from kiban.runners.publish import publish as made_public

        made_public(name, branch, here)
        return
    from kiban.runners import graph
    from kiban.runners.step import step as run_step

    if overrides and graph.before().get(str(stage)):
        raise click.UsageError(f"OVERRIDEs are for the stage that begins a run: {stage} takes what that has composed")
    run_step(str(stage), name, overrides or os.environ.get("KIBAN_OVERRIDES", "").split(), new, until)
