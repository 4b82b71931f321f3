"""Where BentoML finds the service: `bentoml serve`. A Bento has no installed kiban, so src/ is put on the path here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))

from kiban.serving.service import Service

__all__ = ["Service"]
