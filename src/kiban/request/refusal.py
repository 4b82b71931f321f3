"""Refusals: the error and the findings of a request that is refused, in one JSON shape for every reason."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from kiban.core.errors import KibanError


class Finding(BaseModel):
    """A value or a header that is wrong or unusual, and its place in the request."""

    record: int | None = Field(default=None, description="Index of the record, from 0; null if not about one record")
    field: str | None = Field(default=None, description="Name of the field or the header; null if not about one")
    problem: str = Field(description="What is wrong")
    allowed: str | None = Field(default=None, description="What would be accepted")


class RefusedError(KibanError):
    """A request is refused. It has the status, findings (with the keys of Finding) and headers of the answer."""

    def __init__(self, status: int, *findings: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(findings[0]["problem"])
        self.status = status
        self.findings = findings
        self.headers = headers or {}


def finding(
    problem: str, allowed: str | None = None, *, record: int | None = None, field: str | None = None
) -> dict[str, Any]:
    """A Finding as a dictionary. The class Finding is only for the OpenAPI document: to build one costs more time than
    the rest of an answer."""
    return {"record": record, "field": field, "problem": problem, "allowed": allowed}


def sentence(refused: RefusedError) -> str:
    """The findings of a refusal as text: each field, its problem, and what would be accepted."""
    return "; ".join(
        (f"{each['field']}: " if each["field"] else "")
        + each["problem"]
        + (f" (allowed: {each['allowed']})" if each["allowed"] else "")
        for each in refused.findings
    )
