"""The OpenAPI document: FastAPI's, with the bodies that routes read themselves, and what guard and BentoML answer."""

import csv
import io
import json
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from kiban.request.schema import Answer
from kiban.serve import formats, guard
from kiban.serve.answer import MODEL_ID, REQUEST_ID, WARNINGS, Refusal
from kiban.serve.formats import CSV, JSON, JSON_LINES
from kiban.serve.model import Served

_REF = "#/components/schemas/{model}"
_REFUSALS = {
    400: "The body cannot be read",
    401: "A valid API key is missing",
    406: "None of the types that the Accept header names can be written",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The content type is not read here",
    422: "The contract rejects the records, or there are too many",
    429: "Too many requests at once",
}
_TOO_BUSY = {
    "description": "The worker was too busy to answer in time; in BentoML's own shape",
    "content": {JSON: {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
}
_HEADERS = {
    MODEL_ID: {"description": "The id of the model that answered", "schema": {"type": "string"}},
    REQUEST_ID: {"description": "The id of the request: the caller's, or a new one", "schema": {"type": "string"}},
    WARNINGS: {"description": "The number of values that the contract warns of", "schema": {"type": "integer"}},
}


def _refused(*statuses: int) -> dict[int, dict[str, Any]]:
    return {status: {"model": Refusal, "description": _REFUSALS[status]} for status in statuses}


# What the two routes say of themselves whatever the model; `document` adds their bodies.
PREDICT: dict[str, Any] = {
    "summary": "Predict",
    "description": "One prediction a record, in their order.",
    "responses": {200: {"model": Answer, "headers": _HEADERS}, **_refused(400, 415, 422)},
}
INVOCATIONS: dict[str, Any] = {
    "summary": "Predict, as SageMaker calls it",
    "description": "JSON as /predict, JSON lines or CSV (probability, label), in the type that the Accept header "
    "names, or else in the request's own.",
    "responses": {200: {"model": Answer, "headers": _HEADERS}, **_refused(400, 406, 415, 422)},
}


def text(summary: str, media_type: str, kind: str = "string") -> dict[str, Any]:
    """What a route that answers with a body of its own says of itself; `kind` is JSON Schema's type of it."""
    content = {media_type: {"schema": {"type": kind}}}
    return {
        "summary": summary,
        "response_class": Response,  # of no type of its own, or the document would tell of JSON too
        "responses": {200: {"description": summary, "content": content}},
    }


def document(app: FastAPI, served: Served, keyed: bool) -> dict[str, Any]:
    """The whole document of `app`; `keyed` says whether predictions want a key."""
    document_of_app = get_openapi(
        title=served.model.title,
        version=served.model_id[:12],
        description=f"Answers with the model {served.model_id}.",
        routes=app.routes,
    )
    request = served.schema.request.model_json_schema(ref_template=_REF)
    schemas = document_of_app["components"]["schemas"]
    schemas.update(request.pop("$defs"), Request=request)
    predicts = {"/predict": [JSON], "/invocations": [JSON, JSON_LINES, CSV]}
    requests, answers = _request_bodies(served), _answer_bodies(served)
    for path, kinds in predicts.items():
        operation = document_of_app["paths"][path]["post"]
        operation["requestBody"] = {"required": True, "content": {kind: requests[kind] for kind in kinds}}
        of_answer = operation["responses"]["200"]["content"]
        for kind in kinds:
            of_answer.setdefault(kind, {}).update(answers[kind])
    for path, summary in (("/livez", "Whether the process is alive"), ("/readyz", "Whether it can answer")):
        responses = {"200": text(summary, "text/plain")["responses"][200]}
        document_of_app["paths"][path] = {"get": {"summary": summary, "responses": responses}}
    for path, operations in document_of_app["paths"].items():
        for method, operation in operations.items():
            statuses = [413, *([] if path in guard.ALWAYS_ANSWERED else [429]), *([408] if method == "post" else [])]
            if keyed and path in guard.KEYED:
                statuses.append(401)
                operation["security"] = [{"key": []}]
            for status in statuses:
                content = {JSON: {"schema": {"$ref": _REF.format(model="Refusal")}}}
                operation["responses"][str(status)] = {"description": _REFUSALS[status], "content": content}
            for response in operation["responses"].values():
                response.setdefault("headers", {}).update({name: _HEADERS[name] for name in (MODEL_ID, REQUEST_ID)})
            if method == "post":
                operation["responses"]["504"] = _TOO_BUSY
    if keyed:
        document_of_app["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document_of_app


def _request_bodies(served: Served) -> dict[str, Any]:
    """The body of a request by media type."""
    names, example = list(served.schema.features), served.servable.manifest.example
    needed = {name: example[name] for name, column in served.schema.features.items() if not column.nullable}
    # Strings as they are, the rest as JSON writes it: csv would write True for true.
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in example.items()}
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(
        [names, ["" if example[name] is None else texts[name] for name in names]]
    )
    return {
        JSON: {
            "schema": {"$ref": _REF.format(model="Request")},
            "examples": {
                "typical": {"summary": "A typical record", "value": {"records": [example]}},
                "least": {"summary": "What must be there", "value": {"records": [needed]}},
            },
        },
        JSON_LINES: {
            "schema": {"type": "string", "description": "One record a line"},
            "example": f"{json.dumps(example)}\n",
        },
        CSV: {
            "schema": {
                "type": "string",
                "description": "One record a line, null where a field is empty. A first line with names of features "
                f"says which columns there are; without it they are {', '.join(names)}.",
            },
            "example": table.getvalue(),
        },
    }


def _answer_bodies(served: Served) -> dict[str, Any]:
    """The body of an answer by media type."""
    example = [served.servable.manifest.example]
    predictions, unusual = served.predict(example)
    warnings = served.schema.warnings(example, unusual)
    bodies: dict[str, Any] = {
        JSON: {"example": {"model_id": served.model_id, "predictions": predictions, "warnings": warnings}}
    }
    for kind in (JSON_LINES, CSV):
        written = formats.WRITERS[kind](served.model_id, predictions, []).decode()
        bodies[kind] = {"schema": {"type": "string"}, "example": written}
    return bodies
