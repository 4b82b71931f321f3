"""DVC's plots as pictures, without a browser or a network."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from kiban.core.errors import KibanError

MOST_SECONDS = 60
REVISION = "rev"  # DVC's name of the column
SIDES = {"before": "#9aa0a6", "after": "#0969da"}


def specifications(root: Path, *revisions: str) -> dict[str, dict[str, Any]]:
    """The Vega-Lite specifications of dvc.yaml's plots, with their data, by title.

    Without revisions they show the working tree; with one, that revision and the working tree; with two, both of them.
    Raises KibanError if DVC fails, or does not finish within a minute.
    """
    command = ["plots", "diff", "--json", *revisions] if revisions else ["plots", "show", "--json"]
    try:
        process = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=root, capture_output=True, text=True, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise KibanError(f"dvc {' '.join(command[:2])} did not finish within {MOST_SECONDS} seconds") from None
    try:
        output = json.loads(process.stdout or "{}")
    except ValueError:
        output = {}
    if "data" not in output:  # the exit status does not tell: DVC may fail with status 0
        reason = " ".join(process.stderr.split()) or process.stdout[:300]
        raise KibanError(f"dvc {' '.join(command[:2])} failed: {reason}")
    return {
        title: plot["content"] for title, plots in output["data"].items() for plot in plots if plot["type"] == "vega"
    }


def before_and_after(specifications: dict[str, dict[str, Any]], before: str) -> dict[str, dict[str, Any]]:
    """The specifications of two revisions, in the same colours and words: `before` is grey, the other is blue."""
    return {title: _in_words(specification, before) for title, specification in specifications.items()}


def _in_words(node: Any, before: str) -> Any:
    if isinstance(node, list):
        items = [_in_words(item, before) for item in node]
        # What was before is drawn first, beneath what is after.
        return sorted(items, key=lambda item: isinstance(item, dict) and item.get(REVISION) == "after")
    if not isinstance(node, dict):
        return node
    if node.get("field") == REVISION and "scale" in node:
        return {**node, "title": None, "scale": {"domain": list(SIDES), "range": list(SIDES.values())}}
    renamed = {name: _in_words(value, before) for name, value in node.items()}
    if isinstance(node.get(REVISION), str):
        renamed[REVISION] = "before" if node[REVISION] == before else "after"
    return renamed


def draw(specifications: dict[str, dict[str, Any]], folder: Path) -> dict[str, Path]:
    """Draw specifications as PNG files in `folder`, and return the paths by title."""
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for title, specification in specifications.items():
        files[title] = folder / f"{re.sub('[^a-z0-9]+', '-', title.lower())}.png"
        files[title].write_bytes(vl_convert.vegalite_to_png(specification, scale=2))
    return files
