"""The BentoML service: the routes mounted in it, the guard before them, and BentoML set up for short requests."""

import os
import sys
from pathlib import Path

import bentoml

from kiban.errors import KibanError
from kiban.reports import EVALUATION
from kiban.servable import manifest
from kiban.servable.load import load
from kiban.serving import guard
from kiban.serving.app import ASSETS, create_app
from kiban.serving.model import Served
from kiban.settings.base import PARAMS, Sections, read
from kiban.settings.serving import Serving

ROOT = Path(__file__).resolve().parents[3]  # of the repository, and of the copy that a Bento carries


class Params(Sections):
    serving: Serving


try:
    limits = read(Params, ROOT / PARAMS).serving
    keys = guard.read_keys(os.environ)
    served = Served(load(ROOT / manifest.FOLDER), limits, ROOT / EVALUATION)
except KibanError as error:
    sys.exit(f"error: {error}")

app = create_app(served, keyed=bool(keys))
methods = dict.fromkeys(("/livez", "/readyz", *ASSETS), "GET")
methods |= {route.path: method for route in app.routes for method in route.methods}  # type: ignore[attr-defined]


@bentoml.service(
    name="kiban",
    workers=limits.workers,
    http={"host": "127.0.0.1", "port": 3000},
    # The guard's limit ends first; BentoML keeps a timer a request for as long as this, so it is short.
    traffic={"timeout": limits.max_seconds + 1},
    metrics={"enabled": False},  # BentoML has a series for each path that was ever asked for
    tracing={"excluded_urls": ".*"},  # a span a request, and nowhere to send it
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app, path="/")
class Service:
    """Answers with the servable in models/servable; on loopback unless `bentoml serve --host` says otherwise."""


Service.add_asgi_middleware(  # type: ignore[attr-defined]
    guard.Guard, methods=methods, limits=limits, keys=keys, model_id=served.model_id
)
