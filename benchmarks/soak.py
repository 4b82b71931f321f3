"""A demanding time for the endpoint: mixed load, models swapped, workers killed, and then every prediction accounted.

Two workers, eight callers with one record after the other, two with what is refused, two with 500 records. Every ten
seconds another model is laid into the folder, in every minute one that is broken, and one worker is killed. What came
of it is printed by the minute, and what must hold is checked at the end. `--minutes` (10).
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
    """What happened, with the times of the clock."""

    calls: list[Call] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    swaps: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)


def project(folder: Path) -> Path:
    """A copy of what is served, with two workers and room in the log for all that is asked."""
    for name in ("src", "models", "reports"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "service.py", folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_bytes())
    params["serving"] |= {"workers": 2}
    params["serving"]["prediction_log"] |= {"max_bytes": 20_000_000_000}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def models(folder: Path) -> list[Path]:
    """Two models that answer, one with another threshold, and one that is cut off."""
    made = [shutil.copytree(ROOT / "models/servable", folder / name) for name in ("first", "second", "broken")]
    manifest = json.loads((made[1] / "manifest.json").read_bytes())
    (made[1] / "manifest.json").write_text(json.dumps(manifest | {"threshold": 0.25}))
    content = (made[2] / "model.onnx").read_bytes()
    (made[2] / "model.onnx").write_bytes(content[: len(content) // 2])
    return made


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


async def caller(kind: str, name: str, asked: list[bytes], url: str, until: float, soak: Soak) -> None:
    """Ask on one connection, opened anew when it is lost, until the time is over."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for number in count():
            if time.time() > until:
                return
            request_id, sent = f"{name}-{number}", time.time()
            headers = {"content-type": "application/json", "x-request-id": request_id}
            try:
                async with session.post(url, data=asked[number % len(asked)], headers=headers) as answer:
                    content = await answer.read()
                    told = answer.status, answer.headers["x-model-id"], content
            except (aiohttp.ClientError, OSError):
                told = 0, "", b""
            soak.calls.append(Call(kind, request_id, sent, time.time(), *told))
            await asyncio.sleep(THINK[kind])


async def trouble(server: psutil.Process, link: Path, made: list[Path], until: float, soak: Soak) -> None:
    """Swap every ten seconds, lay what is broken at 15, and kill a worker at 35 seconds of every minute."""
    first, second, broken = made
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
                workers = [each for each in family if "worker.service" in " ".join(each.cmdline())]
                soak.kills.append(time.time())
                workers[tick // 12 % len(workers)].kill()
            case at if at % 10 == 0:
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


async def run(server: psutil.Process, url: str, link: Path, made: list[Path], minutes: float) -> tuple[Soak, float]:
    soak, asked, started = Soak(), bodies(), time.time()
    until = started + minutes * 60
    tasks = [
        asyncio.create_task(caller(kind, f"{kind}-{number}", asked[kind], url, until, soak))
        for kind, callers in CALLERS.items()
        for number in range(callers)
    ]
    tasks.append(asyncio.create_task(trouble(server, link, made, until, soak)))
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

    found: dict[int, dict[str, Any]] = {}
    for number in range(minute(soak.memory[-1][0]) + 1):
        calls = [call for call in soak.calls if minute(call.sent) == number]
        taken = sorted((call.got - call.sent) * 1000 for call in calls if call.kind == "one" and call.status == 200)
        found[number] = {
            "kinds": Counter(call.kind for call in calls if call.status),
            "5xx": sum(call.status >= 500 for call in calls),
            "lost": sum(call.status == 0 for call in calls),
            "p50": taken[len(taken) // 2],
            "p99": taken[int(len(taken) * 0.99)],
            "swaps": sum(minute(moment) == number for moment in soak.swaps),
            "kills": sum(minute(moment) == number for moment in soak.kills),
            "MB": mean(memory for moment, memory in soak.memory if minute(moment) == number),
        }
    return found


def logged(folder: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The lines of the log by request, and how many were cut off by a kill."""
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
    """What became of the answers in the log; AssertionError where something is wrong."""
    found: Counter[str] = Counter()
    for call in soak.calls:
        line = lines.pop(call.request_id, None)
        if call.status == 200 and line:
            assert line["answer"] == json.loads(call.answer), "another answer was logged"
            found["answered and logged"] += 1
        elif call.status == 200:
            # What was sent just before the kill the caller may have read just after it.
            gaps = [moment - call.got for moment in soak.kills]
            assert any(-0.1 <= gap <= 1 for gap in gaps), f"an answer was not logged, {gaps} s before a kill"
            found["answered, not logged, within a second before a kill"] += 1
        elif call.status == 0:
            assert any(call.sent - 0.1 <= moment <= call.got + 0.1 for moment in soak.kills), "a connection was lost"
            found["in flight on a killed worker" + (", logged" if line else "")] += 1
        else:
            assert call.kind == "refused", f"status {call.status}"
            assert 400 <= call.status < 500, f"status {call.status}"
            assert line is None, "a refusal was logged"
            found["refused, not logged"] += 1
    assert not lines, "a request was logged that nobody sent"
    return found


def show(soak: Soak, started: float, found: Counter[str], cut: int) -> None:
    minutes = by_minute(soak, started)
    table = Table(title="Two workers, by the minute", title_justify="left")
    headings = "minute", "one", "500 records", "refused", "5xx", "lost", "p50 ms", "p99 ms", "swaps", "kills", "MB"
    for heading in headings:
        table.add_column(heading, justify="right")
    for number, of in minutes.items():
        kinds = [f"{of['kinds'][kind]:,}" for kind in ("one", "bulk", "refused")]
        last = [f"{of['p50']:.1f}", f"{of['p99']:.1f}", str(of["swaps"]), str(of["kills"]), f"{of['MB']:.0f}"]
        table.add_row(str(number + 1), *kinds, str(of["5xx"]), str(of["lost"]), *last)
    console = Console(width=100, highlight=False)
    console.print(table)
    for what, number in found.items():
        console.print(f"{number:>9,} {what}")
    console.print(f"{cut:>9,} lines of the log cut off by a kill")
    second, end = minutes[min(1, len(minutes) - 1)]["MB"], minutes[len(minutes) - 1]["MB"]
    console.print(f"memory in the last minute / in the second: {end / second:.3f}")
    assert end <= 1.1 * second, "memory grows"
    assert not any(of["5xx"] for of in minutes.values()), "an answer was 5xx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kiban-soak-"))
    made, link, log, port = models(folder), folder / "current", folder / "log", free_port()
    link.symlink_to(made[0])
    paths = {"KIBAN_SERVABLE": str(link), "KIBAN_PREDICTION_LOG": str(log), "BENTOML_HOME": str(folder / "home")}
    with (folder / "out").open("wb") as out:
        command = ["bentoml", "serve", "--port", str(port)]
        cwd = project(folder / "project")
        server = psutil.Popen(command, cwd=cwd, env={**ENVIRONMENT, **paths}, stdout=out, stderr=out)
    try:
        asyncio.run(ready(f"http://127.0.0.1:{port}/readyz"))
        soak, started = asyncio.run(run(server, f"http://127.0.0.1:{port}/predict", link, made, options.minutes))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    lines, cut = logged(log)
    ids = {load(each).model_id for each in made[:2]}
    assert {call.model_id for call in soak.calls if call.status == 200} == ids
    show(soak, started, reconcile(soak, lines), cut)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
