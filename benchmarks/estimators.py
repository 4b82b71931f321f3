"""The estimators of conf/model for tables of many numbers, on the flights: what each is worth, and what it costs.

The benchmark works in a clone, whose data are those of this repository: `make repro` comes first. It takes about three
minutes. Training is measured in seconds of a processor, of all threads together, since walls depend on other work; a
request in microseconds of one, of a record that is answered alone.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
MODELS = ["hist_gradient_boosting", "lightgbm", "xgboost"]
ROUNDS = 2000
REQUEST = f"""
import time, numpy as np
from kiban.servable.load import load
servable = load()
names = servable.manifest.example
from kiban.servable import columns
from kiban.request.schema import Schema
from kiban.serve.model import Served
from kiban.core.settings import read
from kiban.core import paths
from kiban.serve.service import Params
served = Served(servable, read(Params).serving, paths.EVALUATION)
records = served.schema.check([names])
for _ in range(100): served.predict(records)
times = []
for _ in range({ROUNDS}):
    started = time.process_time_ns()
    served.predict(records)
    times.append(time.process_time_ns() - started)
print(np.median(times) / 1000)
"""


def run(folder: Path, *command: str) -> str:
    boosters = ROOT / ".venv/estimators"
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}:{boosters}", "OMP_NUM_THREADS": "2"}
    environment |= {"PYTHONHASHSEED": "0", "OPENBLAS_CORETYPE": "Haswell"}
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def cpu_seconds(folder: Path, *command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(folder, *command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    table = Table(title="Estimators on the flights")
    for title in ("model", "ROC AUC, test", "Brier, test", "train, CPU s", "ONNX, kB", "request, CPU µs"):
        table.add_column(title, justify="left" if title == "model" else "right")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clone"
        run(ROOT, "git", "clone", "-q", str(ROOT), str(folder))
        run(folder, "dvc", "config", "--local", "cache.dir", run(ROOT, "dvc", "cache", "dir").strip())
        run(folder, "dvc", "checkout", "-q")
        for model in MODELS:
            run(folder, "kiban", "compose", f"model={model}")
            run(folder, sys.executable, "-m", "kiban.config")
            (folder / ".kiban_cache").mkdir(exist_ok=True)
            run(folder, "rm", "-rf", ".kiban_cache", "models/model.skops")
            train = cpu_seconds(folder, sys.executable, "-m", "kiban.train")
            run(folder, sys.executable, "-m", "kiban.evaluate")
            test = json.loads((folder / "reports/metrics.json").read_text())["test"]
            size = (folder / "models/servable/model.onnx").stat().st_size / 1000
            request = float(run(folder, sys.executable, "-c", REQUEST))
            table.add_row(
                model, f"{test['roc_auc']:.4f}", f"{test['brier']:.4f}", f"{train:.1f}", f"{size:.0f}", f"{request:.0f}"
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
