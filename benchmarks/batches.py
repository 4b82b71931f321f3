"""The time of one more month after 12, 60 and 120 months, from ingest to validate_prepared, and the time of all months.

The year of flights and weather is repeated with shifted dates, as Parquet files that the source `Files` reads. The
benchmark works in a copy of the committed project and takes about half an hour.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).parents[1]
HISTORIES = (12, 60, 120)
ROUNDS = 3
MOST = 1.3  # the limit for the time of one more month, divided by that after the shortest history
FIRST_YEAR = 2008  # summer time follows the rules of 2013 since then, so that each month starts at the same hour
ZONE = "America/New_York"
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
TABLES = """  tables:
    flights: {source: {_target_: kiban.sources.Files, options: {path: "incoming/flights/{batch}.parquet"}}}
    weather: {source: {_target_: kiban.sources.Files, options: {path: "incoming/weather/{batch}.parquet"}}}
    planes: {source: {_target_: kiban.sources.Files, options: {path: incoming/planes.parquet}}}
"""


def shifted(rows: pd.DataFrame, year: int) -> pd.DataFrame:
    """Rows of 2013 with their dates moved to `year`. Local date and hour are computed from the moved time."""
    days = pd.to_datetime({"year": year, "month": rows.month, "day": rows.day}) - pd.to_datetime(
        {"year": rows.year, "month": rows.month, "day": rows.day}
    )
    time_hour = rows.time_hour + days
    local = time_hour.dt.tz_convert(ZONE).dt
    moved = rows.assign(time_hour=time_hour, year=local.year, month=local.month, day=local.day, hour=local.hour)
    if "sched_dep_time" not in moved:
        return moved
    # If summer time begins on another date, the departure moves by an hour, and the times derived from it do too.
    scheduled = 100 * moved.hour + moved.minute
    delayed = scheduled // 100 * 60 + scheduled % 100 + rows.dep_delay
    departed = (delayed % 1440) // 60 * 100 + (delayed % 1440) % 60
    return moved.assign(sched_dep_time=scheduled, dep_time=departed)


def lay_down(clone: Path, tables: dict[str, dict[int, pd.DataFrame]], month: int) -> None:
    """Write the files of a month; `month` counts from January of FIRST_YEAR, which is 0."""
    year, month_of_year = FIRST_YEAR + month // 12, month % 12 + 1
    name = f"{year}-{month_of_year:02d}"
    for table, months in tables.items():
        path = clone / f"incoming/{table}/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        shifted(months[month_of_year], year).to_parquet(path, index=False)


def seconds(clone: Path) -> float:
    """The seconds of `kiban ingest --new` and the pipeline up to validate_prepared."""
    started = time.perf_counter()
    for command in (["kiban", "ingest", "--new"], ["dvc", "repro", "-q", "validate_prepared"]):
        process = subprocess.run(command, cwd=clone, env=ENVIRONMENT, capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr
    return time.perf_counter() - started


def new_clone(folder: Path) -> Path:
    """A copy of the committed project whose source is the folder incoming/, without any batches."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    dataset = folder / "conf/dataset/flights.yaml"
    dataset.write_text(dataset.read_text().partition("  tables:\n")[0] + TABLES)
    for name in ("data/flights.batches.yaml", "dvc.lock"):
        (folder / name).unlink()
    (folder / "incoming").mkdir()
    planes = pd.read_parquet(ROOT / "data/raw/flights/planes/static.parquet")
    planes.to_parquet(folder / "incoming/planes.parquet", index=False)
    subprocess.run(["kiban", "compose"], cwd=folder, env=ENVIRONMENT, check=True)
    return folder


def main() -> None:
    tables = {
        table: {
            month: pd.read_parquet(ROOT / f"data/raw/flights/{table}/2013-{month:02d}.parquet")
            for month in range(1, 13)
        }
        for table in ("flights", "weather")
    }
    all_seconds: dict[int, float] = {}
    one_seconds: dict[int, list[float]] = {history: [] for history in HISTORIES}
    with tempfile.TemporaryDirectory() as scratch, Progress(transient=True) as progress:
        task = progress.add_task("runs", total=len(HISTORIES) * (1 + ROUNDS))
        clones = {history: new_clone(Path(scratch) / str(history)) for history in HISTORIES}
        for history, clone in clones.items():
            for month in range(history):
                lay_down(clone, tables, month)
            all_seconds[history] = seconds(clone)
            progress.advance(task)
        for number in range(ROUNDS):  # interleaved, so that a slow minute of the machine affects all histories
            for history, clone in clones.items():
                lay_down(clone, tables, history + number)
                one_seconds[history].append(seconds(clone))
                progress.advance(task)
    print_table(all_seconds, {history: statistics.median(rounds) for history, rounds in one_seconds.items()})


def print_table(all_seconds: dict[int, float], one_seconds: dict[int, float]) -> None:
    table = Table(title=f"Seconds, ingest to validate_prepared (one more: median of {ROUNDS})", title_justify="left")
    for name in ("months", "all of them", "one more", "times the first", "at most"):
        table.add_column(name, justify="right")
    for history in HISTORIES:
        ratio = one_seconds[history] / one_seconds[HISTORIES[0]]
        cells = f"{all_seconds[history]:.0f}", f"{one_seconds[history]:.1f}", f"{ratio:.2f}", f"{MOST}"
        table.add_row(str(history), *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help
    main()
