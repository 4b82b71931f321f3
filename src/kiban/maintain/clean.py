"""What grows in a repository, and what of it nothing names any more."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kiban.core import lock, paths, store, turns
from kiban.core.errors import KibanError, one_line
from kiban.core.files import size_of
from kiban.core.git import git
from kiban.core.paths import RUNS
from kiban.request.origin import LINE

AT_ONCE = 500  # runs
STORE = f"sqlite:///{RUNS}/mlflow.db"


class Place(NamedTuple):
    """A place that grows: its bytes, those that may go, what they are, and what else makes it smaller."""

    name: str
    bytes: int
    leaving: int
    what: str


class Plan(NamedTuple):
    """The places, and what `carry_out` removes: objects of DVC's cache, and runs of MLflow's local store."""

    places: list[Place]
    objects: list[Path]
    runs: list[str]


def plan() -> Plan:
    """What may go. Nothing goes that a commit, a kept experiment or the working tree names.

    Raises KibanError if the cache is one that other projects use, and as `core.lock.ever_named` does.
    """
    from dvc.repo import Repo

    cache = _cache(Repo())
    folder = Path(os.path.relpath(cache.path))
    objects = _unnamed(cache, folder)
    runs, in_runs = _left_runs()
    removed = sum(path.stat().st_size for path in objects)
    experiments = git(Path(), "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    names = [name for name in experiments if not name.startswith(("refs/exps/exec/", "refs/exps/celery/"))]
    places = [
        Place(str(folder), size_of(folder), removed, _count(len(objects), "object")),
        Place(str(RUNS), size_of(RUNS), in_runs, _count(len(runs), "run") + " of models that nothing names"),
        Place("bentos", size_of(Path("bentos")), 0, "`bentoml list`, `bentoml delete`"),
        Place("logs", size_of(Path("logs")), 0, "what was predicted: yours to keep"),
        Place(str(paths.CACHE), size_of(paths.CACHE), 0, "results to be computed again: `rm -r` may be used"),
        Place("experiments", 0, 0, f"{_count(len(names), 'experiment')} kept: `dvc exp remove`"),
    ]
    return Plan(places, objects, runs)


def carry_out(plan: Plan) -> None:
    """Remove what the plan names, but for objects that something has named since.

    Raises KibanError if a run of DVC or a cycle is at it, which may be about to name what it has made.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    repo = Repo()
    try:
        with turns.alone("cycle"), repo.lock:
            queues = (repo.experiments.tempdir_queue, repo.experiments.celery_queue)
            if any(True for queue in queues for _ in queue.iter_active()):
                raise KibanError("an experiment runs: clean when it has ended")
            cache = _cache(repo)
            unnamed = set(_unnamed(cache, Path(os.path.relpath(cache.path))))
            for path in plan.objects:
                if path in unnamed:
                    path.unlink(missing_ok=True)
    except DvcException as error:
        raise KibanError(f"DVC does not let its cache be cleaned now: {one_line(error)}") from None
    if plan.runs:
        _delete(plan.runs)


def _cache(repo: Any) -> Any:
    """The cache of this project, whose `dvc.repo.Repo` it is."""
    cache = repo.cache.local
    if Path.cwd().resolve() not in Path(cache.path).resolve().parents:
        raise KibanError(
            f"the cache {cache.path} is outside of this project, so that others may use it: `dvc gc --help`"
        )
    return cache


def _unnamed(cache: Any, folder: Path) -> list[Path]:
    """The objects in the folder of the cache that nothing names, itself or in a folder that is named."""
    objects = list(_objects(folder))  # before the names: what comes in between is not here, and stays
    named = lock.ever_named()
    for digest in [digest for digest in named if digest.endswith(store.FOLDER)]:
        named |= set(store.content(digest, cache).values())
    return [path for path in objects if path.parent.name + path.name not in named]


def _objects(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
        if re.fullmatch(r"[0-9a-f]{30}(\.dir)?", path.name):
            yield path


def _left_runs() -> tuple[list[str], int]:
    """The runs of the local store whose model no commit and no experiment names, and their bytes.

    A run that has no model, such as that of a search, stays.
    """
    if not (RUNS / "mlflow.db").exists():
        return [], 0
    named = _named_models()
    import mlflow
    from mlflow.entities import ViewType

    client = mlflow.MlflowClient(STORE)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    left, total = [], 0
    token = None
    while experiments:
        page = client.search_runs(  # those too that an earlier cleaning marked as deleted, and did not end
            experiments, "tags.model_id != ''", ViewType.ALL, max_results=1000, page_token=token
        )
        for run in page:
            if run.data.tags.get("model_id") not in named:
                left.append(run.info.run_id)
                folders = [run.info.artifact_uri, *(model.artifact_location for model in _models(client, run))]
                total += sum(size_of(Path(folder.removeprefix("file://"))) for folder in folders)
        token = page.token
        if not token:
            break
    return left, total


def _named_models() -> set[str]:
    """The ids of the models that evaluation.json of a commit, of an experiment or of the working tree names."""
    pattern = re.escape(LINE).replace(r"\{\}", "([0-9a-f]{64})")
    history = ("log", "--all", "--full-history", "-m", "-p", "--unified=0", "--format=", "--")
    text = git(Path(), *history, str(paths.EVALUATION))
    if paths.EVALUATION.exists():
        text += paths.EVALUATION.read_text(encoding="utf-8")
    return set(re.findall(pattern, text))


def _models(client: Any, run: Any) -> list[Any]:
    """The models that a run has logged."""
    return list(client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"))


def _delete(runs: list[str]) -> None:
    """Delete runs, their models and their files from the local store."""
    import mlflow
    from mlflow.entities import LifecycleStage

    client = mlflow.MlflowClient(STORE)
    for first in range(0, len(runs), AT_ONCE):  # a command line has a limit
        some = runs[first : first + AT_ONCE]
        models: list[str] = []
        for run_id in some:
            run = client.get_run(run_id)
            for model in _models(client, run):
                client.delete_logged_model(model.model_id)
                models.append(model.model_id)
            if run.info.lifecycle_stage == LifecycleStage.ACTIVE:
                client.delete_run(run_id)
        command = ["mlflow", "gc", "--backend-store-uri", STORE, "--run-ids", ",".join(some)]
        command += ["--logged-model-ids", ",".join(models)] if models else []
        environment = {**os.environ, "MLFLOW_TRACKING_URI": STORE}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise KibanError(f"`mlflow gc` failed: {one_line(done.stderr)}; mend that, then clean again")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
