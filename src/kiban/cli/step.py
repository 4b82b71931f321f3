"""`kiban step`: one stage on a machine of its own, and the result of all of them."""

import os
import secrets
import shlex
import subprocess
from datetime import UTC, datetime
from typing import NamedTuple

import click

from kiban.core.errors import KibanError, one_line

OVERRIDES = "KIBAN_OVERRIDES"


@click.command()
@click.argument("stage", required=False)
@click.argument("overrides", nargs=-1, metavar="[OVERRIDE]...")
@click.option("--all", "every", is_flag=True, help="All stages one after another in this clone, and then --publish.")
@click.option(
    "--run",
    envvar="KIBAN_RUN",
    metavar="NAME",
    help="The run that the step is a part of. With --all the default is the present time.",
)
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
    every: bool,
    run: str | None,
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
      kiban step --all --new
    """
    if every and stage is not None:  # it is an OVERRIDE
        overrides = (stage, *overrides)
        stage = None
    if [stage is not None, every, publish].count(True) != 1:
        raise click.UsageError("give a STAGE, --all or --publish")
    if run is None and not every:
        raise click.UsageError("give --run NAME")
    if until and not new and (every or stage == "ingest"):
        raise click.UsageError("--until is for --new")
    if (here and not publish) or (branch and stage is not None):
        raise click.UsageError("--here and --branch are for --publish")
    from dvc.exceptions import DvcException

    try:
        _go(
            stage,
            every,
            _Run(run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}", overrides, new, until),
            branch,
            here,
        )
    except subprocess.CalledProcessError as error:
        raise KibanError(f"`{' '.join(error.cmd[:2])}` failed: {one_line(str(error.stderr))}") from None
    except DvcException as error:
        raise KibanError(one_line(error)) from None


class _Run(NamedTuple):
    """What is given to every step of a run."""

    name: str
    overrides: tuple[str, ...]
    new: bool
    until: str | None


def _of_environment() -> tuple[str, ...]:
    try:
        return tuple(shlex.split(os.environ.get(OVERRIDES, "")))
    except ValueError as error:
        raise KibanError(f"{OVERRIDES} cannot be read as words: {error}") from None


def _go(stage: str | None, every: bool, run: _Run, branch: str | None, is_here: bool) -> None:
    from kiban.runners import graph, refs
    from kiban.runners import step as steps
    from kiban.runners.publish import publish

    if stage is not None and run.overrides and graph.before().get(stage):
        raise click.UsageError(f"OVERRIDEs are for the stage that begins a run: {stage} takes what that has composed")
    name = refs.name_of(run.name)
    overrides = run.overrides or _of_environment()
    if stage is not None:
        steps.step(stage, name, overrides, run.new, run.until)
    if every:
        steps.every(name, overrides, run.new, run.until)
    if stage is None:
        publish(name, branch, is_here)
