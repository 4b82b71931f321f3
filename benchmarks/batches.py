"""What one more month costs after 12, 60 and 120 months, ingest to validate_prepared, beside a run of all of them.

The year of flights and weather is repeated under shifted dates, as Parquet files that the source `Files` finds. Works
in a copy of the committed project. Takes about half an hour.
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
MOST = 1.3  # times what it costs after the shortest history
FIRST_YEAR = 2008  # since when summer time is as in 2013, so that no month begins at another hour
ZONE = "America/New_York"
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
DATASET = f"""name: flights
features: flights.py
timezone: {ZONE}
tables:
  flights: {{source: {{_target_: kiban.sources.Files, options: {{path: "incoming/flights/{{batch}}.parquet"}}}}}}
  weather: {{source: {{_target_: kiban.sources.Files, options: {{path: "incoming/weather/{{batch}}.parquet"}}}}}}
  planes: {{source: {{_target_: kiban.sources.Files, options: {{path: incoming/planes.parquet}}}}}}
"""


def shifted(rows: pd.DataFrame, year: int) -> pd.DataFrame:
    """Rows of 2013 with their dates in `year`: local date and hour follow the shifted time, so that they agree."""
    days = pd.to_datetime({"year": year, "month": rows.month, "day": rows.day}) - pd.to_datetime(
        {"year": rows.year, "month": rows.month, "day": rows.day}
    )
    time_hour = rows.time_hour + days
    local = time_hour.dt.tz_convert(ZONE).dt
    moved = rows.assign(time_hour=time_hour, year=local.year, month=local.month, day=local.day, hour=local.hour)
    if "sched_dep_time" not in moved:
        return moved
    # Where summer time begins on another date, the departure is an hour off: so are the times that are told from it.
    scheduled = 100 * moved.hour + moved.minute
    delayed = scheduled // 100 * 60 + scheduled % 100 + rows.dep_delay
    departed = (delayed % 1440) // 60 * 100 + (delayed % 1440) % 60
    return moved.assign(sched_dep_time=scheduled, dep_time=departed)


def lay_down(clone: Path, tables: dict[str, dict[int, pd.DataFrame]], month: int) -> None:
    """Write the month of this number since FIRST_YEAR as files."""
    year, of_year = FIRST_YEAR + month // 12, month % 12 + 1
    name = f"{year}-{of_year:02d}"
    for table, months in tables.items():
        path = clone / f"incoming/{table}/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        shifted(months[of_year], year).to_parquet(path, index=False)


def seconds(clone: Path) -> float:
    """`kiban ingest --new`, then the pipeline up to validate_prepared."""
    started = time.perf_counter()
    for command in (["kiban", "ingest", "--new"], ["dvc", "repro", "-q", "validate_prepared"]):
        done = subprocess.run(command, cwd=clone, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - started


def new_clone(folder: Path) -> Path:
    """A copy of the committed project that takes its flights from files in incoming/, and has none yet."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    (folder / "conf/dataset/flights.yaml").write_text(DATASET)
    for of_the_year in ("data/flights.batches.yaml", "dvc.lock"):
        (folder / of_the_year).unlink()
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
    whole: dict[int, float] = {}
    more: dict[int, list[float]] = {history: [] for history in HISTORIES}
    with tempfile.TemporaryDirectory() as scratch, Progress(transient=True) as progress:
        task = progress.add_task("runs", total=len(HISTORIES) * (1 + ROUNDS))
        clones = {history: new_clone(Path(scratch) / str(history)) for history in HISTORIES}
        for history, clone in clones.items():
            for month in range(history):
                lay_down(clone, tables, month)
            whole[history] = seconds(clone)
            progress.advance(task)
        for number in range(ROUNDS):  # in turn, so that a slower minute of the machine meets all of them
            for history, clone in clones.items():
                lay_down(clone, tables, history + number)
                more[history].append(seconds(clone))
                progress.advance(task)
    print_table(whole, {history: statistics.median(of) for history, of in more.items()})


def print_table(whole: dict[int, float], one: dict[int, float]) -> None:
    table = Table(title=f"Seconds, ingest to validate_prepared (one more: median of {ROUNDS})", title_justify="left")
    for name in ("months", "all of them", "one more", "times the first", "at most"):
        table.add_column(name, justify="right")
    for history in HISTORIES:
        ratio = one[history] / one[HISTORIES[0]]
        table.add_row(str(history), f"{whole[history]:.0f}", f"{one[history]:.1f}", f"{ratio:.2f}", f"{MOST}")
    Console(width=100).print(table)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help
    main()
