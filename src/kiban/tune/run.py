"""Running a search: reads its file, and writes the study, the table of trials, the overlay and the tracked run."""

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
from kiban.data import contract, prepared
from kiban.data.split import batches_of, parse
from kiban.track import delivery, outbox
from kiban.track.commit import state
from kiban.track.run import Metric, Run, parameters
from kiban.track.settings import Tracking
from kiban.tune import trials
from kiban.tune.settings import Tune


class Params(Sections):
    tracking: Tracking


def run(name: str, number: int | None) -> None:
    """Run the search of conf/tune/`name`.yaml and write its results. `number` replaces the file's number of trials.

    Raises KibanError if the file or params.yaml is wrong, if another process runs the same search, or if no trial
    could be scored.
    """
    from filelock import FileLock, Timeout

    settings, tracking = _settings(name, number), read(Params).tracking
    params = load(composed(Path(), settings.overrides))
    settings.applies_to.check(params["dataset"]["name"], f"{paths.SEARCHES / name}.yaml")
    paths.STUDIES.mkdir(exist_ok=True)
    try:
        with FileLock(paths.STUDIES / f"{name}.lock", timeout=0):
            ended_trials, batches = _search(name, settings, params)
            _write_results(name, settings, params, ended_trials, batches)
    except Timeout:
        raise KibanError(f"another `kiban tune {name}` is running") from None
    _track(name, settings, tracking, ended_trials)


def _settings(name: str, number: int | None) -> Tune:
    path = paths.SEARCHES / f"{name}.yaml"
    if not path.exists():
        present = ", ".join(sorted(file.stem for file in paths.SEARCHES.glob("*.yaml")))
        raise KibanError(f"there is no {path}; the searches are: {present}")
    check_name(f"tuned_{name}")
    settings = read(Tune, path)
    return settings.model_copy(update={"trials": number}) if number else settings


def _search(name: str, settings: Tune, params: dict[str, Any]) -> tuple[list[trials.Trial], list[str]]:
    """The trials that have ended, and the names of the folds on which they were scored."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from kiban.tune import search

    dataset, hashes = params["dataset"]["name"], prepared.accepted()
    split = parse(params["split"], hashes)
    training = {batch: hashes[batch] for batch in batches_of(split, hashes)["train"]}
    folds = search.folds(split, list(training), settings.folds)
    # A study is continued only with the same settings, parameters, data and contract, which its file name hashes.
    train_params = search.Trained.model_validate(params).model_dump()
    contract_digest = hashlib.sha256(contract.prepared_content(dataset)).hexdigest()
    parts = (
        settings.model_dump(exclude={"trials", "applies_to"}),
        train_params,
        params["split"],
        training,
        contract_digest,
    )
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    journal = paths.STUDIES / f"{name}-{digest}.journal"
    study = search.study(journal, settings.seed, settings.metric, search.default(params, settings))
    bar_columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*bar_columns) as progress:
        task = progress.add_task("")

        def tell() -> None:
            ended_trials = search.trials(study)
            best = trials.ordered(ended_trials, settings.metric)[0].score if ended_trials else None
            description = f"tune: best {settings.metric} {best:.4f}" if best else "tune"
            progress.update(task, total=settings.trials, completed=len(ended_trials), description=description)

        tell()
        search.search(study, settings, partial(search.cross_validate, params, dataset, folds, settings.metric), tell)
    return search.trials(study), [fold.name for fold in folds]


def _write_results(
    name: str, settings: Tune, params: dict[str, Any], ended_trials: Sequence[trials.Trial], batches: Sequence[str]
) -> None:
    """Write the table of the trials, and the overlay with the best parameters."""
    from kiban.tune.search import with_values

    best = trials.ordered(ended_trials, settings.metric)[0]
    if best.score is None:
        raise KibanError(f"no trial could be scored: {best.error}")
    table = trials.table(ended_trials, settings.metric, batches)
    paths.TUNING.mkdir(parents=True, exist_ok=True)
    files.write(paths.TUNING / f"{name}.csv", table.encode())
    score = f"{settings.metric} {best.score:.4f}, the mean of {batches[0]} to {batches[-1]}"
    print(f"tune: {len(ended_trials)} trials in {paths.TUNING / name}.csv; the best is number {best.number}: {score}")
    target = with_values(params, best.parameters)
    path = paths.EXPERIMENTS / f"tuned_{name}.yaml"
    if target == load(composed(Path(), ["experiment=none"])):
        path.unlink(missing_ok=True)
        print("tune: conf/ has these parameters without an overlay")
    else:
        text = overlay(Path(), target, f"By `kiban tune {name}`: {score}.")
        write_overlay(Path(), path.stem, text, target)
        print(f"tune: {path}: `dvc exp run -S experiment={path.stem}` tries it")


def _track(name: str, settings: Tune, tracking: Tracking, ended_trials: Sequence[trials.Trial]) -> None:
    """Track the search as a run with the trials as its children."""
    best, table = trials.ordered(ended_trials, settings.metric)[0], paths.TUNING / f"{name}.csv"
    search_run = Run(
        key=files.sha256(table)[:32],
        at=round(time.time() * 1000),
        experiment=f"{tracking.experiment}, tuning",
        name=f"tune {name}",
        parameters=parameters(best.parameters),
        metrics=[] if best.score is None else [Metric(name=settings.metric, value=best.score)],
        tags=state(Path()),
        children=trials.children(ended_trials, settings.metric),
    )
    try:
        outbox.put(Path(), search_run, {"trials.csv": table, "tune.yaml": paths.SEARCHES / f"{name}.yaml"})
    except OSError as error:
        click.echo(f"warning: the search was not tracked: {error}", err=True)
        return
    outcome = delivery.deliver(Path(), tracking)
    if search_run.key not in outcome.delivered:
        where = delivery.shown(delivery.store())
        click.echo(f"warning: {where} did not take the run, it waits in {paths.OUTBOX}: {outcome.failure}", err=True)
