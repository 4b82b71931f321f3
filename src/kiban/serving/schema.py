"""The contract's features as the request's schema: types, ranges and levels that reject, null where it is allowed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from kiban.contract import Column

MOST_RECORDS = 1000
MOST_NUMBER = 3.4e38  # models read single precision, which ends here
MOST_INTEGER = 2**53 - 1  # what JSON can carry between any two programs (RFC 8259, section 6)

_TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}


class Prediction(BaseModel):
    probability: float = Field(description="Probability that the target is true")
    label: bool = Field(description="True where the probability reaches the model's decision threshold")


class Answer(BaseModel):
    """One prediction a record, in their order, and the id of the model that made them."""

    model_id: str
    predictions: list[Prediction]


def request(features: Mapping[str, Column]) -> type[BaseModel]:
    """The type of a request's body, {"records": [{feature: value}]}: strict, unknown fields refused.

    A nullable feature may be null or absent.
    """
    fields: Any = {name: _field(column) for name, column in features.items()}
    strict = ConfigDict(extra="forbid", strict=True)
    record = create_model("Record", __config__=strict, **fields)
    records: Any = (list[record], Field(min_length=1, max_length=MOST_RECORDS))  # type: ignore[valid-type]
    return create_model("Request", __config__=strict, records=records)


def _field(column: Column) -> tuple[Any, Any]:
    kind: Any = _TYPES[column.type]
    if column.levels is not None and column.unseen == "reject":
        kind = Literal[tuple(column.levels)]
    elif column.type == "string":
        kind = Annotated[str, AfterValidator(_encodable)]
    if column.type in ("integer", "number"):
        most = MOST_INTEGER if column.type == "integer" else MOST_NUMBER
        low, high = (column.min, column.max) if column.out_of_range == "reject" else (None, None)
        kind = Annotated[kind, Field(ge=-most if low is None else low, le=most if high is None else high)]
    if column.type == "number":
        kind = Annotated[kind, Field(allow_inf_nan=False)]
    description = column.description + (f" [{column.unit}]" if column.unit else "")
    if column.nullable:
        return (kind | None, Field(default=None, description=description))
    return (kind, Field(description=description))


def _encodable(text: str) -> str:
    """JSON can spell half of a surrogate pair, which is no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be text that UTF-8 can encode") from None
    return text
