"""All sections of params.yaml."""

from collections.abc import Mapping

from kiban.core.errors import KibanError
from kiban.core.settings import Settings
from kiban.data.missing import Missing
from kiban.data.settings import Engine
from kiban.data.split import Split
from kiban.evaluate.settings import EvaluationSettings, Gate, Plots
from kiban.serve.settings import Serving
from kiban.sources.settings import Dataset
from kiban.tasks.applies_to import AppliesTo
from kiban.track.settings import Tracking
from kiban.train.settings import Decision, Model, Preprocessing, Sample
from kiban.validate.settings import Validation


class Params(Settings):
    conf_digest: str
    applies_to: AppliesTo
    dataset: Dataset
    engine: Engine
    validation: Validation
    split: Split
    missing: Missing
    model: Model
    preprocessing: Preprocessing
    sample: Sample
    decision: Decision
    evaluation: EvaluationSettings
    plots: Plots
    gate: Gate
    serving: Serving
    tracking: Tracking


def check_has_data(tables: Mapping[str, object]) -> None:
    """Raise KibanError if there are no raw tables, as in a repository that has just begun."""
    if not tables:
        raise KibanError("there is no data yet: run `kiban init DATA --target COLUMN`, DATA being a file or a folder")
