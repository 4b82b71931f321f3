"""The one error that people see."""

import sys
from collections.abc import Callable

LONGEST = 300  # characters of what a library says


class KibanError(Exception):
    """Something that the user can mend: one sentence with what was wrong, where, and what to do."""


def one_line(error: BaseException | str) -> str:
    """What an error of a library says, on one line, shortened; its type if it says nothing."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def exit_on_error(main: Callable[[], None]) -> None:
    """Run `main`; a KibanError becomes one line on standard error and exit status 1, without a traceback."""
    try:
        main()
    except KibanError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
