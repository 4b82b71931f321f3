"""The formats of requests and answers: JSON, JSON lines and CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pydantic_core import from_json, to_json

from kiban.request.refusal import RefusedError, finding
from kiban.request.schema import Records, Schema, from_text, shown

JSON = "application/json"
JSON_LINES = "application/jsonlines"
CSV = "text/csv"

Objects = Sequence[Mapping[str, Any]]


def media_type(headers: Mapping[str, str], accepted: Sequence[str]) -> str:
    """The media type of a body by its headers: one of `accepted`, in UTF-8, not compressed; else RefusedError (415)."""
    content_type, encoding = headers.get("content-type", ""), headers.get("content-encoding", "identity")
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charset = next((part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if kind not in accepted or charset not in ("utf-8", "utf8", "us-ascii"):
        problem = f"{shown(content_type)} is not read here" if content_type else "it is missing"
        raise RefusedError(415, finding(problem, f"{' or '.join(accepted)}, in UTF-8", field="Content-Type"))
    if encoding.lower() != "identity":
        raise RefusedError(415, finding(f"{shown(encoding)} is not read here", "identity", field="Content-Encoding"))
    return kind


def answer_type(accept: str, of_request: str) -> str:
    """The media type to answer in: the first that an Accept header names, else the request's; else RefusedError (406).

    SageMaker names the type that it wants, or none; weights are not read.
    """
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        named = part.partition(";")[0].strip().lower()
        for kind in (of_request, *WRITERS):
            if named in (kind, "*/*", f"{kind.partition('/')[0]}/*"):
                return kind
    raise RefusedError(406, finding(f"{shown(accept)} is not written here", " or ".join(WRITERS), field="Accept"))


def read_json(body: bytes, schema: Schema) -> Records:
    """The records of {"records": [{feature: value}]}; RefusedError (400, 422) if it is not that."""
    content = _from_json(body, "the body")
    if not isinstance(content, dict) or content.keys() != {"records"} or not isinstance(content["records"], list):
        raise RefusedError(
            422, finding("the body has no list of records", '{"records": [{…}, …]}, and nothing else', field="records")
        )
    return schema.check(content["records"])


def read_json_lines(body: bytes, schema: Schema) -> Records:
    """The records of a body with one JSON object a line; RefusedError (400, 422) if it is not that."""
    lines = [(number, line) for number, line in enumerate(_few(body.splitlines(), schema), start=1) if line.strip()]
    return schema.check([_from_json(line, f"line {number}") for number, line in lines])


def read_csv(body: bytes, schema: Schema) -> Records:
    """The records of a CSV body, null where a field is empty; RefusedError (400, 422) if it is not that.

    A first line that has only names of features says the order of the columns; without it they are the contract's.
    Strings are written as they are, everything else as in JSON.
    """
    try:
        lines = _few(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True), schema)
        rows = [line for line in lines if line]
    except UnicodeDecodeError as error:
        raise RefusedError(400, finding(f"the body is not UTF-8: byte {error.start}")) from None
    except csv.Error as error:
        raise RefusedError(400, finding(f"the body is not CSV: {error}")) from None
    names = list(schema.features)
    if rows and set(rows[0]) <= set(names):
        names, rows = rows[0], rows[1:]
    if len(set(names)) < len(names):
        raise RefusedError(400, finding("a column stands twice", "each feature once"))
    for number, row in enumerate(rows):
        if len(row) != len(names):
            allowed = f"{len(names)}: {', '.join(names)}"
            raise RefusedError(400, finding(f"it has {len(row)} fields", allowed, record=number))
    # What is empty is left out: null where the contract allows it, missing where not.
    return schema.check(
        [
            {name: from_text(text, schema.features[name]) for name, text in zip(names, row, strict=True) if text}
            for row in rows
        ]
    )


T = TypeVar("T")


def _few(lines: Iterable[T], schema: Schema) -> list[T]:
    """The lines, if they are not many more than there may be records, so that none is read in vain."""
    most = 2 * schema.max_records + 1  # with a header, and a blank line after each
    few = list(islice(lines, most + 1))
    if len(few) > most:
        raise RefusedError(422, finding("there are too many lines", schema.how_many(), field="records"))
    return few


def _from_json(text: bytes, where: str) -> Any:
    try:
        return from_json(text)
    except ValueError as error:
        raise RefusedError(400, finding(f"{where} is not JSON: {error}")) from None


def _write_json(model_id: str, predictions: Objects, warnings: Objects) -> bytes:
    return to_json({"model_id": model_id, "predictions": predictions, "warnings": warnings})


def _write_json_lines(model_id: str, predictions: Objects, warnings: Objects) -> bytes:
    of_record: list[list[Mapping[str, Any]]] = [[] for _ in predictions]
    for warning in warnings:
        of_record[warning["record"] or 0].append(warning)
    lines = zip(predictions, of_record, strict=True)
    return b"".join(
        to_json({**prediction, "model_id": model_id, "warnings": listed}) + b"\n" for prediction, listed in lines
    )


def _write_csv(_: str, predictions: Objects, __: Objects) -> bytes:
    # What it has no place for, the model's id and the number of warnings, are headers of the answer.
    lines = (
        f"{prediction['probability']!r},{'true' if prediction['label'] else 'false'}\n" for prediction in predictions
    )
    return "".join(lines).encode()


READERS: dict[str, Callable[[bytes, Schema], Records]] = {
    JSON: read_json,
    JSON_LINES: read_json_lines,
    CSV: read_csv,
}
WRITERS: dict[str, Callable[[str, Objects, Objects], bytes]] = {
    JSON: _write_json,
    JSON_LINES: _write_json_lines,
    CSV: _write_csv,
}
