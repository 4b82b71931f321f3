"""Larger years of flights through the stages within 4 GB: rows a second and peak memory, beside one query of DuckDB.

    python benchmarks/scale.py 3 10            # millions of rows a year, whole
    python benchmarks/scale.py 34 100 --month  # March alone, with the days before it that its features look back on

Each flight is repeated with a flight number of its own. The benchmark works in a clone of the last commit, and reads
this repository's data/raw: `make repro` comes first. Each stage is a process of its own; its peak is that of the
operating system. `one query` is bare DuckDB: all features in one SQL statement, with the memory that Kiban gives
DuckDB, for the batches of the table.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
RAW = ROOT / "data/raw/flights"
A_YEAR = 336_776  # flights of 2013
MONTHS = [f"2013-{month:02d}" for month in range(1, 13)]
MONTH = ["2013-01", "2013-02", "2013-03"]  # January as it is, of February the days that March looks back on
SPLIT_OF_MONTH = [
    "split.train={first: 2013-01, last: 2013-01}",
    "split.validation={first: 2013-02, last: 2013-02}",
    "split.test={first: 2013-03, last: 2013-03}",
]
STAGES = ["validate.raw", "prepare", "validate.prepared", "train", "evaluate"]
MOST = 1.2  # of the seconds of prepare, after which the one query is ended
ONE_QUERY = """
import sys
from datetime import timedelta
from pathlib import Path
import ibis
from kiban.core import paths
from kiban.data import batches, duck
from kiban.features import flights
session = ibis.connect("duckdb://")
session.raw_sql(duck.set_up(Path("spill")))
def table(name, names):
    return session.read_parquet([str(paths.raw_file("flights", name, each)) for each in names])
months = sys.argv[1:]
first, zone = months[0], "America/New_York"
since = batches.bounds(first, zone)[0]
look_back = since - timedelta(days=flights.LOOKBACK_DAYS)
flown, weather = table("flights", read := sorted(path.stem for path in paths.raw_folder("flights").glob("flights/*"))), table("weather", read)
tables = {"flights": flown.filter(flown.time_hour >= look_back), "weather": weather.filter(weather.time_hour >= look_back), "planes": table("planes", ["static"])}
rows = flights.features(tables)
session.to_parquet(rows.filter(rows.scheduled_departure >= since), "one_query.parquet")
"""  # noqa: E501


class Measured(NamedTuple):
    """A command: its seconds, the most memory that it had, in MB, its status, and what it printed."""

    seconds: float
    peak: int
    status: int
    output: str


def measured(folder: Path, memory: str, *command: str) -> Measured:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "2", "KIBAN_MEMORY": memory}
    environment["PYTHONPATH"] += f":{ROOT / '.venv/estimators'}"  # of `make .venv/estimators/installed`
    environment |= {"PYTHONHASHSEED": "0", "OPENBLAS_CORETYPE": "Haswell", "GOMP_SPINCOUNT": "1000"}
    with tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        output.seek(0)
        return Measured(seconds, usage.ru_maxrss >> 10, os.waitstatus_to_exitcode(status), output.read())


def run(folder: Path, memory: str, *command: str) -> Measured:
    done = measured(folder, memory, *command)
    if done.status:
        raise SystemExit(f"{' '.join(command)} ended with {done.status}:\n{done.output}")
    return done


def enlarge(folder: Path, times: int, months: list[str], is_month: bool) -> None:
    """Write the source of the flights: each of them `times` times."""
    for month in months:
        only = "WHERE day >= 12 OR i = 0" if is_month and month == "2013-02" else ""
        query = (
            f"COPY (SELECT * EXCLUDE (i) REPLACE (flight * {times} + i AS flight) "  # noqa: S608
            f"FROM read_parquet('{RAW}/flights/{month}.parquet'), "
            f"range({1 if is_month and month == '2013-01' else times}) t(i) {only}) "
            f"TO '{folder}/incoming/flights-{month}.parquet' (ROW_GROUP_SIZE 1000000)"
        )
        # In a process of its own: the peak of what is measured begins with the memory of the process that starts it.
        program = f"import duckdb; duckdb.execute('SET preserve_insertion_order = false'); duckdb.execute({query!r})"
        subprocess.run([sys.executable, "-c", program], check=True)


def clone(folder: Path, times: int, is_month: bool) -> list[str]:
    """A clone with a larger source, without batches. Returns the names of its batches."""
    months = MONTH if is_month else MONTHS
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    (folder / "incoming").mkdir()
    enlarge(folder, times, months, is_month)
    conf = folder / "conf/dataset/flights.yaml"
    described = yaml.safe_load(conf.read_text())
    described["dataset"]["tables"]["flights"]["source"] = {
        "_target_": "kiban.sources.Files",
        "options": {"path": "incoming/flights-{batch}.parquet"},
    }
    conf.write_text("# @package _global_\n" + yaml.safe_dump(described, sort_keys=False))
    contract = folder / "conf/contract/flights/raw.yaml"
    contract.write_text(contract.read_text().replace("max: 9999,", "max: 99999999,"))
    (folder / "data/flights.batches.yaml").unlink()
    return months


def train_in_pieces(folder: Path, memory: str, share: str, is_month: bool) -> Measured:
    """Train XGBoost on all rows, from disk, and put the model of the sample in its place again."""
    kiban, stage = str(Path(sys.executable).with_name("kiban")), [sys.executable, "-m", "kiban.train"]
    settings = [f"sample={share}", *(SPLIT_OF_MONTH if is_month else [])]
    shutil.copytree(folder / "models", folder / "kept")
    run(folder, memory, kiban, "compose", "model=xgboost_on_disk", "model.n_estimators=50", *settings)
    done = run(folder, memory, *stage)
    shutil.rmtree(folder / "models")
    (folder / "kept").rename(folder / "models")
    run(folder, memory, kiban, "compose", *settings)
    return done


def scale(millions: int, is_month: bool, memory: str) -> Table:
    times = max(1, round(millions * 1e6 / A_YEAR))
    title = f"{times * A_YEAR / 1e6:.1f} million flights a year{', March' if is_month else ''}, {memory}"
    table = Table(title=title)
    for name in ("stage", "rows", "seconds", "rows a second", "peak, MB", "of them"):
        table.add_column(name, justify="left" if name in ("stage", "of them") else "right")

    def add(name: str, rows: int, done: Measured, note: str = "") -> None:
        table.add_row(name, f"{rows:,}", f"{done.seconds:.0f}", f"{rows / done.seconds:,.0f}", f"{done.peak:,}", note)
        print(name, rows, f"{done.seconds:.0f} s, {done.peak} MB {note}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        folder = Path(temporary) / "clone"
        months = clone(folder, times, is_month)
        python, kiban = sys.executable, str(Path(sys.executable).with_name("kiban"))
        run(folder, memory, kiban, "compose", *(SPLIT_OF_MONTH if is_month else []))
        until = ["--until", months[-1]]
        ingest = run(folder, memory, kiban, "ingest", "--new", "--now", "2014-06-01", *until)
        run(folder, memory, python, "-m", "kiban.config")
        rows = sum(
            entry["rows"]
            for entry in yaml.safe_load((folder / "data/flights.batches.yaml").read_text())["flights"].values()
        )
        add("ingest", rows, ingest)
        limit = 0.0
        for stage in STAGES:
            done = measured(folder, memory, python, "-m", f"kiban.{stage}")
            note = ""
            share = None
            if stage == "train" and (share := re.search(r"sample: ([\d.]+)", done.output)):
                run(folder, memory, kiban, "compose", f"sample={share[1]}", *(SPLIT_OF_MONTH if is_month else []))
                run(folder, memory, python, "-m", "kiban.config")
                done, note = run(folder, memory, python, "-m", "kiban.train"), f"a sample of {share[1]}"
            if done.status:
                raise SystemExit(f"{stage} ended with {done.status}:\n{done.output}")
            add(stage, rows, done, note)
            limit = MOST * done.seconds if stage == "prepare" else limit
            if stage == "train" and share:
                add("train, XGBoost", rows, train_in_pieces(folder, memory, share[1], is_month), "all, 50 trees")
        last = f"data/prepared/flights/{months[-1]}.parquet"
        of_last = pq.read_metadata(folder / last).num_rows
        add("kiban score", of_last, run(folder, memory, kiban, "score", last, "scored.parquet"), months[-1])
        asked = months[1:] if is_month else months
        one = measured(folder, memory, "timeout", f"{limit:.0f}", python, "-c", ONE_QUERY, *asked)
        failed = {124: "not done by then"}.get(one.status, one.output.strip()[-60:]) if one.status else ""
        add("one query", rows, one, failed)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("millions", type=int, nargs="+")
    parser.add_argument("--month", action="store_true")
    parser.add_argument("--memory", default="4GB")
    arguments = parser.parse_args()
    tables = [scale(millions, arguments.month, arguments.memory) for millions in arguments.millions]
    for table in tables:
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
