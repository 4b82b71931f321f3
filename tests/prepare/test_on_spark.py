"""The features on a real Spark: on this machine, on a cluster whose workers see no folder of ours, and behind Connect.

`make test-long` installs Spark beside the environment; Java is the machine's.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import pytest
from slice import ROOT, compose_here

from kiban.core import files, paths

SPARK = ROOT / ".venv/spark"
NOBODY = 65534
BATCHES = ["2013-01", "2013-02", "2013-03"]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (SPARK / "pyspark").is_dir(), reason="no Spark: make .venv/spark/installed"),
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java"),
]


OF_LAST_MONTH = """
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
print(prepare(params.dataset, engine(params.engine), raw, table, features, last, needed, {}, path).sha256)
"""

PLANTED = """
import tempfile
from pathlib import Path
import ibis
import pyarrow as pa
from kiban.data import exact, parquet
from kiban.data.contract import Table
from kiban.prepare import on_duckdb, on_spark
columns = {"id": "integer", "name": "string", "at": "integer", "by": "string", "delay": "integer", "when": "timestamp"}
def described(columns):
    filled = ("id", "name")
    return {name: {"type": kind, "nullable": name not in filled, "description": ""} for name, kind in columns.items()}
raw = Table(description="", key=["id"], columns=described(columns))
# Both ends of a window of two hours, rows at one time, nulls in each column, and means that end in a half.
at = [0, 0, 3600, 7200, 7200, 7201, 7201, 14400, 14401, None]
rows = {"id": list(range(10)), "at": at, "by": ["a", "b", None, "a", "b", None, "a", "b", "a", "a"]}
rows |= {"name": ["a", "b", "ä", "A", "Z", "é", "aa", "B", "_", "z"]}
rows |= {"delay": [1, -2, None, 2, -1, 5, 4, None, 7, 3], "when": [None, *range(0, 9_000_000_000, 1_000_000_000)]}
with tempfile.TemporaryDirectory() as folder:
    scratch, path = Path(folder), Path(folder) / "rows.parquet"
    parquet.write(pa.table(rows, parquet.schema(raw)), path)
    found = []
    for engine in (on_duckdb, on_spark):
        session = engine.connect(scratch)
        with path.open("rb") as file:
            table = engine.table(session, "planted 2013-01.2", [file])
            made = {}
            for name, group in (("all", []), ("group", ["by"])):
                window = ibis.range_window(group_by=group, order_by="at", preceding=7200, following=0)
                total, count = table.delay.sum().over(window), table.delay.count().over(window)
                made |= {f"{name}_mean": exact.mean(total, count, 0), f"{name}_count": count, f"{name}_sum": total}
            features = table.select("id", "name", "by", "when", day=table.when.day_of_week.full_name(), **made)
            kinds = {"id": "integer", "name": "string", "by": "string", "when": "timestamp", "day": "string"}
            kinds |= {name: "number" if name.endswith("mean") else "integer" for name in made}
            prepared = Table(description="", key=["name", "id"], columns=described(kinds))
            parts = engine.in_order(session, features, prepared, 10, "planted", scratch)
            found.append(pa.concat_tables(parts).combine_chunks())
    one, other = found
    assert one["group_mean"].null_count and 2 in one["group_mean"].to_pylist() and -2 in one["group_mean"].to_pylist()
    assert one.equals(other), f"{one.to_pylist()} {other.to_pylist()}"
"""

LAYOUTS = """
from kiban.core import files, paths
from kiban.data.settings import Identity
from kiban.prepare.batch import prepare
from kiban.prepare.features import Features
changed = described({"id": "integer", "at": "timestamp", "late": "number", "gate": "string", "seat": "string"})
changed["at"]["nullable"] = False
changed["late"] |= {"since": "2013-03", "was": {"name": "delay", "type": "integer"}}
changed["gate"] |= {"since": "2013-03"}
changed["seat"] |= {"until": "2013-02"}
raw = {"planted flights": Table(description="", key=["id"], time="at", columns=changed)}
day = 86_400_000_000
first = 15_765 * day  # 1 March 2013
snapshots = {
    "2013-02": {"id": [1, 2], "at": [first - 2 * day, first - day], "delay": [3, None], "seat": ["1A", None]},
    "2013-03": {"id": [3, 4, 5], "at": [first, first, first + day], "late": [1.5, None, 4], "gate": ["A", "B", None]},
    "2013-03.2": {"id": [4], "at": [first], "late": [2.5], "gate": ["C"]},  # takes the place of a row
}
digests = {}
for batch, rows in snapshots.items():
    path = paths.raw_file("planted", "planted flights", batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = raw["planted flights"].at(batch)
    parquet.write(pa.table({name: rows[name] for name in layout.columns}, parquet.schema(layout)), path)
    digests[batch] = files.sha256(path)
def compute(tables):
    rows = tables["planted flights"]
    window = ibis.range_window(order_by="at", preceding=ibis.interval(days=30), following=0)
    return rows.select("id", "at", "gate", "seat", sum=rows.late.sum().over(window), far=rows.id > 3)
kinds = {"id": "integer", "at": "timestamp", "gate": "string", "seat": "string", "sum": "number", "far": "boolean"}
prepared = described(kinds)
prepared["at"]["nullable"], prepared["far"]["role"] = False, "target"
table = Table(description="", key=["id"], time="at", columns=prepared)
features = Features(compute, "planted flights", 30, "planted")
dataset, needed = Identity(name="planted", timezone="UTC"), {name: digests[name] for name in ("2013-02", "2013-03")}
later, path = {"2013-03.2": digests["2013-03.2"]}, Path("planted.parquet")
made = []
for engine in (on_duckdb, on_spark):
    prepare(dataset, engine, raw, table, features, "2013-03", {"planted flights": needed}, later, path)
    made.append(path.read_bytes())
assert parquet.read(path).select(["id", "gate", "sum"]).to_pylist() == [
    {"id": 3, "gate": "A", "sum": 4.5}, {"id": 5, "gate": None, "sum": 8.5}
]
assert made[0] == made[1]
"""


def prepare(status: int = 0, program: str | None = None, **variables: str) -> str:
    """The output of the stage, or of a program, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(SPARK), "SPARK_LOCAL_IP": "127.0.0.1", **variables}
    command = [sys.executable, *(["-m", "kiban.prepare"] if program is None else ["-c", program])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if program else done.stdout + done.stderr


def hashes() -> dict[str, str]:
    return {batch: files.sha256(paths.prepared_file("flights", batch)) for batch in BATCHES}


@pytest.fixture
def expected(project: Path) -> dict[str, str]:
    """The hashes of what DuckDB has prepared, which is gone, and Spark is the engine."""
    made = hashes()
    shutil.rmtree(paths.prepared_folder("flights"))
    compose_here("engine=pyspark")
    return made


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A copy of Spark that every account may read."""
    folder = Path(mkdtemp(prefix="kiban_spark_"))
    folder.chmod(0o755)
    shutil.copytree(SPARK / "pyspark", folder / "pyspark", copy_function=_linked)
    yield folder / "pyspark"
    shutil.rmtree(folder)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    home: Path, log: Path, *arguments: str, account: int | None = None, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Spark, in a group of its own, which ends with the context."""
    environment = {"PATH": os.environ["PATH"], "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "HOME": "/"}
    environment |= variables
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(home / "bin/spark-class"), *arguments],
            cwd="/",
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_on_this_machine_spark_gives_the_bytes_of_duckdb(expected: dict[str, str]) -> None:
    """Of planted rows, of batches of an earlier layout and a later delivery, and of one month."""
    last = prepare(program=PLANTED + LAYOUTS + OF_LAST_MONTH, KIBAN_SPARK="local[2]", KIBAN_MEMORY="2GB")
    assert last.split()[-1] == expected[BATCHES[-1]]


@pytest.mark.skipif(os.geteuid() != 0, reason="another account needs root")
def test_workers_of_another_account_share_no_folder_and_one_may_be_killed(
    expected: dict[str, str], home: Path, tmp_path: Path
) -> None:
    assert subprocess.run(["ls", str(Path.cwd())], user=NOBODY, group=NOBODY, capture_output=True).returncode
    port = free_port()
    url, place = f"spark://127.0.0.1:{port}", ["--host", "127.0.0.1", "--webui-port", "0"]
    work = [home.parent / f"work{number}" for number in range(2)]
    for folder in work:
        folder.mkdir()
        os.chown(folder, NOBODY, NOBODY)
    with ExitStack() as stack:
        master = ["org.apache.spark.deploy.master.Master", *place, "--port", str(port)]
        stack.enter_context(running(home, tmp_path / "master.log", *master))
        wait_for(lambda: answers(port))
        first, _ = [
            stack.enter_context(
                running(
                    home,
                    tmp_path / f"{folder.name}.log",
                    *("org.apache.spark.deploy.worker.Worker", *place, "--cores", "1", "--memory", "1g"),
                    *("--work-dir", str(folder), url),
                    account=NOBODY,
                    SPARK_LOCAL_DIRS=str(folder),
                )
            )
            for folder in work
        ]
        stage = subprocess.Popen(
            [sys.executable, "-c", OF_LAST_MONTH],
            env={**os.environ, "PYTHONPATH": str(SPARK), "SPARK_LOCAL_IP": "127.0.0.1", "KIBAN_SPARK": url},
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: all(any(folder.rglob("shuffle_*.data")) for folder in work), 120)
        end(first)
        output, _ = stage.communicate(timeout=300)
    assert output.split()[-1] == expected[BATCHES[-1]]


def test_behind_connect_spark_reads_the_store_itself(expected: dict[str, str], home: Path, tmp_path: Path) -> None:
    port, store = free_port(), tmp_path / "store"
    for raw in paths.raw_folder("flights").rglob("*.parquet"):
        digest = files.md5(raw)
        (store / "files/md5" / digest[:2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(raw, store / "files/md5" / digest[:2] / digest[2:])
    server = [
        *("org.apache.spark.deploy.SparkSubmit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
        *("--master", "local[2]", "--conf", f"spark.connect.grpc.binding.port={port}"),
        *("--conf", "spark.ui.enabled=false", "spark-internal"),
    ]
    with running(home, tmp_path / "connect.log", *server):
        wait_for(lambda: answers(port))
        variables = {"KIBAN_SPARK": f"sc://127.0.0.1:{port}", "KIBAN_SPARK_STORE": store.as_uri()}
        assert prepare(program=OF_LAST_MONTH, **variables).split()[-1] == expected[BATCHES[-1]]
        shutil.rmtree(store)
        assert "the rows of flights cannot be given to Spark" in prepare(1, **variables)


def test_what_is_not_there_is_said(expected: dict[str, str]) -> None:
    without = prepare(1, PYTHONPATH="", KIBAN_SPARK="local[1]")
    assert "params.yaml: engine: pyspark is not installed: `make extra EXTRA=spark`" in without
    without = prepare(1, JAVA_HOME="/nowhere", KIBAN_SPARK="local[1]")
    assert "Spark at local[1] cannot be used (local Spark needs Java 17)" in without
    nobody = free_port()
    for slash in ("/", ""):  # which is easily forgotten
        without = prepare(1, KIBAN_SPARK=f"sc://127.0.0.1:{nobody}{slash};token=geheim;user_id=us")
        assert "KIBAN_SPARK: nobody answers at sc://127.0.0.1: [Errno 111] Connection refused" in without
        assert "geheim" not in without
