"""The routes. guard.py has checked each request before it reaches them; openapi.py has their descriptions."""

import asyncio
import html
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json

from kiban.core.errors import KibanError, one_line
from kiban.request import refusal
from kiban.request.refusal import RefusedError
from kiban.request.schema import Records
from kiban.serve import answer, counters, formats, openapi, page
from kiban.serve.answer import WARNINGS
from kiban.serve.formats import JSON
from kiban.serve.guard import ANSWERING, Direct
from kiban.serve.model import Alive, Model, Served
from kiban.serve.prediction_log import PredictionLog
from kiban.serve.watch import Answering

ASSETS = ("/static_content/swagger-ui-bundle.js", "/static_content/swagger-ui.css")
"""The script and the style of /docs. BentoML serves them, so that the page needs no other host."""


class Plain(APIRoute):
    """A route whose endpoint takes the request itself. It saves the time that FastAPI needs to parse parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def create_app(keyed: bool) -> FastAPI:
    """The application, which is independent of the model. A request's scope has the model and the request's id.

    FastAPI keeps the functions of its routes and their closures for ever, so they must not enclose a model.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, generate_unique_id_function=lambda route: route.name)
    app.router.route_class = Plain
    _add_predictions(app)
    _add_descriptions(app)

    @app.exception_handler(Exception)
    async def fail(request: Request, __: Exception) -> Response:
        return answer.response(_answering(request).model_id, answer.failed())

    return app


def ready(served: Served, app: FastAPI, keyed: bool) -> Answering:
    """The model with its descriptions, after a trial of its example; `keyed` says whether predictions need a key.

    Raises KibanError if the model cannot answer.
    """
    _try(served)
    return Answering(
        served,
        described=served.model.model_dump_json().encode(),
        page=page.render(served.model, served.compared, keyed),
        document=to_json(openapi.document(app, served, keyed)),
    )


def _try(served: Served) -> None:
    """Predict the typical record with and without its nullable fields, so that a model that fails is not served."""
    example, features = served.servable.manifest.example, served.schema.features
    if example.keys() != features.keys():
        raise KibanError(f"the example in the manifest of model {served.model_id[:12]} has other fields than the model")
    required = {name: value for name, value in example.items() if not features[name].nullable}
    try:
        for record in (example, required):
            served.predict(served.schema.check([record]))
    except RefusedError as refused:
        reason = refusal.sentence(refused)
        raise KibanError(f"model {served.model_id[:12]} refuses its own example: {reason}") from None
    except Exception as error:  # the engine's errors share no base class
        reason = one_line(error)
        raise KibanError(f"model {served.model_id[:12]} cannot answer about its own example: {reason}") from None


def _answering(request: Request) -> Answering:
    return request.scope[ANSWERING]


def predictions(log: PredictionLog) -> dict[str, Direct]:
    """What answers the paths of predictions. The guard asks it directly, because the layers of FastAPI, Starlette and
    BentoML would cost more than the answer. Scoring takes less time than handing the records to a thread.
    """

    def reply(records: Records, write: formats.Write, kind: str, served: Served, request_id: str) -> Response:
        predicted, unusual = served.predict(records)
        counters.count(predicted, unusual)
        warnings = served.schema.warnings(records, unusual)
        content = write(served.model_id, predicted, warnings)
        # The event loop calls this after the answer is sent.
        asyncio.get_running_loop().call_soon(log.add, request_id, served, records, predicted, warnings)
        return Response(content, 200, {WARNINGS: str(len(unusual))}, kind)

    def predict(headers: Mapping[str, str], body: bytes, answering: Answering, request_id: str) -> Response:
        formats.media_type(headers, [JSON])
        served = answering.served
        return reply(formats.read_json(body, served.schema), formats.WRITERS[JSON], JSON, served, request_id)

    def invocations(headers: Mapping[str, str], body: bytes, answering: Answering, request_id: str) -> Response:
        kind = formats.media_type(headers, list(formats.READERS))
        answer_kind = formats.answer_type(headers.get("accept", ""), kind)
        served, has_instances = answering.served, False
        if kind == JSON:
            records, has_instances = formats.read_either(body, served.file_schema)
        else:
            records = formats.READERS[kind](body, served.file_schema)
        write = formats.write_instances if has_instances and answer_kind == JSON else formats.WRITERS[answer_kind]
        return reply(records, write, answer_kind, served, request_id)

    return {"/predict": predict, "/invocations": invocations}


def _add_predictions(app: FastAPI) -> None:
    """Describe the paths of predictions, for /openapi.json."""

    async def answered_by_the_guard(_: Request) -> Response:
        raise AssertionError

    app.post("/predict", **openapi.PREDICT)(answered_by_the_guard)
    app.post("/invocations", **openapi.INVOCATIONS)(answered_by_the_guard)


def _add_descriptions(app: FastAPI) -> None:
    @app.get("/model", summary="The model: its features, limits and metrics", responses={200: {"model": Model}})
    async def model(request: Request) -> Response:
        return Response(_answering(request).described, media_type=JSON)

    @app.get("/ping", summary="Whether the service can answer, as SageMaker asks", responses={200: {"model": Alive}})
    async def ping(request: Request) -> Response:
        return Response(to_json({"model_id": _answering(request).model_id}), media_type=JSON)

    @app.get("/metrics", **openapi.text("Counters and latencies, for Prometheus", "text/plain"))
    async def metrics(_: Request) -> Response:
        return Response(counters.exposition(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", **openapi.text("A form for predictions", "text/html"))
    async def index(request: Request) -> Response:
        return HTMLResponse(_answering(request).page)

    @app.get("/docs", **openapi.text("This document as a page", "text/html"))
    async def docs(request: Request) -> Response:
        script, style = (path.lstrip("/") for path in ASSETS)
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=html.escape(_answering(request).served.model.title),
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url="data:,",
        )

    @app.get("/openapi.json", **openapi.text("This document", JSON, "object"))
    async def document(request: Request) -> Response:
        return Response(_answering(request).document, media_type=JSON)
