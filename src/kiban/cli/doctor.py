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
    for subject, problem, is_note in checks:
        state = "ok  " if problem is None else "note" if is_note else "FAIL"
        print(f"{state}  {subject}" + (f": {problem}" if problem else ""))
    if failed := sum(problem is not None and not is_note for _, problem, is_note in checks):
        raise KibanError(f"{failed} of {len(checks)} checks failed")
