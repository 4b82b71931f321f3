"""What a request that is not answered gets: one JSON shape, whatever was wrong."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from kiban.core.errors import KibanError


class Finding(BaseModel):
    """What is wrong, or unusual, and where."""

    record: int | None = Field(default=None, description="Index of the record, from 0; null: not about one record")
    field: str | None = Field(default=None, description="Name of the field or the header; null: not about one")
    problem: str = Field(description="What is wrong")
    allowed: str | None = Field(default=None, description="What would be accepted")


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
        f"{each['field']}: {each['problem']}" + (f" (allowed: {each['allowed']})" if each["allowed"] else "")
        for each in refused.findings
    )
