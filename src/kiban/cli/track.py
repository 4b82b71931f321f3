"""`kiban track`: lists or delivers the runs that wait in the outbox."""

import os
import time
from pathlib import Path

import click

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.track import champion, delivery, outbox
from kiban.track.settings import Tracking


class Params(Sections):
    tracking: Tracking


@click.command()
@click.option("--deliver", is_flag=True, help="Deliver the waiting runs now.")
def track(deliver: bool) -> None:
    """List the runs that wait in the outbox because MLflow did not take them. Each run of the pipeline delivers them.

    \b
    Examples:
      kiban track --deliver
    """
    root = Path(os.environ.get("DVC_ROOT", "."))
    where = delivery.shown(delivery.store())
    waiting_runs, waiting_champion = outbox.waiting(root), champion.waiting(root)
    if deliver and (waiting_runs or waiting_champion):
        outcome = delivery.deliver(root, read(Params).tracking)
        for name in (run.name for _, run in waiting_runs if run.key in outcome.delivered):
            print(f"delivered to {where}: {name}")
        if waiting_champion and not champion.waiting(root):
            print(f"{waiting_champion.name} {waiting_champion.version} has the alias {champion.ALIAS}")
        if outcome.failure:
            number = len(outbox.waiting(root))
            if not number:
                raise KibanError(f"the alias {champion.ALIAS} was not set: {outcome.failure}")
            raise KibanError(
                f"{number} runs still wait in {paths.OUTBOX}, {where} did not take them: {outcome.failure}"
            )
        return
    for _, run in reversed(waiting_runs):
        print(f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(run.at / 1000))}  {run.experiment}  {run.name}")
    print(f"{len(waiting_runs)} runs wait for {where}")
    if waiting_champion:
        print(f"{waiting_champion.name} {waiting_champion.version} waits for its alias {champion.ALIAS}")
    for entry in outbox.unreadable(root):
        print(f"{paths.OUTBOX / entry.name} holds no run that this version can read: check it, then remove it")
