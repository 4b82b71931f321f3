"""A hand-written job with scikit-learn and pandas: `python sklearn_score.py INPUT OUTPUT`, CSV or Parquet."""

import sys
from pathlib import Path

import pandas as pd

from kiban.data import contract
from kiban.servable import skops_file
from kiban.servable.load import load

ROOT = Path(__file__).parents[2]
source, target = sys.argv[1:]
model = skops_file.load(ROOT / "models/model.skops")
features = contract.read_prepared(ROOT / "models/servable/contract.yaml").features()
threshold = load(ROOT / "models/servable").manifest.threshold

rows = pd.read_csv(source) if source.endswith(".csv") else pd.read_parquet(source)
inputs = rows[list(features)]
texts = [name for name, column in features.items() if column.type == "string"]
inputs = inputs.astype({name: "float32" for name in features if name not in texts}).fillna(dict.fromkeys(texts, ""))
rows["probability"] = model.predict_proba(inputs)[:, 1]
rows["label"] = rows["probability"] >= threshold
if target.endswith(".csv"):
    rows.to_csv(target, index=False)
else:
    rows.to_parquet(target, index=False)
