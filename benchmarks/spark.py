"""March of larger years of flights, prepared on Spark: seconds, and the memory of the driver.

    python benchmarks/spark.py 3 34            # millions of rows a year

Two workers on this machine, of one core each, read the raw rows from a store, or get them from the driver. The driver
is Python and its JVM, which has half of four gigabytes. `make .venv/spark/installed` and `make repro` come first.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from scale import A_YEAR, ROOT, SPLIT_OF_MONTH, clone, run

from kiban.core.files import md5, sha256

SPARK = ROOT / ".venv/spark"
PORT = 17077
URL = f"spark://127.0.0.1:{PORT}"
MONTH = "2013-03"
PREPARED = f"data/prepared/flights/{MONTH}.parquet"
OF_MONTH = """
from kiban.core import paths
from kiban.core.settings import read
from kiban.data import contract, verdict
from kiban.prepare.__main__ import Params
from kiban.prepare.batch import needed_by, prepare
from kiban.prepare.engine import engine
from kiban.prepare.features import load
params, raw = read(Params), contract.read_raw(paths.raw_contract("flights"))
features, last = load("flights.py", raw), "2013-03"
needed = needed_by(verdict.read("raw").accepted, last, features.lookback_days, params.dataset.timezone)
path, table = paths.prepared_file("flights", last), contract.prepared_of("flights")
prepare(params.dataset, engine(params.engine), raw, table, features, last, needed, {}, path)
"""


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A master and two workers."""
    kinds = [("Master", "--port", str(PORT))] + [("Worker", "--cores", "1", "--memory", "2g", URL)] * 2
    processes = []
    for number, (kind, *arguments) in enumerate(kinds):
        command = [str(SPARK / "pyspark/bin/spark-class"), f"org.apache.spark.deploy.{kind.lower()}.{kind}"]
        place = ["--host", "127.0.0.1", "--webui-port", "0"]
        work = ["--work-dir", str(folder / f"work{number}")] if kind == "Worker" else []
        local = {"SPARK_LOCAL_DIRS": str(folder), "SPARK_LOCAL_IP": "127.0.0.1"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen([*command, *place, *work, *arguments], env={**os.environ, **local}, **quiet))
        time.sleep(10)
    try:
        yield
    finally:
        for process in processes:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


def prepared(folder: Path, **variables: str) -> tuple[float, int]:
    """The seconds of a program that prepares the month, and the most memory of it and its JVM, in MB."""
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}:{SPARK}", "KIBAN_MEMORY": "4GB", **variables}
    started, peak = time.monotonic(), 0
    process = subprocess.Popen([sys.executable, "-c", OF_MONTH], cwd=folder, env=environment)
    while process.poll() is None:
        driver = psutil.Process(process.pid)
        try:
            sizes = [each.memory_info().rss for each in (driver, *driver.children(recursive=True))]
            peak = max(peak, sum(sizes))
        except psutil.NoSuchProcess:  # it has ended meanwhile
            pass
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"prepare ended with {process.returncode}")
    return time.monotonic() - started, peak >> 20


def measured(millions: int, table: Table) -> None:
    times = max(1, round(millions * 1e6 / A_YEAR))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        folder = Path(temporary) / "clone"
        months = clone(folder, times, is_month=True)
        kiban = str(Path(sys.executable).with_name("kiban"))
        run(folder, "4GB", kiban, "compose", *SPLIT_OF_MONTH)
        run(folder, "4GB", kiban, "ingest", "--new", "--now", "2014-06-01", "--until", months[-1])
        for stage in ("config", "validate.raw"):
            run(folder, "4GB", sys.executable, "-m", f"kiban.{stage}")
        store = Path(temporary) / "store"
        for raw in (folder / "data/raw/flights").rglob("*.parquet"):
            digest = md5(raw)
            (store / "files/md5" / digest[:2]).mkdir(parents=True, exist_ok=True)
            os.link(raw, store / "files/md5" / digest[:2] / digest[2:])
        digests = []

        def add(engine: str, seconds: float, peak: int) -> None:
            digests.append(sha256(folder / PREPARED))
            table.add_row(f"{millions} million", engine, f"{seconds:.0f}", f"{peak:,}")
            print(millions, engine, f"{seconds:.0f} s, {peak} MB", digests[-1][:8], file=sys.stderr, flush=True)
            (folder / PREPARED).unlink()

        add("DuckDB", *prepared(folder))
        run(folder, "4GB", kiban, "compose", "engine=pyspark", *SPLIT_OF_MONTH)
        with cluster(Path(temporary)):
            add("Spark, from the store", *prepared(folder, KIBAN_SPARK=URL, KIBAN_SPARK_STORE=store.as_uri()))
            add("Spark, sent", *prepared(folder, KIBAN_SPARK=URL))
        if len(set(digests)) > 1:
            raise SystemExit("the bytes differ")
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("millions", type=int, nargs="+")
    table = Table()
    for name in ("flights a year", "March prepared on", "seconds", "driver, MB"):
        table.add_column(name, justify="left" if name.startswith("March") else "right")
    for millions in parser.parse_args().millions:
        measured(millions, table)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
