"""Options that several commands have in common: why somebody did something, and what they accept with it."""

import click

SHORTEST = 10  # characters: a reason is for those who were not there

accept_less = click.option(
    "--accept-less", is_flag=True, help="Take it although it refuses requests that the present model answers."
)


def reason(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The value of an option or argument, which must say something."""
    if value is not None and len(value.strip()) < SHORTEST:
        raise click.BadParameter(f"give a reason of {SHORTEST} characters or more")
    return value
