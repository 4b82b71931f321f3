"""`kiban register`: gives a model a version."""

from datetime import UTC, datetime

import click


@click.command()
def register() -> None:
    """Give the model of HEAD a version, as a tag of git: a major one if it refuses what the newest version answers, a
    minor one if parameters, features or code changed, and a patch if the data did.

    \b
    Examples:
      kiban register
    """
    from kiban.operate import promote

    with promote.alone():
        print(f"register: {promote.register(datetime.now(UTC))}")
