"""A soak test of the endpoint: mixed load, swapped models and killed workers; every prediction is accounted for.

The service has two workers. Eight callers send one record in each request, two send requests that are refused, and two
send 500 records. Every ten seconds the folder gets another model; every minute it gets a broken one, and a worker is
killed. The results are printed by the minute and checked at the end. `--minutes` is the duration (10).
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import mean
from typing import Any

import aiohttp
import psutil
import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table
from serving import ENVIRONMENT, free_port

from kiban.data import contract
from kiban.servable.load import load

ROOT = Path(__file__).parents[1]
BULK = 500
THINK = {"one": 0.02, "refused": 0.2, "bulk": 2.0}  # seconds between an answer and the next request
CALLERS = {"one": 8, "refused": 2, "bulk": 2}
WRONG = [b"{", b'{"records": []}', b'{"records": [{"carrier": 1}]}', b'{"records": [{"no": "such"}]}', b"\xff"]


@dataclass
class Call:
    kind: str
    request_id: str
    sent: float
    got: float
    status: int  # 0: the connection was lost
    model_id: str
    answer: bytes


@dataclass
class Soak:
    """The events of the test, with times in seconds since 1970. `memory` has pairs of time and MB."""

    calls: list[Call] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    swaps: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)


def project(folder: Path) -> Path:
    """A copy of the files that the service needs, with two workers and enough room in the log for all requests."""
    for name in ("src", "models", "reports"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "service.py", folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_bytes())
    params["serving"] |= {"workers": 2}
    params["serving"]["prediction_log"] |= {"max_bytes": 20_000_000_000}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def models(folder: Path) -> list[Path]:
    """The folders of three models: one that answers, one that answers with another threshold, and a truncated one."""
    first, second, broken = (
        shutil.copytree(ROOT / "models/servable", folder / name) for name in ("first", "second", "broken")
    )
    manifest = json.loads((second / "manifest.json").read_bytes())
    (second / "manifest.json").write_text(json.dumps(manifest | {"threshold": 0.25}))
    content = (broken / "model.onnx").read_bytes()
    (broken / "model.onnx").write_bytes(content[: len(content) // 2])
    return [first, second, broken]


def point(link: Path, target: Path) -> None:
    beside = link.with_name("beside")
    beside.symlink_to(target)
    beside.replace(link)


def bodies() -> dict[str, list[bytes]]:
    features = list(contract.read_prepared(ROOT / "models/servable/contract.yaml").features())
    rows = pq.read_table(ROOT / "data/prepared/flights/2013-12.parquet", columns=features).to_pylist()
    one = [json.dumps({"records": [row]}).encode() for row in rows[:1000]]
    bulk = [json.dumps({"records": rows[first : first + BULK]}).encode() for first in range(0, 10 * BULK, BULK)]
    return {"one": one, "bulk": bulk, "refused": WRONG}


async def caller(kind: str, name: str, bodies: list[bytes], url: str, until: float, soak: Soak) -> None:
    """Send requests on one connection until the time `until`. A connection that is lost is opened again."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for number in count():
            if time.time() > until:
                return
            request_id, sent = f"{name}-{number}", time.time()
            headers = {"content-type": "application/json", "x-request-id": request_id}
            try:
                async with session.post(url, data=bodies[number % len(bodies)], headers=headers) as answer:
                    content = await answer.read()
                    result = answer.status, answer.headers["x-model-id"], content
            except (aiohttp.ClientError, OSError):
                result = 0, "", b""
            soak.calls.append(Call(kind, request_id, sent, time.time(), *result))
            await asyncio.sleep(THINK[kind])


async def trouble(server: psutil.Process, link: Path, models: list[Path], until: float, soak: Soak) -> None:
    """Swap the model every ten seconds; at 15 seconds of every minute link a broken one, at 35 kill a worker."""
    first, second, broken = models
    started = time.time()
    for tick in count(1):
        await asyncio.sleep(max(0, started + tick * 5 - time.time()))
        if time.time() > until - 2:
            return
        match tick * 5 % 60:
            case 15:
                point(link, broken)
            case 35:
                family = server.children(recursive=True)
                workers = [process for process in family if "worker.service" in " ".join(process.cmdline())]
                soak.kills.append(time.time())
                workers[tick // 12 % len(workers)].kill()
            case second_of_minute if second_of_minute % 10 == 0:
                point(link, second if tick % 4 == 2 else first)
                soak.swaps.append(time.time())


async def watch_memory(server: psutil.Process, until: float, soak: Soak) -> None:
    while time.time() < until:
        total = 0
        for process in [server, *server.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        soak.memory.append((time.time(), total / 1e6))
        await asyncio.sleep(2)


async def run(server: psutil.Process, url: str, link: Path, models: list[Path], minutes: float) -> tuple[Soak, float]:
    soak, bodies_of, started = Soak(), bodies(), time.time()
    until = started + minutes * 60
    tasks = [
        asyncio.create_task(caller(kind, f"{kind}-{number}", bodies_of[kind], url, until, soak))
        for kind, callers in CALLERS.items()
        for number in range(callers)
    ]
    tasks.append(asyncio.create_task(trouble(server, link, models, until, soak)))
    tasks.append(asyncio.create_task(watch_memory(server, until, soak)))
    for _ in track(range(int(minutes * 60)), description="soak"):
        await asyncio.sleep(max(0, min(1, until - time.time())))
    await asyncio.gather(*tasks)
    return soak, started


async def ready(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    sys.exit("the service did not start")


def by_minute(soak: Soak, started: float) -> dict[int, dict[str, Any]]:
    def minute(moment: float) -> int:
        return int((moment - started) // 60)

    figures: dict[int, dict[str, Any]] = {}
    for number in range(minute(soak.memory[-1][0]) + 1):
        calls = [call for call in soak.calls if minute(call.sent) == number]
        durations = sorted((call.got - call.sent) * 1000 for call in calls if call.kind == "one" and call.status == 200)
        figures[number] = {
            "kinds": Counter(call.kind for call in calls if call.status),
            "5xx": sum(call.status >= 500 for call in calls),
            "lost": sum(call.status == 0 for call in calls),
            "p50": durations[len(durations) // 2],
            "p99": durations[int(len(durations) * 0.99)],
            "swaps": sum(minute(moment) == number for moment in soak.swaps),
            "kills": sum(minute(moment) == number for moment in soak.kills),
            "MB": mean(memory for moment, memory in soak.memory if minute(moment) == number),
        }
    return figures


def logged(folder: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The lines of the log by request, and the number of lines that a kill cut off."""
    lines, cut = {}, 0
    for path in folder.glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                cut += 1
                continue
            assert entry["request_id"] not in lines, "a request was logged twice"
            lines[entry["request_id"]] = entry
    return lines, cut


def reconcile(soak: Soak, lines: dict[str, dict[str, Any]]) -> Counter[str]:
    """The number of requests by outcome. Raises AssertionError if answers and log do not agree."""
    outcomes: Counter[str] = Counter()
    for call in soak.calls:
        line = lines.pop(call.request_id, None)
        if call.status == 200 and line:
            assert line["answer"] == json.loads(call.answer), "another answer was logged"
            outcomes["answered and logged"] += 1
        elif call.status == 200:
            # A caller may have read an answer just after the kill that was sent just before it.
            gaps = [moment - call.got for moment in soak.kills]
            assert any(-0.1 <= gap <= 1 for gap in gaps), f"an answer was not logged, {gaps} s before a kill"
            outcomes["answered, not logged, within a second before a kill"] += 1
        elif call.status == 0:
            assert any(call.sent - 0.1 <= moment <= call.got + 0.1 for moment in soak.kills), "a connection was lost"
            outcomes["in flight on a killed worker" + (", logged" if line else "")] += 1
        else:
            assert call.kind == "refused", f"status {call.status}"
            assert 400 <= call.status < 500, f"status {call.status}"
            assert line is None, "a refusal was logged"
            outcomes["refused, not logged"] += 1
    assert not lines, "a request was logged that nobody sent"
    return outcomes


def show(soak: Soak, started: float, outcomes: Counter[str], cut: int) -> None:
    minutes = by_minute(soak, started)
    table = Table(title="Two workers, by the minute", title_justify="left")
    headings = "minute", "one", "500 records", "refused", "5xx", "lost", "p50 ms", "p99 ms", "swaps", "kills", "MB"
    for heading in headings:
        table.add_column(heading, justify="right")
    for number, row in minutes.items():
        kinds = [f"{row['kinds'][kind]:,}" for kind in ("one", "bulk", "refused")]
        last = [f"{row['p50']:.1f}", f"{row['p99']:.1f}", str(row["swaps"]), str(row["kills"]), f"{row['MB']:.0f}"]
        table.add_row(str(number + 1), *kinds, str(row["5xx"]), str(row["lost"]), *last)
    console = Console(width=100, highlight=False)
    console.print(table)
    for outcome, number in outcomes.items():
        console.print(f"{number:>9,} {outcome}")
    console.print(f"{cut:>9,} lines of the log cut off by a kill")
    second, end = minutes[min(1, len(minutes) - 1)]["MB"], minutes[len(minutes) - 1]["MB"]
    console.print(f"memory in the last minute / in the second: {end / second:.3f}")
    assert end <= 1.1 * second, "memory grows"
    assert not any(row["5xx"] for row in minutes.values()), "an answer was 5xx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kiban-soak-"))
    servables, link, log, port = models(folder), folder / "current", folder / "log", free_port()
    link.symlink_to(servables[0])
    paths = {"KIBAN_SERVABLE": str(link), "KIBAN_PREDICTION_LOG": str(log), "BENTOML_HOME": str(folder / "home")}
    paths["KIBAN_ANY_MODEL"] = "1"  # no commit has the models that are offered
    with (folder / "out").open("wb") as output:
        command = ["bentoml", "serve", "--port", str(port)]
        cwd = project(folder / "project")
        server = psutil.Popen(command, cwd=cwd, env={**ENVIRONMENT, **paths}, stdout=output, stderr=output)
    try:
        asyncio.run(ready(f"http://127.0.0.1:{port}/readyz"))
        soak, started = asyncio.run(run(server, f"http://127.0.0.1:{port}/predict", link, servables, options.minutes))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    lines, cut = logged(log)
    ids = {load(servable).model_id for servable in servables[:2]}
    assert {call.model_id for call in soak.calls if call.status == 200} == ids
    show(soak, started, reconcile(soak, lines), cut)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
