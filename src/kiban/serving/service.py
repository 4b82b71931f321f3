"""The BentoML service that the routes are mounted in."""

import sys
from pathlib import Path

import bentoml

from kiban.errors import KibanError
from kiban.servable import manifest
from kiban.servable.load import Servable, load
from kiban.serving.app import create_app

ROOT = Path(__file__).resolve().parents[3]  # of the repository, and of the copy that a Bento carries


def _load() -> Servable:
    try:
        return load(ROOT / manifest.FOLDER)
    except KibanError as error:
        sys.exit(f"error: {error}")


@bentoml.service(name="kiban", http={"host": "127.0.0.1", "port": 3000})
@bentoml.asgi_app(create_app(_load()), path="/")
class Service:
    """Answers with the servable in models/servable; on loopback unless `bentoml serve --host` says otherwise."""
