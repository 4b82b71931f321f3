"""Switches off the usage reporting of every dependency, for every Python that starts in this project's environment.

Python imports this module at start-up: kiban_no_reports.pth of the environment names it, and sitecustomize.py where
src/ is in PYTHONPATH. So `mlflow ui` or `bentoml serve` typed by hand report nothing either. For a DVC that is
installed elsewhere there is a switch in .dvc/config too.
"""

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ["DVC_NO_ANALYTICS"] = "true"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime
os.environ["DO_NOT_TRACK"] = "true"
