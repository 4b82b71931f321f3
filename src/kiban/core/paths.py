"""The paths of files and folders, relative to the root of the repository."""

from pathlib import Path

# Configuration
PARAMS = Path("params.yaml")
CONF = Path("conf")
CONFIG = CONF / "config.yaml"
EXPERIMENTS = CONF / "experiment"
SEARCHES = CONF / "tune"
VERSIONS = Path("versions.yaml")

# What Copier keeps of a team's repository
ANSWERS = Path(".copier-answers.yml")

# Outputs of the stages
CONFIG_STAMP = Path("reports/config.stamp")
PREPARED_COUNTS = Path("reports/prepared.json")
DATA = Path("reports/data.json")
MODEL = Path("models/model.skops")
SERVABLE = Path("models/servable")
EVALUATION = Path("reports/evaluation.json")
METRICS = Path("reports/metrics.json")
PREDICTIONS = Path("reports/predictions.parquet")
PLOTS = Path("reports/plots")
TRACK_STAMP = Path("reports/track.stamp")
TUNING = Path("reports/tuning")
LOCK = Path("dvc.lock")

LEDGER_SUFFIX = ".batches.yaml"
"""The end of the name of a ledger in data/, after the name of its dataset."""

# Folders that git ignores
CACHE = Path(".kiban_cache")
OUTBOX = Path(".kiban_outbox")
RUNS = Path("mlruns")
"""MLflow's store on this machine."""
STUDIES = Path(".kiban_studies")


def raw_contract(dataset: str) -> Path:
    """The contract of a dataset's raw tables."""
    return CONF / "contract" / dataset / "raw.yaml"


def prepared_contract(dataset: str) -> Path:
    """The contract of a dataset's prepared table. Without the file it is derived from that of the only raw table."""
    return CONF / "contract" / dataset / "prepared.yaml"


def ledger(dataset: str) -> Path:
    return Path("data") / f"{dataset}{LEDGER_SUFFIX}"


def raw_folder(dataset: str) -> Path:
    return Path("data/raw") / dataset


def raw_file(dataset: str, table: str, batch: str) -> Path:
    return raw_folder(dataset) / table / f"{batch}.parquet"


def prepared_folder(dataset: str) -> Path:
    return Path("data/prepared") / dataset


def prepared_file(dataset: str, batch: str) -> Path:
    return prepared_folder(dataset) / f"{batch}.parquet"


def validation(level: str) -> Path:
    """The folder with verdict.json and index.html of a level of the data, raw or prepared."""
    return Path("reports/validation") / level


def verdict(level: str) -> Path:
    return validation(level) / "verdict.json"
