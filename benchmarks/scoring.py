"""`kiban score` against pandas with scikit-learn: rows per second, with reading and writing, and memory.

Whole processes score the same file in turn. It has `--rows` rows (1,000,000): the prepared flights, repeated.
`--rounds` is the number of turns (3). kiban alone scores `--large` rows (10,000,000) once.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parents[1]
KIBAN = [sys.executable, "-c", "from kiban.cli import main; main()", "score"]
SKLEARN = [sys.executable, str(ROOT / "benchmarks/peers/sklearn_score.py")]
PROGRAMS = {"kiban score": KIBAN, "pandas + scikit-learn": SKLEARN}


def write(path: Path, number: int) -> Path:
    """Write `number` rows, the prepared flights repeated, to `path`, and return `path`."""
    flights = pa.concat_tables(
        pq.read_table(file, partitioning=None) for file in sorted((ROOT / "data/prepared/flights").glob("*.parquet"))
    )
    is_csv = path.suffix == ".csv"
    writer_class = pyarrow.csv.CSVWriter if is_csv else pq.ParquetWriter
    with writer_class(path, flights.schema) as writer:
        for first in range(0, number, flights.num_rows):
            writer.write_table(flights.slice(0, number - first))
    return path


def count_rows(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    with path.open("rb") as file:  # no value has a line end
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 24), b"")) - 1


def measure(command: list[str], source: Path) -> tuple[float, float]:
    """The seconds and the peak memory in MB of a process that scores the file."""
    target = source.with_name("out" + source.suffix)
    started = time.perf_counter()
    process = psutil.Popen([*command, str(source), str(target)], cwd=ROOT, stdout=subprocess.DEVNULL)
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            try:
                peak[0] = max(peak[0], process.memory_info().rss / 1e6)
            except psutil.NoSuchProcess:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    status = process.wait()
    duration = time.perf_counter() - started
    ended.set()
    thread.join()
    assert status == 0
    assert count_rows(target) == count_rows(source)
    target.unlink()
    return duration, peak[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=10_000_000)
    options = parser.parse_args()
    table = Table(title=f"{os.cpu_count()} cores, medians of {options.rounds} rounds in turn", title_justify="left")
    for heading in ("", "rows", "file", "seconds", "rows a second", "times", "most MB"):
        table.add_column(heading, justify="left" if heading in ("", "file") else "right")
    with tempfile.TemporaryDirectory(prefix="kiban-scoring-") as folder:
        for kind in ("parquet", "csv"):
            file = write(Path(folder) / f"in.{kind}", options.rows)
            measured: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
            turns = [name for _ in range(options.rounds) for name in PROGRAMS]
            for name in track(turns, description=kind):
                measured[name].append(measure(PROGRAMS[name], file))
            seconds = {name: statistics.median(duration for duration, _ in runs) for name, runs in measured.items()}
            for name, runs in measured.items():
                times = seconds["pandas + scikit-learn"] / seconds[name]
                speed = f"{options.rows / seconds[name]:,.0f}"
                memory = f"{max(memory for _, memory in runs):,.0f}"
                table.add_row(name, f"{options.rows:,}", kind, f"{seconds[name]:.1f}", speed, f"{times:.2f}", memory)
            file.unlink()
            duration, memory = measure(KIBAN, write(file, options.large))
            speed = f"{options.large / duration:,.0f}"
            table.add_row("kiban score", f"{options.large:,}", kind, f"{duration:.1f}", speed, "", f"{memory:,.0f}")
            file.unlink()
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
