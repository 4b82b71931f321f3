"""`kiban doctor`: what is wrong with this clone or machine, and what mends it."""

from pathlib import Path

import click

from kiban.core.errors import KibanError


@click.command()
def doctor() -> None:
    """Check this clone, its configuration and its machine: a line for each check, exit status 1 if one fails.

    It changes nothing. Each line that fails says what mends it.

    \b
    Examples:
      kiban doctor
    """
    from kiban.maintain import doctor

    checks = doctor.examine(Path())
    for subject, problem in checks:
        print(f"ok    {subject}" if problem is None else f"FAIL  {subject}: {problem}")
    if failed := sum(problem is not None for _, problem in checks):
        raise KibanError(f"{failed} of {len(checks)} checks failed")
