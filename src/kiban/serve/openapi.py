"""The OpenAPI document: FastAPI's, with the bodies that routes parse themselves and what guard and BentoML answer."""

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
    406: "No type of the Accept header is supported",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The content type is not supported",
    422: "The contract rejects the records, or there are too many",
    429: "Too many requests at once",
}
_TOO_BUSY = {
    "description": "The worker was too busy to answer in time; the body has BentoML's shape",
    "content": {JSON: {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
}
_HEADERS = {
    MODEL_ID: {"description": "The id of the model that answered", "schema": {"type": "string"}},
    REQUEST_ID: {"description": "The id of the request: the caller's, or a new one", "schema": {"type": "string"}},
    WARNINGS: {"description": "The number of values that the contract warns about", "schema": {"type": "integer"}},
}


def _refused(*statuses: int) -> dict[int, dict[str, Any]]:
    return {status: {"model": Refusal, "description": _REFUSALS[status]} for status in statuses}


# The descriptions of the two routes, which are the same for every model; `document` adds their bodies.
PREDICT: dict[str, Any] = {
    "operation_id": "predict",
    "summary": "Predict",
    "description": "One prediction for each record, in the order of the records.",
    "responses": {200: {"model": Answer, "headers": _HEADERS}, **_refused(400, 415, 422)},
}
INVOCATIONS: dict[str, Any] = {
    "operation_id": "invocations",
    "summary": "Predict, as SageMaker calls it",
    "description": "The answer is JSON as for /predict, JSON lines, or CSV with the same values in order: the type "
    'that the Accept header names, or else the type of the request. {"instances": …}, as Vertex AI and TF Serving ask, '
    'is answered by {"predictions": …}.',
    "responses": {200: {"model": Answer, "headers": _HEADERS}, **_refused(400, 406, 415, 422)},
}


def text(summary: str, media_type: str, kind: str = "string") -> dict[str, Any]:
    """The description of a route whose answer is a body of `media_type`; `kind` is its type in JSON Schema."""
    content = {media_type: {"schema": {"type": kind}}}
    return {
        "summary": summary,
        "response_class": Response,  # has no media type, or the document would list JSON too
        "responses": {200: {"description": summary, "content": content}},
    }


def document(app: FastAPI, served: Served, keyed: bool) -> dict[str, Any]:
    """The whole document of `app`; `keyed` says whether predictions need a key."""
    document_of_app = get_openapi(
        title=served.model.dataset,
        version=served.model_id[:12],
        description=f"{served.model.description}. Answers with the model {served.model_id}.",
        routes=app.routes,
    )
    request = served.schema.request.model_json_schema(ref_template=_REF)
    schemas = document_of_app["components"]["schemas"]
    schemas.update(request.pop("$defs"), Request=request)
    records = request["properties"]["records"]
    schemas["Instances"] = {
        "type": "object",
        "properties": {"instances": {**records, "title": "Instances"}},
        "required": ["instances"],
        "additionalProperties": False,
    }
    schemas["Prediction"] = {**served.answers.model.model_json_schema(), "title": "Prediction"}
    predicts = {"/predict": [JSON], "/invocations": [JSON, JSON_LINES, CSV]}
    requests, answers = _request_bodies(served), _answer_bodies(served)
    for path, kinds in predicts.items():
        operation = document_of_app["paths"][path]["post"]
        operation["requestBody"] = {"required": True, "content": {kind: requests[kind] for kind in kinds}}
        answer_content = operation["responses"]["200"]["content"]
        for kind in kinds:
            answer_content.setdefault(kind, {}).update(answers[kind])
        if path == "/invocations":
            _add_instances(operation)
    for path, summary in (("/livez", "Whether the process is alive"), ("/readyz", "Whether the service can answer")):
        responses = {"200": text(summary, "text/plain")["responses"][200]}
        operation = {"summary": summary, "operationId": path.strip("/"), "responses": responses}
        document_of_app["paths"][path] = {"get": operation}
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


def _add_instances(operation: dict[str, Any]) -> None:
    """Let an operation take, beside records, instances, which are answered by predictions alone."""
    asked, answered = operation["requestBody"]["content"][JSON], operation["responses"]["200"]["content"][JSON]
    (record,) = asked["examples"]["typical"]["value"]["records"]
    examples = {**asked["examples"], "instances": {"summary": "As Vertex AI asks", "value": {"instances": [record]}}}
    either = {"anyOf": [asked["schema"], {"$ref": _REF.format(model="Instances")}]}
    operation["requestBody"]["content"][JSON] = {"schema": either, "examples": examples}
    predictions = {"type": "array", "items": {"$ref": _REF.format(model="Prediction")}}
    alone = {"type": "object", "properties": {"predictions": predictions}, "required": ["predictions"]}
    answered["schema"] = {"anyOf": [answered["schema"], {**alone, "additionalProperties": False}]}


def _request_bodies(served: Served) -> dict[str, Any]:
    """The body of a request by media type."""
    names, example = list(served.schema.features), served.servable.manifest.example
    required = {name: example[name] for name, column in served.schema.features.items() if not column.nullable}
    keys = ", ".join(served.schema.keys)
    # Strings stand as they are, other values as in JSON: csv would write True for true.
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
                "least": {"summary": "Only the required fields", "value": {"records": [required]}},
            },
        },
        JSON_LINES: {
            "schema": {"type": "string", "description": "One record on each line"},
            "example": f"{json.dumps(example)}\n",
        },
        CSV: {
            "schema": {
                "type": "string",
                "description": "One record on each line; an empty field is null. A first line with names of features "
                f"{f'and of the key ({keys}) ' if keys else ''}gives the columns; without it they are "
                f"{', '.join(names)}.",
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
        text = formats.WRITERS[kind](served.model_id, predictions, []).decode()
        bodies[kind] = {"schema": {"type": "string"}, "example": text}
    return bodies
