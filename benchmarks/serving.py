"""The endpoint against its alternatives: CPU time of a request, latency, time until ready, and memory.

Four servers run at once, with one worker process each. A separate process sends them the same records of real flights,
in turn. CPU time is that of all processes of a server. The engines differ: Flask and MLflow run the scikit-learn
pipeline, FastAPI and kiban the ONNX file that was made from it. `--seconds` is the time of each measurement (3),
`--rounds` the number of rounds (5).
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kiban.data import contract

ROOT = Path(__file__).parents[1]
FEATURES = list(contract.read_prepared(ROOT / "models/servable/contract.yaml").features())
BATCH = 1000
LOADS = {"1": (1, 1), "32": (32, 1), "batch": (1, BATCH)}  # connections, records
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass
class Server:
    name: str
    command: list[str]
    port: int
    path: str
    records: str  # the key of the records in a request's body

    def start(self, folder: Path) -> None:
        self.log = (folder / f"{self.port}.log").open("wb")
        started = time.perf_counter()
        self.process = psutil.Popen(
            self.command, cwd=ROOT, env={**ENVIRONMENT, "BENTOML_HOME": str(folder)}, stdout=self.log, stderr=self.log
        )
        body = bodies(self, 1, 1)
        while not self.answers(body):
            assert self.process.poll() is None, f"{self.name} ended: see {self.log.name}"
            time.sleep(0.02)
        self.ready = time.perf_counter() - started

    def answers(self, body: bytes) -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.path}", body, {"Content-Type": "application/json"}
        )
        try:
            return urllib.request.urlopen(request).status == 200  # noqa: S310
        except (urllib.error.URLError, ConnectionError):
            return False

    def family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        times = [process.cpu_times() for process in self.family()]
        return sum(process_times.user + process_times.system for process_times in times)

    def memory(self) -> float:
        return sum(process.memory_full_info().pss for process in self.family()) / 1e6

    def stop(self) -> None:
        for process in reversed(self.family()):
            process.terminate()
        psutil.wait_procs(self.family(), timeout=10)


def bodies(server: Server, requests: int, records: int) -> bytes:
    """Bodies of requests, one on each line, with real flights of December; unknown values are null."""
    rows = pq.read_table(ROOT / "data/prepared/flights/2013-12.parquet", columns=FEATURES).slice(3000).to_pylist()
    parts = [rows[number * records : (number + 1) * records] for number in range(requests)]
    return b"\n".join(json.dumps({server.records: part}).encode() for part in parts)


def measure(server: Server, file: Path, connections: int, seconds: float) -> tuple[float, list[float]]:
    """The mean CPU milliseconds of a request, and the milliseconds from each request to its answer."""
    cpu_before = server.cpu()
    command = [sys.executable, ROOT / "benchmarks/load.py", str(server.port), server.path, file, str(connections)]
    process = subprocess.run([*command, str(seconds)], capture_output=True, text=True)
    assert process.returncode == 0, f"{server.name}: {process.stderr}"
    durations = json.loads(process.stdout)
    return (server.cpu() - cpu_before) * 1000 / len(durations), durations


def servers(folder: Path) -> list[Server]:
    import mlflow.sklearn

    from kiban.servable import skops_file

    mlflow.sklearn.save_model(
        skops_file.load(ROOT / "models/model.skops"),
        str(folder / "model"),
        pip_requirements=[],
        serialization_format="skops",
        skops_trusted_types=skops_file.TRUSTED,
        pyfunc_predict_fn="predict_proba",
    )
    ports = [free_port() for _ in range(4)]
    peers = str(ROOT / "benchmarks/peers")
    bento = ["bentoml", "serve", "--port", str(ports[0])]
    fastapi = ["uvicorn", "--app-dir", peers, "fastapi_app:app", "--port", str(ports[1]), "--no-access-log"]
    flask = ["gunicorn", "--chdir", peers, "flask_app:app", "-b", f"127.0.0.1:{ports[2]}", "-w", "1"]
    served = ["mlflow", "models", "serve", "-m", str(folder / "model"), "-p", str(ports[3]), "--env-manager", "local"]
    return [
        Server("kiban (BentoML + ONNX)", bento, ports[0], "/predict", "records"),
        Server("FastAPI + uvicorn + ONNX", fastapi, ports[1], "/predict", "records"),
        Server("Flask + gunicorn + scikit-learn", flask, ports[2], "/predict", "records"),
        Server("mlflow models serve", [*served, "-w", "1"], ports[3], "/invocations", "dataframe_records"),
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def show(results: dict[str, dict[str, list[tuple[float, list[float]]]]], running: list[Server]) -> None:
    cpu = {
        name: {load: statistics.median(cpu for cpu, _ in rounds) for load, rounds in by_load.items()}
        for name, by_load in results.items()
    }
    peer = cpu["FastAPI + uvicorn + ONNX"]
    console = Console(width=100)
    table = Table(title="CPU milliseconds a request (times FastAPI's); ready; memory", title_justify="left")
    for heading in ("", "1 connection", "32 connections", f"{BATCH:,} records", "ready s", "MB"):
        table.add_column(heading, justify="right" if heading else "left")
    for server in running:
        by_load = cpu[server.name]
        cells = [f"{by_load[load]:.3g} ({by_load[load] / peer[load]:.2f})" for load in LOADS]
        table.add_row(server.name, *cells, f"{server.ready:.1f}", f"{server.memory():.0f}")
    console.print(table)
    table = Table(title="Milliseconds from request to answer, p50 / p99, medians of the rounds", title_justify="left")
    for heading in ("", "1 connection", "32 connections", f"{BATCH:,} records"):
        table.add_column(heading, justify="right" if heading else "left")
    for server in running:
        cells = []
        for load in LOADS:
            rounds = [durations for _, durations in results[server.name][load]]
            medians = [statistics.median(percentile(durations, share) for durations in rounds) for share in (0.5, 0.99)]
            cells.append(" / ".join(f"{median:.2f}" for median in medians))
        table.add_row(server.name, *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kiban-serving-"))
    running = servers(folder)
    try:
        for server in track(running, description="start"):
            server.start(folder)
        results: dict[str, Any] = {server.name: {load: [] for load in LOADS} for server in running}
        turns = [(load, server) for _ in range(options.rounds + 1) for load in LOADS for server in running]
        for number, (load, server) in enumerate(track(turns, description="measure")):
            connections, records = LOADS[load]
            file = folder / f"{server.records}-{records}"
            if not file.exists():
                file.write_bytes(bodies(server, 200 if records == 1 else 5, records))
            measured = measure(server, file, connections, options.seconds)
            if number >= len(LOADS) * len(running):  # the first round only warms up
                results[server.name][load].append(measured)
        show(results, running)
    finally:
        for server in running:
            if hasattr(server, "process"):
                server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
