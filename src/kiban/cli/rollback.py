"""`kiban rollback`: goes back to what was in production before."""

from datetime import UTC, datetime

import click

from kiban.cli import reasons


@click.command()
@click.argument("version", required=False)
@click.option("--reason", metavar="TEXT", callback=reasons.reason, help="It is kept in the tag.")
@reasons.accept_less
def rollback(version: str | None, reason: str | None, accept_less: bool) -> None:
    """Go back to the model that was in production before, or to VERSION of those, and set a hold: until a person
    promotes, or ends it, no cycle promotes anything. Neither store nor network is needed on the serving machine.

    \b
    Examples:
      kiban rollback --reason "half of the answers are null since noon"
    """
    from kiban.operate import promote

    with promote.alone():
        promote.roll_back(version, reason or "rolled back by hand", accept_less, datetime.now(UTC))
