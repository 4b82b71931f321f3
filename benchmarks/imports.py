"""The time to import each stage and the service in a new process, and the heavy packages that each imports."""

import argparse
import json
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

ROUNDS = 5
STAGES = ("config", "ingest", "validate.raw", "prepare", "validate.prepared", "train", "evaluate", "track")
MODULES = {
    **{f"stage {name}": f"kiban.{name}" if "." in name else f"kiban.{name}.__main__" for name in STAGES},
    "expectations, which validate imports if there is something to check": "kiban.validate.expectations",
    "mlflow, which track imports late": "mlflow.sklearn",
    "service": "kiban.serve.service",
}
HEAVY = [
    "great_expectations",
    "sklearn",
    "skl2onnx",
    "pandas",
    "ibis",
    "duckdb",
    "pyarrow",
    "onnxruntime",
    "mlflow",
    "hydra",
    "bentoml",
]
# Processor time: other programs on the machine disturb it less than clock time.
CODE = """
import importlib, json, sys, time
started = time.process_time()
importlib.import_module(sys.argv[1])
print(json.dumps([time.process_time() - started, [name for name in sys.argv[2:] if name in sys.modules]]))
"""


def measure(module: str) -> tuple[float, list[str]]:
    """The median seconds to import a module in a new process, and the heavy packages that it imports."""
    seconds, heavy = [], []
    for _ in range(ROUNDS):
        output = subprocess.run([sys.executable, "-c", CODE, module, *HEAVY], capture_output=True, check=True).stdout
        import_seconds, heavy = json.loads(output)
        seconds.append(import_seconds)
    return statistics.median(seconds), heavy


def main() -> None:
    table = Table(title=f"Imports (median of {ROUNDS} new processes)", title_justify="left")
    table.add_column("what")
    table.add_column("CPU seconds", justify="right")
    table.add_column("heavy packages")
    for label, module in MODULES.items():
        seconds, heavy = measure(module)
        table.add_row(label, f"{seconds:.2f}", ", ".join(heavy))
    Console(width=100).print(table)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help
    main()
