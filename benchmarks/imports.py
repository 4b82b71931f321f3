"""What starting a stage, or the service, costs: its imports in a new process, and which of the heavy ones it needs."""

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
# Time on the processor, which other programs on the machine disturb less than time on the clock.
CODE = """
import importlib, json, sys, time
started = time.process_time()
importlib.import_module(sys.argv[1])
print(json.dumps([time.process_time() - started, [name for name in sys.argv[2:] if name in sys.modules]]))
"""


def measure(module: str) -> tuple[float, list[str]]:
    """Median seconds to import a module in a new process, and the heavy packages that this brings in."""
    seconds, heavy = [], []
    for _ in range(ROUNDS):
        output = subprocess.run([sys.executable, "-c", CODE, module, *HEAVY], capture_output=True, check=True).stdout
        spent, heavy = json.loads(output)
        seconds.append(spent)
    return statistics.median(seconds), heavy


def main() -> None:
    table = Table(title=f"Imports (median of {ROUNDS} new processes)", title_justify="left")
    table.add_column("what")
    table.add_column("CPU seconds", justify="right")
    table.add_column("heavy packages")
    for what, module in MODULES.items():
        seconds, heavy = measure(module)
        table.add_row(what, f"{seconds:.2f}", ", ".join(heavy))
    Console(width=100).print(table)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help
    main()
