"""Tables on the terminal."""

from kiban.core.text import plain


def show(title: str, headings: list[str], rows: list[list[str]]) -> None:
    """Print a table on standard output. The columns `rows` and `size` are aligned to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=plain(title) or None, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("rows", "size") else "left", overflow="fold")
    for row in rows:
        table.add_row(*("\n".join(plain(line) for line in cell.split("\n")) for cell in row))
    # The width is fixed because the table is also read in the logs of CI.
    Console(width=100, highlight=False, markup=False).print(table)
