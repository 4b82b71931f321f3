"""What a git revision says of itself: parameters, metrics, validation, and the predictions that its model made."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pydantic import ValidationError

from kiban import versions
from kiban.composition import load
from kiban.errors import KibanError
from kiban.settings.base import PARAMS
from kiban.verdict import Level, Verdict, folder

EVALUATION = Path("reports/evaluation.json")
PREDICTIONS = Path("reports/predictions.parquet")


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
    try:
        params = load(versions.content(PARAMS, revision))
        evaluation = json.loads(versions.content(EVALUATION, revision))
        model_id = evaluation["model_id"]
    except FileNotFoundError as error:
        raise KibanError(f"{name} has no {error.filename}: run `dvc repro` there") from None
    except (ValueError, KeyError, TypeError, yaml.YAMLError):
        raise KibanError(f"{name}: {PARAMS} or {EVALUATION} cannot be read: run `dvc repro` there") from None
    verdicts: dict[Level, Verdict | None] = {level: _verdict(level, revision) for level in ("raw", "prepared")}
    return Results(revision, model_id, params, evaluation, verdicts, _predictions(revision))


def _verdict(level: Level, revision: str | None) -> Verdict | None:
    try:
        return Verdict.model_validate_json(versions.content(folder(level) / "verdict.json", revision))
    except (FileNotFoundError, ValidationError):
        return None


def _predictions(revision: str | None) -> pa.Table | None:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(io.BytesIO(versions.content(PREDICTIONS, revision)))
    except (FileNotFoundError, pa.ArrowException):
        return None
