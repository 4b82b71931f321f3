"""`kiban versions`: which model was what, and when it was in production."""

from datetime import datetime

import click

from kiban.cli.tables import show


@click.command()
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="What was in production then (UTC).")
@click.option("--trained-on", metavar="BATCH", help="Only versions made with this batch: in training or validation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def versions(at: datetime | None, trained_on: str | None, as_json: bool) -> None:
    """List the versions of the model: commit, data, metrics of the test rows, and when each was promoted, by whom and
    why. They are tags of git: `git fetch --tags` brings those of others.

    \b
    Examples:
      kiban versions
      kiban versions --at 2026-03-01
      kiban versions --trained-on 2013-02
    """
    import json

    from kiban.operate import history

    known = history.known_at(at)
    lines = history.lines(known, trained_on)
    if as_json:
        print(json.dumps([line.model_dump(mode="json") for line in lines], indent=1))
        return
    if not lines:
        print("no version: `kiban register` makes one, and `kiban promote` puts one into production")
        return
    show("", ["version", "commit", "through", "test rows", "in production since"], [line.cells() for line in lines])
    if hold := history.hold(known):
        print(f"hold: {hold}")
