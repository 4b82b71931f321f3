"""The error that users see, and how it is printed."""

import sys
from collections.abc import Callable
from typing import NoReturn

from kiban.core.text import message, plain

LONGEST = 300  # characters of a library's message


class KibanError(Exception):
    """An error that the user can correct. Its message is one sentence: what is wrong, where, and what to do."""


def one_line(error: BaseException | str) -> str:
    """The message of `error` on one line, cut at LONGEST characters, or the name of its type if it has no message."""
    return plain(" ".join(str(error).split()), LONGEST) or type(error).__name__


def exit_on_error(main: Callable[[], None]) -> None:
    """Run `main`. What ends it becomes one line on standard error, without a traceback.

    The exit status is 1 for a KibanError and for what the system refuses, such as room on the disk, and 130 for Ctrl-C.
    """
    try:
        main()
    except KibanError as error:
        _exit(f"error: {message(error)}", 1)
    except OSError as error:
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _exit(message(f"error: {where}{error.strerror}"), 1)
    except KeyboardInterrupt:
        _exit("interrupted", 130)


def _exit(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(status)
