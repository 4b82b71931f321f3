"""Options that several commands of operation have in common."""

from datetime import UTC, datetime

import click

SHORTEST = 10  # characters: a reason is for those who were not there

accept_less = click.option(
    "--accept-less", is_flag=True, help="Take it although it refuses requests that the present model answers."
)


def _moment(_: click.Context, __: click.Parameter, value: datetime | None) -> datetime:
    return (value or datetime.now(UTC)).replace(tzinfo=UTC)


now = click.option(
    "--now",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    callback=_moment,
    help="Another time than the present one (UTC).",
)


def reason(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The value of an option or argument, which must say something."""
    if value is not None:
        check(value)
    return value


def check(text: str, where: str | None = None) -> None:
    """Raise BadParameter if a reason says too little."""
    if len(text.strip()) < SHORTEST:
        raise click.BadParameter(f"give a reason of {SHORTEST} characters or more", param_hint=where)
