"""Where the stages leave what later ones, and people, read."""

from pathlib import Path

EVALUATION = Path("reports/evaluation.json")
METRICS = Path("reports/metrics.json")
PREDICTIONS = Path("reports/predictions.parquet")
PLOTS = Path("reports/plots")
MODEL = Path("models/model.skops")
