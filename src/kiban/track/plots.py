"""DVC's plots as pictures, without a browser or a network."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from kiban.core.errors import KibanError

MOST_SECONDS = 60


def specifications(root: Path, *revisions: str) -> dict[str, dict[str, Any]]:
    """The Vega-Lite specifications of dvc.yaml's plots, with their data, by title.

    Those of the working tree; with one revision, of it and the working tree in one; with two, of both. Raises
    KibanError if DVC has none, or is not done within a minute.
    """
    command = ["plots", "diff", "--json", *revisions] if revisions else ["plots", "show", "--json"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=root, capture_output=True, text=True, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise KibanError(f"dvc {' '.join(command[:2])} was not done within {MOST_SECONDS} seconds") from None
    try:
        shown = json.loads(done.stdout or "{}")
    except ValueError:
        shown = {}
    if "data" not in shown:  # DVC may end with status 0 all the same
        raise KibanError(f"dvc {' '.join(command[:2])} failed: {' '.join(done.stderr.split()) or done.stdout[:300]}")
    return {
        title: plot["content"] for title, plots in shown["data"].items() for plot in plots if plot["type"] == "vega"
    }


def draw(specifications: dict[str, dict[str, Any]], folder: Path) -> dict[str, Path]:
    """Draw specifications as PNG files in `folder`, and return the files by title."""
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for title, specification in specifications.items():
        files[title] = folder / f"{re.sub('[^a-z0-9]+', '-', title.lower())}.png"
        files[title].write_bytes(vl_convert.vegalite_to_png(specification, scale=2))
    return files
