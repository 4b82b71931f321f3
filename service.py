"""Where BentoML finds the service: `bentoml serve`. A Bento has no installed kiban, so src/ is put on the path here."""

import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # a Bento has no sitecustomize, and onnxruntime reports usage
sys.path.insert(0, str(Path(__file__).parent / "src"))

from kiban.serve.service import Service

__all__ = ["Service"]
