"""What every answer has: its headers, and the one JSON shape of a refusal."""

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from kiban.request.refusal import Finding, RefusedError

MODEL_ID = "X-Model-Id"
"""The header by which every answer names the model."""


REQUEST_ID = "X-Request-Id"
"""The header, and the key of a request's scope, with the request's id: the caller's, or one that the guard has made."""


WARNINGS = "X-Warnings"
"""The header with the number of unusual values, for answers that have no place for warnings."""


class Refusal(BaseModel):
    """Why a request was not answered. Where there is more wrong than is listed, what is mended uncovers the rest."""

    model_id: str
    errors: list[Finding]


def response(model_id: str, refused: RefusedError) -> Response:
    """The answer to a request that was refused."""
    body = to_json({"model_id": model_id, "errors": refused.findings})
    return Response(body, refused.status, refused.headers, "application/json")
