"""The whole of params.yaml, for the config stage: a key that is not here is unknown."""

from kiban.settings.base import Settings
from kiban.settings.dataset import Dataset, Engine
from kiban.settings.evaluation import Evaluation, Gate
from kiban.settings.missing import Missing
from kiban.settings.model import Decision, Model, Preprocessing
from kiban.settings.serving import Serving
from kiban.settings.split import Split
from kiban.settings.tracking import Tracking
from kiban.settings.validation import Validation


class Params(Settings):
    conf_digest: str
    dataset: Dataset
    engine: Engine
    validation: Validation
    split: Split
    missing: Missing
    model: Model
    preprocessing: Preprocessing
    decision: Decision
    evaluation: Evaluation
    gate: Gate
    serving: Serving
    tracking: Tracking
