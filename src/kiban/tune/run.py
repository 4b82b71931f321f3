"""A search from its file to what it leaves: the study, the table of its trials, the overlay, the tracked run."""

import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from kiban.config.composition import check_name, composed, overlay, write_overlay
from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, load, read
from kiban.data import prepared
from kiban.data.split import Split
from kiban.track import delivery, outbox
from kiban.track.commit import state
from kiban.track.run import Metric, Run, parameters
from kiban.track.settings import Tracking
from kiban.tune import trials
from kiban.tune.settings import Tune


class Params(Sections):
    tracking: Tracking


def run(name: str, number: int | None) -> None:
    """Search what conf/tune/`name`.yaml describes, with `number` trials if it is given, and keep what came of it.

    Raises KibanError if the file or params.yaml is wrong, if another process runs the same search, or if no trial
    could be scored.
    """
    from filelock import FileLock, Timeout

    settings, tracking = _settings(name, number), read(Params).tracking
    params = load(composed(Path(), settings.overrides))
    paths.STUDIES.mkdir(exist_ok=True)
    try:
        with FileLock(paths.STUDIES / f"{name}.lock", timeout=0):
            tried, batches = _search(name, settings, params)
            _keep(name, settings, params, tried, batches)
    except Timeout:
        raise KibanError(f"another `kiban tune {name}` is running") from None
    _track(name, settings, tracking, tried)


def _settings(name: str, number: int | None) -> Tune:
    path = paths.SEARCHES / f"{name}.yaml"
    if not path.exists():
        present = ", ".join(sorted(file.stem for file in paths.SEARCHES.glob("*.yaml")))
        raise KibanError(f"there is no {path}; there are: {present}")
    check_name(f"tuned_{name}")
    settings = read(Tune, path)
    return settings.model_copy(update={"trials": number}) if number else settings


def _search(name: str, settings: Tune, params: dict[str, Any]) -> tuple[list[trials.Trial], list[str]]:
    """The trials, and the batches that scored them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from kiban.tune import search

    dataset, split = params["dataset"]["name"], Split.model_validate(params["split"])
    training = {batch: digest for batch, digest in prepared.accepted().items() if split.of(batch) == "train"}
    folds = search.folds(list(training), settings.folds)
    # The same study only if it asks the same of the same data.
    trained = search.Trained.model_validate(params).model_dump()
    columns = files.sha256(paths.prepared_contract(dataset))
    parts = settings.model_dump(exclude={"trials"}), trained, training, columns
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    study = search.study(paths.STUDIES / f"{name}-{digest}.journal", settings.seed, search.default(params, settings))
    shown = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*shown) as progress:
        task = progress.add_task("")

        def tell() -> None:
            done = search.trials(study)
            best = trials.ordered(done)[0].score if done else None
            description = f"tune: best {settings.metric} {best:.4f}" if best else "tune"
            progress.update(task, total=settings.trials, completed=len(done), description=description)

        tell()
        search.search(study, settings, partial(search.cross_validate, params, dataset, folds, settings.metric), tell)
    return search.trials(study), [fold.test for fold in folds]


def _keep(
    name: str, settings: Tune, params: dict[str, Any], tried: Sequence[trials.Trial], batches: Sequence[str]
) -> None:
    """Write the table of the trials and the overlay."""
    from kiban.tune.search import with_values

    best = trials.ordered(tried)[0]
    if best.score is None:
        raise KibanError(f"no trial could be scored: {best.error}")
    table = trials.table(tried, settings.metric, batches)
    paths.TUNING.mkdir(parents=True, exist_ok=True)
    files.write(paths.TUNING / f"{name}.csv", table.encode())
    score = f"{settings.metric} {best.score:.4f} in the mean of {batches[0]} to {batches[-1]}"
    print(f"tune: {len(tried)} trials in {paths.TUNING / name}.csv; the best is number {best.number}: {score}")
    wanted = with_values(params, best.parameters)
    path = paths.EXPERIMENTS / f"tuned_{name}.yaml"
    if wanted == load(composed(Path(), ["experiment=none"])):
        path.unlink(missing_ok=True)
        print("tune: that is conf/ without an overlay")
    else:
        text = overlay(Path(), wanted, f"By `kiban tune {name}`: {score}.")
        write_overlay(Path(), path.stem, text, wanted)
        print(f"tune: {path}: `dvc exp run -S experiment={path.stem}` tries it")


def _track(name: str, settings: Tune, tracking: Tracking, tried: Sequence[trials.Trial]) -> None:
    """The search as one run, the trials under it."""
    best, table = trials.ordered(tried)[0], paths.TUNING / f"{name}.csv"
    tracked = Run(
        key=files.sha256(table)[:32],
        at=round(time.time() * 1000),
        experiment=f"{tracking.experiment}, tuning",
        name=f"tune {name}",
        parameters=parameters(best.parameters),
        metrics=[] if best.score is None else [Metric(name=settings.metric, value=best.score)],
        tags=state(Path()),
        children=trials.children(tried, settings.metric),
    )
    try:
        outbox.put(Path(), tracked, {"trials.csv": table, "tune.yaml": paths.SEARCHES / f"{name}.yaml"})
    except OSError as error:
        click.echo(f"warning: the search was not tracked: {error}", err=True)
        return
    outcome = delivery.deliver(Path(), tracking)
    if tracked.key not in outcome.delivered:
        where = delivery.shown(delivery.store(Path()))
        click.echo(f"warning: {where} did not take the run, it waits in {paths.OUTBOX}: {outcome.failure}", err=True)
