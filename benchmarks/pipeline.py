"""The time of a cold `dvc repro` against one bare Python process, and of a run in which nothing has changed.

The benchmark works in a copy of the committed project and takes about eight minutes.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).parents[1]
COLD_ROUNDS = 3
IDLE_ROUNDS = 7
MOST_COLD, MOST_IDLE = 2.0, 1.3
COMMANDS = [stage["cmd"] for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()]
# The modules that `python -m` runs; for a package it is __main__.
MODULES = [f"kiban.{name}" if "." in name else f"kiban.{name}.__main__" for name in (cmd[7:] for cmd in COMMANDS)]
BARE = "import importlib, sys\nfor module in sys.argv[1:]: importlib.import_module(module).main()"
# The environment of the stage commands, for both sides.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": "src",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_CORETYPE": "Haswell",
}


def seconds(folder: Path, *command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
    return time.perf_counter() - started


def forget(folder: Path) -> None:
    """Remove everything that a run has written, including DVC's cache and MLflow's store."""
    for name in (
        ".dvc/cache",
        ".dvc/tmp",
        ".kiban_cache",
        "data/raw/flights",
        "data/prepared/flights",
        "models/servable",
        "mlruns",
        ".kiban_outbox",
    ):
        shutil.rmtree(folder / name, ignore_errors=True)
    subprocess.run(["git", "clean", "-qfdx", "reports", "models"], cwd=folder, check=True)
    subprocess.run(["git", "checkout", "-q", "."], cwd=folder, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, Progress(transient=True) as progress:
        clone, empty = Path(scratch) / "clone", Path(scratch) / "empty"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        empty.mkdir()
        for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
            subprocess.run(command, cwd=empty, env=ENVIRONMENT, check=True)
        (empty / "dvc.yaml").write_text("stages: {}\n")
        shutil.copy(clone / ".dvc/config", empty / ".dvc/config")

        task = progress.add_task("cold", total=2 * COLD_ROUNDS)
        bare, cold = [], []
        for _ in range(COLD_ROUNDS):
            forget(clone)
            bare.append(seconds(clone, "python", "-c", BARE, *MODULES))
            progress.advance(task)
            forget(clone)
            cold.append(seconds(clone, "dvc", "repro"))
            progress.advance(task)
        task = progress.add_task("nothing changed", total=IDLE_ROUNDS)
        idle, nothing = [], []
        for _ in range(IDLE_ROUNDS):
            nothing.append(seconds(empty, "dvc", "repro"))
            idle.append(seconds(clone, "dvc", "repro"))
            progress.advance(task)
    table = Table(title="A pipeline of eight stages (medians of interleaved runs, seconds)", title_justify="left")
    for name in ("what", "kiban", "beside", "seconds", "ratio", "at most"):
        table.add_column(name, justify="left" if name in ("what", "beside") else "right")
    for label, our_seconds, beside, other_seconds, most in (
        ("cold dvc repro", cold, "the same functions in one bare process", bare, MOST_COLD),
        ("nothing changed", idle, "an empty DVC pipeline", nothing, MOST_IDLE),
    ):
        our_median, other_median = statistics.median(our_seconds), statistics.median(other_seconds)
        ratio = f"{our_median / other_median:.2f}"
        table.add_row(label, f"{our_median:.1f}", beside, f"{other_median:.1f}", ratio, f"{most}")
    Console(width=100).print(table)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help
    main()
