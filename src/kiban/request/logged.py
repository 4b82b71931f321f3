"""The prediction log's lines: what was asked of a model, and what it answered. serve and score write them.

A line is JSON: `time`, `request_id`, `request` ({"records"}) and `answer` ({"model_id", "predictions", "warnings"}).
The records are as the model read them, with null for each absent feature, and with the keys that the caller gave. A
request that was drawn has its `share`. Refused requests are counted in lines with `time` and `refused`, a list of
{"model_id", "status", "fields", "requests"}; no value of theirs is written.
"""

import os
import re
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_json

from kiban.core.errors import KibanError
from kiban.request.schema import Records

UNPROCESSABLE = 422
"""The status of a request that the contract refuses."""

NAMES = "????????T??????.??????Z-*.jsonl"
"""The names of the files: when it was begun, on which host, and by which process; the oldest sorts first."""

STORE = "KIBAN_PREDICTION_STORE"
"""The environment variable with the address of a folder in a store, which has copies of the files of all machines, each
as DAY/NAME.gz."""

COPY = ".gz"
RECORDS = 1000  # in a line about a table


class Reason(NamedTuple):
    """Why requests were refused: the status, and the fields that the contract rejected."""

    model_id: str
    status: int
    fields: tuple[str, ...]


def folder(root: Path) -> Path:
    """The folder of the log: KIBAN_PREDICTION_LOG, or logs/predictions of the repository."""
    return Path(os.environ.get("KIBAN_PREDICTION_LOG") or root / "logs/predictions")


def file_name(now: datetime) -> str:
    """The name of a new file of this process."""
    return f"{now:%Y%m%dT%H%M%S.%fZ}-{this_host()}-{os.getpid()}.jsonl"


def this_host() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())


def begun(name: str) -> datetime:
    """When a file was begun, from its name. Raises ValueError if it is no such name."""
    return datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def host(name: str) -> str:
    """The host that wrote a file, from its name. Earlier releases did not name it: then it is an empty text."""
    return name.partition("-")[2].rpartition("-")[0]


def store() -> str | None:
    """The address in the environment to which the log is copied, or None. Raises KibanError if it holds a password."""
    address = os.environ.get(STORE)
    if address and re.search(r"://[^/]*@", address):
        raise KibanError(f"{STORE} holds an account or a password, which would stand in messages: leave it out")
    return address or None


def copied_to(address: str, name: str) -> str:
    """The address of the copy of a file in a store."""
    return f"{address.rstrip('/')}/{name[:8]}/{name}{COPY}"


def answered(
    time: datetime,
    request_id: str,
    model_id: str,
    records: Records,
    predictions: Sequence[Mapping[str, Any]],
    warnings: Sequence[Mapping[str, Any]],
    personal: Collection[str],
    share: float = 1.0,
) -> bytes:
    """The line of a request that was answered, without the fields that are personal, nor warnings about them."""
    if personal:
        records = [{name: record[name] for name in record if name not in personal} for record in records]
        warnings = [warning for warning in warnings if warning["field"] not in personal]  # they quote values
    line: dict[str, Any] = {
        "time": time,
        "request_id": request_id,
        "request": {"records": records},
        "answer": {"model_id": model_id, "predictions": predictions, "warnings": warnings},
    }
    if share < 1:
        line["share"] = share
    return to_json(line) + b"\n"


def answered_in_parts(
    time: datetime,
    run: str,
    model_id: str,
    records: Sequence[dict[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    personal: Collection[str],
) -> Iterator[bytes]:
    """The lines of a run that answered about a table, each with at most RECORDS records."""
    for first in range(0, len(records), RECORDS):
        part = slice(first, first + RECORDS)
        yield answered(time, run, model_id, records[part], predictions[part], [], personal)


def refused(time: datetime, requests: Mapping[Reason, int]) -> bytes:
    """The line of the numbers of requests that were refused."""
    counted = [{**reason._asdict(), "requests": number} for reason, number in requests.items()]
    return to_json({"time": time, "refused": counted}) + b"\n"
