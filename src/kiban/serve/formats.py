"""The formats of requests and answers: JSON, JSON lines and CSV."""

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pydantic_core import from_json, to_json

from kiban.request.refusal import RefusedError, finding
from kiban.request.schema import Records, Schema, from_text, shown

JSON = "application/json"
JSON_LINES = "application/jsonlines"
CSV = "text/csv"

Objects = Sequence[Mapping[str, Any]]
Read = Callable[[bytes, Schema], Records]
"""What reads the records of a body."""
Write = Callable[[str, Objects, Objects], bytes]
"""What writes an answer: of the model's id, the predictions and the warnings."""


def media_type(headers: Mapping[str, str], accepted: Sequence[str]) -> str:
    """The media type of a body, from its headers.

    Raises RefusedError (415) if it is not one of `accepted`, not in UTF-8, or compressed.
    """
    content_type, encoding = headers.get("content-type", ""), headers.get("content-encoding", "identity")
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charset = next((part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if kind not in accepted or charset not in ("utf-8", "utf8", "us-ascii"):
        problem = f"{shown(content_type)} is not supported" if content_type else "it is missing"
        raise RefusedError(415, finding(problem, f"{' or '.join(accepted)}, in UTF-8", field="Content-Type"))
    if encoding.lower() != "identity":
        raise RefusedError(415, finding(f"{shown(encoding)} is not supported", "identity", field="Content-Encoding"))
    return kind


def answer_type(accept: str, request_type: str) -> str:
    """The media type of the answer: the first supported type of the Accept header, or the request's if it is empty.

    Weights are ignored: SageMaker sends one type, or no header. Raises RefusedError (406) if no type is supported.
    """
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        accepted_type = part.partition(";")[0].strip().lower()
        for kind in (request_type, *WRITERS):
            if accepted_type in (kind, "*/*", f"{kind.partition('/')[0]}/*"):
                return kind
    raise RefusedError(406, finding(f"{shown(accept)} is not supported", " or ".join(WRITERS), field="Accept"))


def read_json(body: bytes, schema: Schema) -> Records:
    """The records of a body {"records": [{feature: value}]}.

    Raises RefusedError: 400 if the body is not JSON, 422 if it has another shape or the schema rejects a record.
    """
    return _listed(_from_json(body, "the body"), schema, "records")


def read_either(body: bytes, schema: Schema) -> tuple[Records, bool]:
    """The records of a body as `read_json` reads it, or of {"instances": [record]}, as Vertex AI and TF Serving ask;
    and whether it is of the second form. Raises RefusedError as `read_json` does.
    """
    content = _from_json(body, "the body")
    has_instances = isinstance(content, dict) and "instances" in content
    return _listed(content, schema, "instances" if has_instances else "records"), has_instances


def _listed(content: Any, schema: Schema, key: str) -> Records:
    if not isinstance(content, dict) or content.keys() != {key} or not isinstance(content[key], list):
        allowed = f'{{"{key}": [{{…}}, …]}} without other keys'
        raise RefusedError(422, finding(f"the body has no list of {key}", allowed, field=key))
    return _checked(content[key], schema)


def _checked(records: Sequence[Any], schema: Schema) -> Records:
    return schema.check([schema.taken(record) for record in records] if schema.ignored or schema.is_file else records)


def read_json_lines(body: bytes, schema: Schema) -> Records:
    """The records of a body with one JSON object on each line.

    Raises RefusedError: 400 if a line is not JSON, 422 if the schema rejects a record.
    """
    lines = [(number, line) for number, line in enumerate(_few(body.splitlines(), schema), start=1) if line.strip()]
    return _checked([_from_json(line, f"line {number}") for number, line in lines], schema)


def read_csv(body: bytes, schema: Schema) -> Records:
    """The records of a CSV body. An empty field is null, and values are written as the contract says, or as in JSON.

    If the first line has only names of columns, it gives their order, and keys may be among them; otherwise the columns
    are the features in the contract's order. Raises RefusedError: 400 if the body is not CSV, 422 if the schema rejects
    a record.
    """
    try:
        text = io.StringIO(_decoded(body, schema), newline="")
        lines = _few(csv.reader(text, strict=True, delimiter=schema.written.delimiter), schema)
        rows = [line for line in lines if line]
    except UnicodeDecodeError as error:
        raise RefusedError(400, finding(f"the body is not UTF-8: byte {error.start}")) from None
    except csv.Error as error:
        raise RefusedError(400, finding(f"the body is not CSV: {error}")) from None
    names = list(schema.features)
    rows = _without_lines_before(rows, schema)
    if rows and set(rows[0]) <= {*schema.columns, *schema.ignored}:
        names, rows = rows[0], rows[1:]
    if len(set(names)) < len(names):
        raise RefusedError(400, finding("a column occurs twice", "each feature once"))
    for number, row in enumerate(rows):
        if len(row) != len(names):
            allowed = f"{len(names)}: {', '.join(names)}"
            raise RefusedError(400, finding(f"it has {len(row)} fields", allowed, record=number))
    # An empty field is left out: the schema makes it null if the contract allows it, and else reports it as missing.
    return schema.check(
        [
            {
                name: from_text(text, schema.columns[name])
                for name, text in zip(names, row, strict=True)
                if text and name not in schema.ignored
            }
            for row in rows
        ]
    )


def _decoded(body: bytes, schema: Schema) -> str:
    """The text of the body: UTF-8, or the encoding of the file that the model was trained on."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        if schema.written.encoding == "utf-8":
            raise
        return body.decode(schema.written.encoding)


def _without_lines_before(rows: list[list[str]], schema: Schema) -> list[list[str]]:
    """The rows from the names of the columns on, where such a file has lines before them."""
    names = {*schema.columns, *schema.ignored}
    for place, row in enumerate(rows[: schema.written.skip + 1]):
        if set(row) <= names:
            return rows[place:]
    return rows


T = TypeVar("T")


def _few(lines: Iterable[T], schema: Schema) -> list[T]:
    """All of `lines`. Raises RefusedError (422), before it reads all of them, if they are too many."""
    most = 2 * schema.max_records + 1  # a header, and a blank line after each record
    few = list(islice(lines, most + 1))
    if len(few) > most:
        raise RefusedError(422, finding("there are too many lines", schema.how_many(), field="records"))
    return few


def _from_json(text: bytes, where: str) -> Any:
    try:
        return from_json(text.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        raise RefusedError(400, finding(f"{where} is not JSON: {error}")) from None


def _write_json(model_id: str, predictions: Objects, warnings: Objects) -> bytes:
    return to_json({"model_id": model_id, "predictions": predictions, "warnings": warnings})


def write_instances(_: str, predictions: Objects, __: Objects) -> bytes:
    """The answer to instances: {"predictions": [prediction]}."""
    return to_json({"predictions": predictions})  # the id of the model and the number of warnings are headers


def _write_json_lines(model_id: str, predictions: Objects, warnings: Objects) -> bytes:
    by_record: list[list[Mapping[str, Any]]] = [[] for _ in predictions]
    for warning in warnings:
        by_record[warning["record"] or 0].append(warning)
    lines = zip(predictions, by_record, strict=True)
    return b"".join(
        to_json({**prediction, "model_id": model_id, "warnings": its_warnings}) + b"\n"
        for prediction, its_warnings in lines
    )


def _write_csv(_: str, predictions: Objects, __: Objects) -> bytes:
    # CSV has no place for the model's id and the number of warnings, which are headers of the answer.
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(list(_fields(prediction)) for prediction in predictions)
    return table.getvalue().encode()


def _fields(node: Any) -> Iterator[Any]:
    """The numbers and labels of a prediction, in order. Null is empty, and true and false are as in JSON."""
    if isinstance(node, Mapping):
        for value in node.values():
            yield from _fields(value)
    else:
        yield str(node).lower() if isinstance(node, bool) else node


READERS: dict[str, Read] = {
    JSON: read_json,
    JSON_LINES: read_json_lines,
    CSV: read_csv,
}
WRITERS: dict[str, Write] = {
    JSON: _write_json,
    JSON_LINES: _write_json_lines,
    CSV: _write_csv,
}
