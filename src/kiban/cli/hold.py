"""`kiban hold`: lets no cycle promote."""

from datetime import UTC, datetime

import click

from kiban.cli import reasons


@click.command()
@click.argument("reason", required=False, callback=reasons.reason)
@click.option("--end", is_flag=True, help="End the hold.")
def hold(reason: str | None, end: bool) -> None:
    """Let no cycle promote anything, for a REASON, until a person promotes or ends the hold.

    \b
    Examples:
      kiban hold "the labels of March are being checked"
      kiban hold --end
    """
    from kiban.operate import promote

    if (reason is None) != end:
        raise click.UsageError("give a REASON, or --end")
    with promote.alone():
        promote.hold(reason, datetime.now(UTC))
        print("hold: ended" if end else "hold: set; `kiban hold --end` ends it")
