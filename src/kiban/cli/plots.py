"""`kiban plots`: draws DVC's plots as pictures."""

from pathlib import Path

import click

from kiban.cli.places import Place
from kiban.core.errors import KibanError


@click.command()
@click.argument("folder", type=Place(file_okay=False, path_type=Path))
def plots(folder: Path) -> None:
    """Draw the plots of dvc.yaml as PNG files in FOLDER.

    \b
    Examples:
      kiban plots pictures
    """
    from kiban.track.plots import draw, specifications

    plots_by_title = specifications(Path())
    if not plots_by_title:
        raise KibanError("there is nothing to draw yet: run `dvc repro`")
    for file in draw(plots_by_title, folder).values():
        print(file)
