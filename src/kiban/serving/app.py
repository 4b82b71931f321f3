"""The routes."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse

from kiban.columns import from_records
from kiban.servable.load import Servable
from kiban.serving import schema


def create_app(servable: Servable) -> FastAPI:
    """The application that answers with `servable`."""
    features = servable.contract.features()
    body = schema.request(features)
    app = FastAPI(title=f"{servable.manifest.dataset}: {servable.contract.description}", docs_url=None, redoc_url=None)

    # Asynchronous: to score a few records takes less time than to hand them to a thread.
    @app.post("/predict")
    async def predict(request: body) -> schema.Answer:  # type: ignore[valid-type]
        columns = from_records([dict(record) for record in request.records], features)  # type: ignore[attr-defined]
        scores = servable.score(columns)
        answers = zip(scores.tolist(), servable.labels(scores).tolist(), strict=True)
        predictions = [schema.Prediction(probability=score, label=label) for score, label in answers]
        return schema.Answer(model_id=servable.model_id, predictions=predictions)

    @app.get("/", include_in_schema=False)
    async def index() -> PlainTextResponse:
        return PlainTextResponse(f"model {servable.model_id}\nPOST /predict; /openapi.json says how\n")

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        # Without the offending value, which FastAPI repeats: NaN, which JSON cannot hold, would make this a 500.
        detail = [{"loc": item["loc"], "msg": item["msg"]} for item in error.errors()]
        return JSONResponse({"detail": detail}, status_code=422)

    return app
