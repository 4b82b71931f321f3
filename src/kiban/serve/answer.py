"""The headers of every answer, and the answer to a refused request."""

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from kiban.request.refusal import Finding, RefusedError, finding

MODEL_ID = "X-Model-Id"
"""The header with the id of the model, in every answer."""


REQUEST_ID = "X-Request-Id"
"""The header, and the key of a request's scope, with the request's id: the caller's, or one that the guard makes."""


WARNINGS = "X-Warnings"
"""The header with the number of unusual values, for formats of answers that have no warnings."""


class Refusal(BaseModel):
    """The reasons why a request was refused. There may be more errors than are listed."""

    model_id: str
    errors: list[Finding]


def response(model_id: str, refused: RefusedError) -> Response:
    """The answer to a request that was refused."""
    body = to_json({"model_id": model_id, "errors": refused.findings})
    return Response(body, refused.status, refused.headers, "application/json")


def failed() -> RefusedError:
    """What a caller gets when the service fails; the log has the cause."""
    return RefusedError(500, finding("an error of the service; its log has the details"))
