"""`kiban plots`: DVC's plots as pictures, without a browser or a network."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from kiban.errors import KibanError


def specifications(root: Path) -> dict[str, dict[str, Any]]:
    """The Vega-Lite specifications of dvc.yaml's plots, with their data, by title; KibanError if DVC has none."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "plots", "show", "--json"], cwd=root, capture_output=True, text=True
    )
    shown = json.loads(done.stdout or "{}")
    if "data" not in shown:  # DVC may end with status 0 all the same
        raise KibanError(f"dvc plots show failed: {' '.join(done.stderr.split()) or shown}")
    return {
        title: plot["content"] for title, plots in shown["data"].items() for plot in plots if plot["type"] == "vega"
    }


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def plots(folder: Path) -> None:
    """Draw the plots of dvc.yaml as PNG files in FOLDER."""
    import vl_convert

    found = specifications(Path())
    if not found:
        raise KibanError("there is nothing to draw yet: run `dvc repro`")
    folder.mkdir(parents=True, exist_ok=True)
    for title, specification in found.items():
        path = folder / f"{re.sub('[^a-z0-9]+', '-', title.lower())}.png"
        path.write_bytes(vl_convert.vegalite_to_png(specification, scale=2))
        print(path)
