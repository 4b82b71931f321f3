"""Running a search: reads its file, and writes the study, the table of trials, the overlay and the tracked run."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kiban.config.composition import check_name, composed, overlay, write_overlay
from kiban.core import files, paths, versions
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

if TYPE_CHECKING:  # their imports take seconds
    from kiban.tune.search import Fold
    from kiban.tune.study import Study

SOURCE = Path(__file__).parents[1]
ROOMS = ("core", "data", "metrics", "servable", "tasks", "train", "tune")
"""Of whose code the score of a trial is made."""


class Params(Sections):
    tracking: Tracking


def run(name: str, number: int | None) -> None:
    """Run the search of conf/tune/`name`.yaml and write its results. `number` replaces the file's number of trials.

    With KIBAN_TUNE_STORAGE other machines may run the same search; one of them writes the results. Raises KibanError if
    the file or params.yaml is wrong, if no trial could be scored, if the database cannot be reached, and, without one,
    if another process runs the same search.
    """
    settings, tracking = _settings(name, number), read(Params).tracking
    params = load(composed(Path(), settings.overrides))
    settings.applies_to.check(params["dataset"]["name"], f"{paths.SEARCHES / name}.yaml")
    with _opened(name, settings, params) as (study, folds):
        took_part = _search(study, settings, params, folds)
        ended_trials = study.ended()
        from kiban.tune.study import writing

        with writing(study, took_part) as is_here:
            if not is_here:
                print(f"tune: {len(ended_trials)} trials; another machine that took part has the results")
                return
            _write_results(name, settings, params, ended_trials, [fold.name for fold in folds])
            _track(name, settings, tracking, ended_trials)


@contextmanager
def _opened(name: str, settings: Tune, params: dict[str, Any]) -> Iterator[tuple["Study", list["Fold"]]]:
    """The study of the search, and the folds on which its trials are scored."""
    from filelock import FileLock, Timeout

    from kiban.tune import search, study

    hashes = prepared.accepted()
    split = parse(params["split"], hashes)
    training = {batch: hashes[batch] for batch in batches_of(split, hashes)["train"]}
    search.check_size(params, split, training)
    folds = search.folds(split, list(training), settings.folds)
    full_name = f"{name}-{_digest(settings, params, training)}"
    given = full_name, settings.seed, settings.metric, search.default(params, settings)
    if address := os.environ.get(study.STORAGE):
        with study.shared(address, *given) as opened:
            yield opened, folds
        return
    paths.STUDIES.mkdir(exist_ok=True)
    try:
        with FileLock(paths.STUDIES / f"{name}.lock", timeout=0):
            yield study.journal(paths.STUDIES / f"{full_name}.journal", *given[1:]), folds
    except Timeout:
        raise KibanError(f"another `kiban tune {name}` is running") from None


def _digest(settings: Tune, params: dict[str, Any], training: Mapping[str, str]) -> str:
    """A digest of all that a trial's score depends on. A study goes on only where it is the same.

    That is the settings of the search and of training, the data with its contract, the code, and the packages.
    """
    from kiban.tune.search import Trained

    code = {
        path.relative_to(SOURCE).as_posix(): files.sha256(path)
        for room in ROOMS
        for path in sorted((SOURCE / room).rglob("*.py"))
    }
    parts = (
        settings.model_dump(exclude={"trials", "applies_to"}),
        Trained.model_validate(params).model_dump(),
        [params["split"], params.get("sample")],
        training,
        hashlib.sha256(contract.prepared_content(params["dataset"]["name"])).hexdigest(),
        code,
        versions.read(paths.VERSIONS.read_bytes(), str(paths.VERSIONS)),
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _settings(name: str, number: int | None) -> Tune:
    path = paths.SEARCHES / f"{name}.yaml"
    if not path.exists():
        present = ", ".join(sorted(file.stem for file in paths.SEARCHES.glob("*.yaml")))
        raise KibanError(f"there is no {path}; the searches are: {present}")
    check_name(f"tuned_{name}")
    settings = read(Tune, path)
    return settings.model_copy(update={"trials": number}) if number else settings


def _search(study: "Study", settings: Tune, params: dict[str, Any], folds: list["Fold"]) -> bool:
    """Run the search, with a bar of its progress. Returns whether a trial ran here."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from kiban.tune import search

    bar_columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*bar_columns) as progress:
        task = progress.add_task("")

        def tell() -> None:
            ended_trials = study.ended()
            best = trials.ordered(ended_trials, settings.metric)[0].score if ended_trials else None
            description = f"tune: best {settings.metric} {best:.4f}" if best else "tune"
            progress.update(task, total=settings.trials, completed=len(ended_trials), description=description)

        tell()
        evaluate = partial(search.cross_validate, params, params["dataset"]["name"], folds, settings.metric)
        return search.search(study, settings, evaluate, tell)


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
