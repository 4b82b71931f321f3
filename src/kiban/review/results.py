"""What a git revision says of itself: parameters, metrics, validation, and the predictions that its model made."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from kiban.core.errors import KibanError
from kiban.core.paths import EVALUATION, PARAMS, PREDICTIONS, validation
from kiban.core.settings import load
from kiban.data.verdict import Level, Verdict
from kiban.review.revision import commit, content


@dataclass(frozen=True)
class Results:
    """Of a revision, None being the working tree. A verdict or predictions that cannot be had are None."""

    revision: str | None
    model_id: str
    params: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    verdicts: Mapping[Level, Verdict | None]
    predictions: pa.Table | None


def results(revision: str | None) -> Results:
    """The results of a git revision; KibanError if it has none that can be read."""
    name = revision or "the working tree"
    if revision is not None:
        commit(revision)
    try:
        params = load(content(PARAMS, revision))
        evaluation = json.loads(content(EVALUATION, revision))
        model_id = evaluation["model_id"]
    except FileNotFoundError as error:
        raise KibanError(f"{name} has no {error.filename}: run `dvc repro` there") from None
    except (KibanError, ValueError, KeyError, TypeError):
        raise KibanError(f"{name}: {PARAMS} or {EVALUATION} cannot be read: run `dvc repro` there") from None
    verdicts: dict[Level, Verdict | None] = {level: _verdict(level, revision) for level in ("raw", "prepared")}
    return Results(revision, model_id, params, evaluation, verdicts, _predictions(model_id, revision))


def _verdict(level: Level, revision: str | None) -> Verdict | None:
    try:
        return Verdict.model_validate_json(content(validation(level) / "verdict.json", revision))
    except (FileNotFoundError, ValidationError):
        return None


def _predictions(model_id: str, revision: str | None) -> pa.Table | None:
    """The predictions of this model: what lies in the working tree may be of another one."""
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(io.BytesIO(content(PREDICTIONS, revision)))
    except (FileNotFoundError, pa.ArrowException):
        return None
    named = (found.schema.metadata or {}).get(b"model_id", b"").decode()
    return found.replace_schema_metadata(None) if named == model_id else None
