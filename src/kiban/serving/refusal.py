"""What a request that is not answered gets: one JSON shape, whatever was wrong."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

from kiban.errors import KibanError

MODEL_ID = "X-Model-Id"
"""The header by which every answer names the model."""

REQUEST_ID = "X-Request-Id"
"""The header, and the key of a request's scope, with the request's id: the caller's, or one that the guard has made."""

WARNINGS = "X-Warnings"
"""The header with the number of unusual values, for answers that have no place for warnings."""


class Finding(BaseModel):
    """What is wrong, or unusual, and where."""

    record: int | None = Field(default=None, description="Index of the record, from 0; null: not about one record")
    field: str | None = Field(default=None, description="Name of the field or the header; null: not about one")
    problem: str = Field(description="What is wrong")
    allowed: str | None = Field(default=None, description="What would be accepted")


class Refusal(BaseModel):
    """Why a request was not answered. Where there is more wrong than is listed, what is mended uncovers the rest."""

    model_id: str
    errors: list[Finding]


class RefusedError(KibanError):
    """A request that is not answered: status, findings (keys of Finding) and headers of what it gets instead."""

    def __init__(self, status: int, *findings: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(findings[0]["problem"])
        self.status = status
        self.findings = findings
        self.headers = headers or {}


def finding(
    problem: str, allowed: str | None = None, *, record: int | None = None, field: str | None = None
) -> dict[str, Any]:
    """A Finding as what it is in JSON: its model is for the document, and costs more than the rest of an answer."""
    return {"record": record, "field": field, "problem": problem, "allowed": allowed}


def sentence(refused: RefusedError) -> str:
    """What was found, in words: each field, what is wrong with it, and what would be accepted."""
    return "; ".join(
        f"{of['field']}: {of['problem']}" + (f" (allowed: {of['allowed']})" if of["allowed"] else "")
        for of in refused.findings
    )


def response(model_id: str, refused: RefusedError) -> Response:
    """The answer to a request that was refused."""
    body = to_json({"model_id": model_id, "errors": refused.findings})
    return Response(body, refused.status, refused.headers, "application/json")
