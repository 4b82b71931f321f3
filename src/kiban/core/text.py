"""Text that comes from data, from git or from a library, made fit to be shown."""

import unicodedata
from typing import Any

LONGEST = 200  # characters of a value
LONGEST_MESSAGE = 2000
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode's categories of characters that a terminal obeys, or that hide or reorder the others."""


def plain(value: Any, longest: int = LONGEST) -> str:
    """The value as one line of text. Control characters are shown as escapes, and a long text is cut."""
    text = str(value)
    cut = text[:longest]
    if not cut.isprintable():
        cut = "".join(_escaped(character) for character in cut)
    return cut if len(text) <= longest else f"{cut}… ({len(text):,} characters)"


def _escaped(character: str) -> str:
    if unicodedata.category(character) in INVISIBLE:
        return character.encode("unicode_escape").decode()
    return character


def message(value: Any) -> str:
    """A message of one or more lines, each as `plain` shows it."""
    return "\n".join(plain(line, LONGEST_MESSAGE) for line in str(value).split("\n"))
