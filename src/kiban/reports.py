"""Where evaluate writes what the servable is worth."""

from pathlib import Path

EVALUATION = Path("reports/evaluation.json")
METRICS = Path("reports/metrics.json")
PREDICTIONS = Path("reports/predictions.parquet")
PLOTS = Path("reports/plots")
