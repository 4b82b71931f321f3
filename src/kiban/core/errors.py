"""The error that users see, and how it is printed."""

import sys
from collections.abc import Callable

LONGEST = 300  # characters of a library's message


class KibanError(Exception):
    """An error that the user can correct. Its message is one sentence: what is wrong, where, and what to do."""


def one_line(error: BaseException | str) -> str:
    """The message of `error` on one line, at most LONGEST characters, or the name of its type if it has no message."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def exit_on_error(main: Callable[[], None]) -> None:
    """Run `main`; a KibanError becomes one line on standard error and exit status 1, without a traceback."""
    try:
        main()
    except KibanError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
