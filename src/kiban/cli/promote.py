"""`kiban promote`: puts a model into production, if the gate lets it."""

import sys
from contextlib import nullcontext, redirect_stdout
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from kiban.cli import reasons
from kiban.cli.tables import show
from kiban.core.errors import KibanError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kiban.evaluate.gate import Judged


@click.command()
@click.argument("version", required=False)
@click.option("--override", metavar="REASON", callback=reasons.reason, help="Promote it although the gate refuses it.")
@reasons.accept_less
@click.option("--dry-run", is_flag=True, help="Judge it, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; all else goes to the standard error.")
def promote(version: str | None, override: str | None, accept_less: bool, dry_run: bool, as_json: bool) -> None:
    """Put VERSION, or the model of HEAD, into production, if the gate lets it: a tag of git, and a release for the
    service that KIBAN_RELEASE names. It ends a hold.

    \b
    Examples:
      kiban promote --dry-run
      kiban promote
      kiban promote v1.2.0 --override "the airport of the slice has closed"
    """
    said: list[Judged] = []
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            _promote(version, override, accept_less, dry_run, said.append)
    finally:
        if as_json and said:
            print(said[-1].model_dump_json(indent=1))


def _promote(
    version: str | None, override: str | None, accept_less: bool, dry_run: bool, say: "Callable[[Judged], None]"
) -> None:
    """Promote a model; `say` takes what the gate says of it."""
    from kiban.operate import promote

    now = datetime.now(UTC)
    with promote.alone():
        for _ in range(promote.TRIES):
            known = promote.up_to_date(now, dry_run)
            plan = promote.plan(version, known, override)
            if plan is None:
                if not dry_run:
                    promote.answer_with_prod(known)
                print("promote: it is in production already")
                return
            say(plan.judged)
            rows = [[each.name, each.decision, each.figure] for each in plan.judged.rules]
            show("", ["rule", "decision", "figure"], rows)
            refusals = ", ".join(rule.name for rule in plan.judged.refusals)
            if refusals and plan.judged.override is None:
                raise KibanError(f"the gate refuses it ({refusals}): `--override REASON` promotes it all the same")
            if dry_run:
                print(f"promote: v{plan.version} would be promoted, {plan.judged.state}")
                return
            if promote.promote(plan, accept_less, now):
                print(f"promote: v{plan.version} is in production, {plan.judged.state}")
                return
    raise KibanError(f"somebody else was faster {promote.TRIES} times: try again")
