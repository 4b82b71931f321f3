"""The BentoML service: mounts the routes, puts the guard before them, and configures BentoML for short requests."""

import asyncio
import gc
import os
import sys
from pathlib import Path

import bentoml
from bentoml.images import Image

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.paths import EVALUATION, PARAMS
from kiban.core.settings import Sections, read
from kiban.request import logged, origin
from kiban.servable import manifest
from kiban.servable.load import load
from kiban.serve import accepted, control, guard, protocol, released, trial
from kiban.serve.app import ASSETS, create_app, predictions, ready
from kiban.serve.model import Served
from kiban.serve.prediction_log import PredictionLog
from kiban.serve.released import Worker
from kiban.serve.settings import Serving
from kiban.serve.watch import Answering, Watch

ROOT = Path(__file__).resolve().parents[3]  # of the repository, or of its copy in a Bento
RELEASE = Path(os.environ[released.FOLDER]) if os.environ.get(released.FOLDER) else None
PRESENT = RELEASE / released.CURRENT if RELEASE else None
SERVABLE = PRESENT / released.SERVABLE if PRESENT else Path(os.environ.get("KIBAN_SERVABLE") or ROOT / paths.SERVABLE)
REPORT = PRESENT / released.REPORT if PRESENT else ROOT / EVALUATION
ANY_MODEL = "KIBAN_ANY_MODEL"
"""The environment variable that lets the service load a model that this repository did not make."""
PYTHON = "{}.{}.{}".format(*sys.version_info)  # the image of a Bento has the version that it was built with


class Params(Sections):
    serving: Serving


control.make_private()
protocol.install()


def examine(folder: Path) -> None:
    """Raise KibanError if the model in the folder may not be loaded here."""
    model_id = manifest.read_checked(folder).model_id
    if not os.environ.get(ANY_MODEL):
        origin.check(ROOT, model_id, f"set {ANY_MODEL}=1 to serve it all the same")
    trial.attempt(folder, limits.trial_seconds, limits.trial_bytes)


def answering(folder: Path) -> Answering:
    """The model in `folder`, ready to answer. Raises KibanError if it cannot be loaded or cannot answer."""
    return ready(Served(load(folder), limits, REPORT, accepted.keys()), app, bool(keys))


def accepts_less(model_id: str) -> bool:
    """Whether a person has decided that the model may refuse what the one before it answers."""
    release = released.release_in(PRESENT) if PRESENT else None
    return release is not None and release.model_id == model_id and release.accepts_less


refusals: dict[str, str] = {}
"""The id of the release that was there when a refusal was told first, by its reason."""


def tell(model_id: str, reason: str | None) -> None:
    """Say in the release folder with which model this worker answers, and which one it has refused."""
    if not RELEASE or not PRESENT:
        return
    if reason is None:
        refusals.clear()
    elif reason not in refusals and (release := released.release_in(PRESENT)):
        refusals[reason] = release.model_id
    refused = refusals.get(reason) if reason else None
    worker = Worker(model_id=model_id, workers=limits.workers, refused=refused, reason=reason)
    released.write_worker(RELEASE, worker)


def check_packable() -> None:
    """Raise KibanError if a Bento would hold links into DVC's cache in the place of the model."""
    links = [path for path in (SERVABLE, *SERVABLE.rglob("*")) if path.is_symlink()]
    if "build" in sys.argv[1:2] and links:
        raise KibanError(
            f"{links[0]} is a link, and a Bento would hold the link: `dvc config --local cache.type copy`, then "
            "`dvc checkout --relink`"
        )


try:
    if RELEASE and PRESENT and not PRESENT.exists():
        raise KibanError(f"{RELEASE} has no release yet: `kiban promote`, or `kiban fetch prod`, lays one")
    check_packable()
    limits = read(Params, ROOT / PARAMS).serving
    keys, aliases = guard.read_keys(os.environ), guard.read_aliases(os.environ)
    port = guard.read_port(os.environ)
    store = logged.store()
    log = PredictionLog(logged.folder(ROOT), limits.prediction_log, limits.workers, store)
    app = create_app(bool(keys))
    watch = Watch(examine, answering, SERVABLE, REPORT, limits.watch_seconds, accepts_less, tell)
except (KibanError, OSError) as error:
    sys.exit(f"error: {error}")

methods = dict.fromkeys(("/livez", "/readyz", *ASSETS), "GET")
methods |= {route.path: method for route in app.routes for method in route.methods}  # type: ignore[attr-defined]
if hidden := aliases.keys() & methods.keys():
    sys.exit(f"error: {' and '.join(guard.ALIASES)}: {min(hidden)} is another path of the service already")


@bentoml.service(
    name="kiban",
    # For a known distribution BentoML would install a compiler, git and GnuPG, which wheels do not need.
    image=Image(base_image=f"python:{PYTHON}-slim", distro="none").run("install -d -o bentoml -g bentoml /log"),
    workers=limits.workers,
    http={"host": "127.0.0.1", "port": port},
    # The guard's limit ends earlier. BentoML keeps a timer of each request for this time, so it is short.
    traffic={"timeout": limits.max_seconds + 1},
    metrics={"enabled": False},  # BentoML makes a series for each path that was ever requested
    tracing={"excluded_urls": ".*"},  # spans would cost time, and nothing collects them
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app, path="/")
class Service:
    """Answers with the servable in models/servable; on loopback unless `bentoml serve --host` says otherwise."""

    @bentoml.on_startup
    async def start(self) -> None:
        # BentoML keeps a timer of each request for seconds. A full collection that walks all of them, and all other
        # objects, would stop the service for 50 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 10, 1000)
        log.start()
        self.watching = asyncio.create_task(watch.run())

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Called when the last request has been answered."""
        self.watching.cancel()
        await asyncio.to_thread(log.close)


Service.add_asgi_middleware(  # type: ignore[attr-defined]
    guard.Guard,
    methods=methods,
    aliases=aliases,
    limits=limits,
    keys=keys,
    current=lambda: watch.answering,
    direct=predictions(log),
    refused=log.refuse,
)
