"""`kiban track`: the runs that MLflow has not got yet."""

import os
import time
from pathlib import Path

import click

from kiban.errors import KibanError
from kiban.settings.base import Sections, read
from kiban.settings.tracking import Tracking
from kiban.tracking import delivery, outbox


class Params(Sections):
    tracking: Tracking


@click.command()
@click.option("--deliver", is_flag=True, help="Deliver them now.")
def track(deliver: bool) -> None:
    """List the runs that wait in the outbox because MLflow did not take them; each run delivers what waits, too."""
    root = Path(os.environ.get("DVC_ROOT", "."))
    where = delivery.shown(delivery.store(root))
    if deliver:
        outcome = delivery.deliver(root, read(Params).tracking.request_timeout)
        for name in outcome.delivered.values():
            print(f"delivered to {where}: {name}")
        left = len(outbox.waiting(root))
        if outcome.failure:
            raise KibanError(
                f"{left} runs wait on in {outbox.FOLDER}, for {where} did not take them: {outcome.failure}"
            )
        return
    for _, run in reversed(outbox.waiting(root)):
        print(f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(run.at / 1000))}  {run.experiment}  {run.name}")
    print(f"{len(outbox.waiting(root))} runs wait for {where}")
