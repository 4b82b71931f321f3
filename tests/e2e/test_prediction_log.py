"""The prediction log of a real server, reconciled with what callers were answered."""

import contextlib
import gzip
import hashlib
import json
import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psutil
import pytest
from clones import served_with
from servers import Store, output_of, process_of, serving
from slice import KNOWN_FLIGHT, ROOT

from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.operate import collected
from kiban.servable.load import load


@pytest.fixture(scope="module")
def folder(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_with(evaluated, tmp_path_factory.mktemp("log") / "clone", workers=2)


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(log.glob("*.jsonl")) for line in path.read_text().splitlines()]


def ask(client: httpx.Client, number: int) -> tuple[str, float, list[dict[str, Any]], list[dict[str, Any]]]:
    """Ask about one record to three: the request's id, when the answer was there, the records, the predictions."""
    records = [{**KNOWN_FLIGHT, "departure_minute": (number + of) % 1440} for of in range(1 + number % 3)]
    answer = client.post("/predict", json={"records": records})
    assert answer.status_code == 200
    return answer.headers["x-request-id"], time.time(), records, answer.json()["predictions"]


def check_reconciled(logged: list[dict[str, Any]], answered: list[Any], model_id: str) -> None:
    """Every answer has its line, and there are no others."""
    of_request = {line["request_id"]: line for line in logged}
    assert of_request.keys() == {request_id for request_id, *_ in answered}
    assert len(of_request) == len(logged)
    for request_id, _, records, predictions in answered:
        line = of_request[request_id]
        for logged_record, record in zip(line["request"]["records"], records, strict=True):
            assert logged_record.items() >= record.items()
            assert all(logged_record[name] is None for name in logged_record.keys() - record.keys())
        assert line["answer"] == {"model_id": model_id, "predictions": predictions, "warnings": []}


def test_a_server_that_is_stopped_has_logged_every_answer(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(folder, "bentoml", "serve", KIBAN_PREDICTION_LOG=str(log)) as client:
        with ThreadPoolExecutor(8) as pool:
            answered = list(pool.map(lambda number: ask(client, number), range(600)))
        assert client.post("/predict", json={"records": [{}]}).status_code == 422
        answer = client.post("/predict", json={"records": [KNOWN_FLIGHT]}, headers={"x-request-id": "order:47.11"})
        assert answer.headers["x-request-id"] == "order:47.11"
        answered.append(("order:47.11", 0, [KNOWN_FLIGHT], answer.json()["predictions"]))
        hostile = {"x-request-id": 'a" b'}
        answer = client.post("/invocations", json={"records": [KNOWN_FLIGHT]}, headers=hostile)
        assert answer.headers["x-request-id"].isalnum()
        answered.append((answer.headers["x-request-id"], 0, [KNOWN_FLIGHT], answer.json()["predictions"]))
    model_id = load(folder / "models/servable").model_id
    (refused,) = [line for line in lines(log) if "refused" in line]
    (reason,) = refused["refused"]
    assert (reason["model_id"], reason["status"], reason["requests"]) == (model_id, 422, 1)
    assert "origin" in reason["fields"]
    check_reconciled([line for line in lines(log) if "answer" in line], answered, model_id)
    assert {path.stat().st_mode & 0o777 for path in log.glob("*.jsonl")} == {0o600}


def test_the_table_says_what_the_model_read(folder: Path, tmp_path: Path) -> None:
    """Names that stand twice have their last value for the model; a reader of the log might take the first."""
    log, known = tmp_path / "log", json.dumps(KNOWN_FLIGHT)[1:]
    twice = [f'{{"records": "x", "records": [{{"departure_minute": {{"a": 1}}, "departure_minute": 7, {known}]}}']
    twice.append(f'{{"records": [], "records": [{{"departure_minute": 7, {known}]}}')
    with serving(folder, "bentoml", "serve", KIBAN_PREDICTION_LOG=str(log)) as client:
        answers = [
            client.post("/predict", content=body, headers={"content-type": "application/json"}) for body in twice
        ]
        line = json.dumps({**KNOWN_FLIGHT, "departure_minute": 5})
        headers = {"content-type": "application/jsonlines"}
        answers.append(client.post("/invocations", content=f"{line}\n{line}\n", headers=headers))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert sorted(minute for _, minute, *_ in table(log)) == [5, 5, 1020, 1020]


def test_a_server_that_is_killed_loses_the_last_second_at_most(folder: Path, tmp_path: Path) -> None:
    """All its processes get SIGKILL while eight callers ask."""
    log = tmp_path / "log"
    answered: list[Any] = []

    def caller(url: httpx.URL, first: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            for number in range(first, 100_000, 8):
                try:
                    answered.append(ask(client, number))
                except httpx.TransportError:  # killed
                    return

    with serving(folder, "bentoml", "serve", KIBAN_PREDICTION_LOG=str(log)) as client:
        threads = [threading.Thread(target=caller, args=(client.base_url, first)) for first in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        # Not by its group alone: BentoML's workers have groups of their own.
        server = process_of(client)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.kill()
        killed = time.time()
        psutil.wait_procs(processes, timeout=30)
        for thread in threads:
            thread.join()
    assert len(answered) > 200
    of_request: dict[str, list[tuple[Any, ...]]] = {}
    for request_id, *line in table(log):
        of_request.setdefault(request_id, []).append(tuple(line))
    early = [each for each in answered if each[1] < killed - 1]
    assert len(early) > 100
    for request_id, _, records, predictions in early:
        expected = zip(records, predictions, strict=True)
        assert of_request[request_id] == [
            (record["departure_minute"], of["probability"], of["label"]) for record, of in expected
        ]


def table(log: Path) -> list[tuple[Any, ...]]:
    """A row a prediction, as docs/serving.md reads them; half a line at the end of a file is left out."""
    (query,) = re.findall(r"^SELECT time.*?;$", (ROOT / "docs/serving.md").read_text(), re.MULTILINE | re.DOTALL)
    rows = duckdb.sql(query.replace("logs/predictions", str(log)))
    return rows.select("request_id", "departure_minute", "probability", "label").fetchall()


@pytest.mark.long
def test_a_full_disk_fails_no_request_and_is_said(folder: Path, tmp_path: Path) -> None:
    """The log lies in a file system of 160 kB, in a mount namespace of the server's. A line has 1.6 kB.

    What is not written at first fits once there is room, on a fast machine too.
    """
    if subprocess.run(["unshare", *inside(), "-m", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system")
    log = tmp_path / "log"
    log.mkdir()
    script = f"mount -t tmpfs -o size=160k,mode=777 tmpfs '{log}' && exec bentoml serve \"$@\""
    command = ["unshare", *inside(), "-m", "sh", "-c", script, "sh"]
    with serving(folder, *command, KIBAN_PREDICTION_LOG=str(log)) as client:
        inner = Path(f"/proc/{process_of(client).pid}/root{log}")
        for number in range(60):
            ask(client, number)
        ends = time.monotonic() + 60
        while len(lines(inner)) < 60 and time.monotonic() < ends:
            time.sleep(0.1)
        for number in range(60, 110):
            ask(client, number)
        ends = time.monotonic() + 60
        while "No space left" not in output_of(client, folder).read_text() and time.monotonic() < ends:
            time.sleep(0.1)
        assert 60 <= len(lines(inner)) < 110  # no line is half there
        output = output_of(client, folder)
        assert "prediction log: " in output.read_text()
        assert "No space left on device; predictions are answered, and wait to be logged" in output.read_text()
        for path in inner.glob("*.jsonl"):  # somebody makes room
            path.unlink()
        ends = time.monotonic() + 60  # on a busy machine
        while "prediction log: written again" not in output.read_text() and time.monotonic() < ends:
            time.sleep(0.1)
        assert "prediction log: written again" in output.read_text()
        assert lines(inner)


def inside() -> list[str]:
    return [] if os.getuid() == 0 else ["-r"]


def size(log: Path) -> int:
    """The bytes of all its files, looked at again if one was removed meanwhile."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in log.glob("*.jsonl"))


def test_it_stays_within_its_size_and_the_newest_are_kept(evaluated: Path, tmp_path: Path) -> None:
    limits = {"prediction_log.max_file_bytes": 20_000, "prediction_log.max_bytes": 100_000}
    folder, log = served_with(evaluated, tmp_path / "clone", **limits), tmp_path / "log"
    with serving(folder, "bentoml", "serve", KIBAN_PREDICTION_LOG=str(log)) as client:
        sizes = []
        for number in range(300):
            last, *_ = ask(client, number)
            sizes.append(size(log))
    assert max(sizes) <= 100_000
    assert lines(log)[-1]["request_id"] == last
    assert all(path.stat().st_size <= 20_000 for path in log.glob("*.jsonl"))


def make_personal(servable: Path, *names: str) -> None:
    """Mark columns in the contract of a servable, as if the team's contract had done so."""
    path, described = servable / "contract.yaml", servable / "manifest.json"
    table = contract.parse_prepared(path.read_bytes(), str(path))
    columns = {name: column.model_copy(update={"personal": name in names}) for name, column in table.columns.items()}
    path.write_bytes(contract.as_yaml(table.model_copy(update={"columns": columns})))
    manifest = json.loads(described.read_text())
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    described.write_text(json.dumps(manifest))


def test_what_is_personal_is_not_written_and_a_share_is(evaluated: Path, tmp_path: Path) -> None:
    folder, log = served_with(evaluated, tmp_path / "clone", **{"prediction_log.share": 0.5}), tmp_path / "log"
    make_personal(folder / "models/servable", "carrier", "dest", "flight")
    with serving(folder, "bentoml", "serve", KIBAN_PREDICTION_LOG=str(log), KIBAN_ANY_MODEL="1") as client:
        for number in range(200):
            record = {**KNOWN_FLIGHT, "carrier": f"someone-{number}", "plane_seats": 1000, "flight": 4711}
            record["scheduled_departure"] = "2013-03-01T10:15:00-05:00"
            answer = client.post("/predict", json={"records": [record]})
            assert {each["field"] for each in answer.json()["warnings"]} == {"plane_seats", "carrier"}
    written = lines(log)
    assert 60 < len(written) < 140  # of 200: beyond that less than once in ten million runs
    assert all([each["field"] for each in line["answer"]["warnings"]] == ["plane_seats"] for line in written)
    records = [record for line in written for record in line["request"]["records"]]
    assert not any({"carrier", "dest", "flight"} & record.keys() for record in records)
    assert {record["scheduled_departure"] for record in records} == {"2013-03-01T10:15:00-05:00"}
    assert {line["share"] for line in written} == {0.5}
    assert "someone" not in "".join(path.read_text() for path in log.iterdir())


@pytest.mark.long
def test_two_services_copy_their_logs_to_a_store_and_one_is_killed(
    evaluated: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 5.0
    folder = served_with(evaluated, tmp_path / "clone", workers=2, **{"prediction_log.copy_seconds": seconds})
    address, brought = "s3://dvc/predictions", tmp_path / "brought"
    shared = {"KIBAN_PREDICTION_STORE": address, **store.environment}
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)

    def copied() -> list[dict[str, Any]]:
        with contextlib.suppress(KibanError):  # nothing is there yet
            collected.bring(address, tmp_path / "nowhere", datetime(2020, 1, 1, tzinfo=UTC), brought)
        return [json.loads(line) for path in brought.iterdir() for line in gzip.open(path, "rt")]

    def serve(name: str) -> contextlib.AbstractContextManager[httpx.Client]:
        return serving(folder, "bentoml", "serve", KIBAN_PREDICTION_LOG=str(tmp_path / name), **shared)

    with serve("one") as one, serve("two") as two:
        answered = [ask(client, number) for number in range(40) for client in (one, two)]
        asked, ends = time.monotonic(), time.monotonic() + 60
        while len(copied()) < len(answered) and time.monotonic() < ends:
            time.sleep(0.2)
        waited = time.monotonic() - asked
        check_reconciled(copied(), answered, load(folder / "models/servable").model_id)
        store.kill()
        more = [ask(client, number) for number in range(20) for client in (one, two)]
        ends = time.monotonic() + 60
        while "cannot be written" not in output_of(one, folder).read_text() and time.monotonic() < ends:
            time.sleep(0.2)
        assert "s3://dvc/predictions cannot be written" in output_of(one, folder).read_text()
        assert ask(one, 1)
        store.start()
        more += [ask(two, number) for number in range(5)]
        server = process_of(one)
        for process in [server, *server.children(recursive=True)]:
            process.kill()
    lost = [line for line in lines(tmp_path / "one") if line not in copied()]
    assert waited < 2 * seconds  # on a busy machine
    with serve("one"):  # what was on the disk of the one that was killed
        ends = time.monotonic() + 60
        while len(copied()) < len(lines(tmp_path / "one")) + len(lines(tmp_path / "two")) and time.monotonic() < ends:
            time.sleep(0.2)
    ids = [line["request_id"] for line in copied()]
    assert len(ids) == len(set(ids))
    assert {request_id for request_id, *_ in answered + more} <= set(ids)
    assert {line["request_id"] for line in lost} <= set(ids)
