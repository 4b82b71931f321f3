"""`kiban step`: one stage on a machine of its own, and the result of all of them."""

import os
import shlex
import subprocess

import click

from kiban.core.errors import KibanError, one_line


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
    if publish == (stage is not None):
        raise click.UsageError("give either a STAGE or --publish")
    if until and not new and stage == "ingest":
        raise click.UsageError("--until is for --new")
    if (here or branch) and not publish:
        raise click.UsageError("--here and --branch are for --publish")
    from dvc.exceptions import DvcException

    try:
        _publish(run, branch, here) if stage is None else _step(stage, run, overrides, new, until)
    except subprocess.CalledProcessError as error:
        raise KibanError(f"`{' '.join(error.cmd[:2])}` failed: {one_line(str(error.stderr))}") from None
    except DvcException as error:
        raise KibanError(one_line(error)) from None


def _publish(run: str, branch: str | None, is_here: bool) -> None:
    from kiban.runners import publish, refs

    publish.publish(refs.name_of(run), branch, is_here)


def _step(stage: str, run: str, overrides: tuple[str, ...], new: bool, until: str | None) -> None:
    from kiban.runners import graph, refs
    from kiban.runners.step import step

    if overrides and graph.before().get(stage):
        raise click.UsageError(f"OVERRIDEs are for the stage that begins a run: {stage} takes what that has composed")
    step(stage, refs.name_of(run), overrides or shlex.split(os.environ.get("KIBAN_OVERRIDES", "")), new, until)
