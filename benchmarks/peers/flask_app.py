"""A simple hand-written service: the scikit-learn pipeline behind Flask, a JSON API as Flask's documentation shows."""

import sys
from pathlib import Path

import pandas as pd
from flask import Flask, Response, jsonify, request

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
from kiban.data import contract
from kiban.servable import skops_file

ROOT = Path(__file__).parents[2]
FEATURES = contract.read_prepared(ROOT / "models/servable/contract.yaml").features()
TYPES = {name: "object" if column.type == "string" else "float32" for name, column in FEATURES.items()}
model = skops_file.load(ROOT / "models/model.skops")
app = Flask(__name__)


@app.post("/predict")
def predict() -> Response:
    frame = pd.DataFrame(request.get_json()["records"], columns=list(FEATURES)).astype(TYPES)
    probabilities = model.predict_proba(frame)[:, 1]
    return jsonify(predictions=[{"probability": p, "label": p >= 0.5} for p in probabilities.tolist()])
