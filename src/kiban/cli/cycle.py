"""`kiban cycle`: all that keeps a model good, in one command for a scheduler."""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kiban.cli import reasons
from kiban.cli.tables import show

if TYPE_CHECKING:
    from kiban.operate.last_cycle import Cycle

HEARTBEAT = "KIBAN_HEARTBEAT_URL"


@click.command()
@click.option(
    "--accept",
    nargs=2,
    multiple=True,
    metavar="BATCH REASON",
    help="Take a batch that is unlike earlier ones: it is right. May be given several times.",
)
@click.option("--until", metavar="BATCH", help="Take no batch after this one.")
@reasons.now
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; all else goes to the standard error.")
def cycle(accept: tuple[tuple[str, str], ...], until: str | None, now: datetime, dry_run: bool, as_json: bool) -> None:
    """Take new data, validate it, run the pipeline, look at the model in production, and promote the new one if that is
    due and the gate lets it. It works in a worktree of its own, and goes on where a killed one ended.

    Exit status 0: nothing to do, promoted, or refused by the gate. 1: it failed. 3: a batch is kept out. 4: an alarm.
    KIBAN_HEARTBEAT_URL is an address that is asked after each cycle that did not fail.

    \b
    Examples:
      kiban cycle
      kiban cycle --dry-run
      kiban cycle --accept 2013-06 "the airport has a new runway"
    """
    from contextlib import nullcontext, redirect_stdout

    from kiban.operate import cycle as operation
    from kiban.operate import release
    from kiban.request import logged

    for batch, reason in accept:
        reasons.check(reason, f"--accept {batch}")
    os.environ["KIBAN_RELEASE"] = str(release.root().resolve())
    os.environ["KIBAN_PREDICTION_LOG"] = str(logged.folder(Path()).resolve())
    if dry_run:
        print(operation.planned(now, until))
        return
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        done = operation.run(now, dict(accept), until)
        _show(done)
    if as_json:
        print(done.model_dump_json(indent=1))
    if not done.problems:
        _beat()
    sys.exit(done.status)


def _show(done: "Cycle") -> None:
    if done.hold:
        print(f"HOLD: {done.hold}")
    show("", ["step", "result", "seconds"], [[each.name, each.said, f"{each.seconds:.1f}"] for each in done.steps])
    for batch, why in done.held_back.items():
        for reason in why:
            print(f"KEPT OUT: {batch}: {reason}")
    for alarm in done.alarms:
        print(f"ALARM: {alarm}")
    print(f"cycle: {done.outcome}{f': {done.promotion}' if done.promotion else ''}")
    for problem in done.problems:
        click.echo(f"error: {problem}", err=True)


def _beat() -> None:
    """Ask the address of the environment, so that somebody sees that cycles still run."""
    from kiban.core import web

    address = os.environ.get(HEARTBEAT)
    if address and (problem := web.ask(address, seconds=10)):
        click.echo(f"warning: {HEARTBEAT} does not answer ({problem})", err=True)
