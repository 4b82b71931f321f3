"""Tables on the terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def tabulated(title: str, headings: list[str], rows: list[list[str]]) -> "Table":
    """A table whose numbers of rows and sizes stand to the right."""
    from rich.table import Table

    made = Table(title=title or None, title_justify="left")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in ("rows", "size") else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def show(made: "Table") -> None:
    """Print it, in a fixed width: it is read in the logs of CI too."""
    from rich.console import Console

    Console(width=100, highlight=False, markup=False).print(made)
