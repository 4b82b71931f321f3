"""Stage config: checks that params.yaml is valid and is composed from the present conf/."""

from kiban.config.digest import digest
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.paths import CONF, CONFIG_STAMP
from kiban.core.settings import Settings, read
from kiban.data.missing import Missing
from kiban.data.settings import Engine
from kiban.data.split import Split
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.serve.settings import Serving
from kiban.sources.settings import Dataset
from kiban.track.settings import Tracking
from kiban.train.settings import Decision, Model, Preprocessing
from kiban.validate.settings import Validation


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
    evaluation: EvaluationSettings
    gate: Gate
    serving: Serving
    tracking: Tracking


def main() -> None:
    params = read(Params)
    if params.conf_digest != digest(CONF):
        raise KibanError("conf/ was edited after params.yaml was composed from it: run `kiban compose`")
    CONFIG_STAMP.parent.mkdir(exist_ok=True)
    # A constant text, so that a run of this stage does not cause a run of later stages.
    CONFIG_STAMP.write_text("params.yaml is composed from conf/\n")


if __name__ == "__main__":
    exit_on_error(main)
