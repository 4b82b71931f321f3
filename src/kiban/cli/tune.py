"""`kiban tune`: a search for better hyperparameters, which can be killed and goes on where it was."""

import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from kiban import files, git, prepared, trials
from kiban.composition import composed, load, overlay, write_overlay
from kiban.errors import KibanError
from kiban.settings.base import Sections, read
from kiban.settings.split import Split
from kiban.settings.tracking import Tracking
from kiban.settings.tune import Tune
from kiban.tracking import delivery, outbox
from kiban.tracking.run import Metric, Run, parameters

CONF = Path("conf/tune")
STUDIES = Path(".kiban_studies")
REPORTS = Path("reports/tuning")


class Params(Sections):
    tracking: Tracking


@click.command()
@click.argument("name")
@click.option(
    "--trials", "number", type=click.IntRange(min=1), help="Another number than the file's; those done count."
)
def tune(name: str, number: int | None) -> None:
    """Search what conf/tune/NAME.yaml describes, on all cores.

    The best parameters become conf/experiment/tuned_NAME.yaml, all trials reports/tuning/NAME.csv, and a run with its
    trials under it in MLflow. The same command after a kill goes on where it was.
    """
    from filelock import FileLock, Timeout

    settings = _settings(name, number)
    params = load(composed(Path(), ["experiment=none", *settings.overrides]))
    STUDIES.mkdir(exist_ok=True)
    try:
        with FileLock(STUDIES / f"{name}.lock", timeout=0):
            tried, batches = _search(name, settings, params)
    except Timeout:
        raise KibanError(f"another `kiban tune {name}` is running") from None
    _keep(name, settings, params, tried, batches)


def _settings(name: str, number: int | None) -> Tune:
    path = CONF / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in CONF.glob("*.yaml")))
        raise KibanError(f"there is no {path}; there are: {known}")
    settings = read(Tune, path)
    return settings.model_copy(update={"trials": number}) if number else settings


def _search(name: str, settings: Tune, params: dict[str, Any]) -> tuple[list[trials.Trial], list[str]]:
    """The trials, and the batches that scored them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from kiban import search

    dataset, split = params["dataset"]["name"], Split.model_validate(params["split"])
    training = {batch: of for batch, of in prepared.accepted(dataset).items() if split.of(batch) == "train"}
    folds = search.folds(list(training), settings.folds)
    # The same study only if it asks the same of the same data.
    asked = settings.model_dump(exclude={"trials"}), params, training
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    study = search.study(STUDIES / f"{name}-{digest}.journal", settings.seed, search.default(params, settings))
    shown = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*shown) as progress:
        task = progress.add_task("")

        def tell() -> None:
            done = search.trials(study)
            best = trials.ordered(done)[0].score if done else None
            description = f"tune: best {settings.metric} {best:.4f}" if best else "tune"
            progress.update(task, total=settings.trials, completed=len(done), description=description)

        tell()
        search.search(study, settings, partial(search.evaluate, params, dataset, folds, settings.metric), tell)
    return search.trials(study), [fold.test for fold in folds]


def _keep(
    name: str, settings: Tune, params: dict[str, Any], tried: Sequence[trials.Trial], batches: Sequence[str]
) -> None:
    """Write the table of the trials and the overlay, and track them."""
    from kiban.search import with_values

    best = trials.ordered(tried)[0]
    if best.score is None:
        raise KibanError(f"no trial could be scored: {best.error}")
    table = trials.table(tried, settings.metric, batches)
    REPORTS.mkdir(parents=True, exist_ok=True)
    files.write(REPORTS / f"{name}.csv", table.encode())
    found = f"{settings.metric} {best.score:.4f} in the mean of {batches[0]} to {batches[-1]}"
    print(f"tune: {len(tried)} trials in {REPORTS / name}.csv; the best is number {best.number}: {found}")
    wanted = with_values(params, best.parameters)
    path = Path(f"conf/experiment/tuned_{name}.yaml")
    if wanted == load(composed(Path(), ["experiment=none"])):
        print("tune: that is the default itself")
    else:
        path.unlink(missing_ok=True)
        write_overlay(Path(), path.stem, overlay(Path(), wanted, f"By `kiban tune {name}`: {found}."), wanted)
        print(f"tune: {path}: `dvc exp run -S experiment={path.stem}` tries it")
    _track(name, settings, tried, best, table)


def _track(name: str, settings: Tune, tried: Sequence[trials.Trial], best: trials.Trial, table: str) -> None:
    """The search as one run, the trials under it."""
    tracking = read(Params).tracking
    run = Run(
        key=hashlib.sha256(table.encode()).hexdigest()[:32],
        at=round(time.time() * 1000),
        experiment=f"{tracking.experiment}, tuning",
        name=f"tune {name}",
        parameters=parameters(best.parameters),
        metrics=[] if best.score is None else [Metric(name=settings.metric, value=best.score)],
        tags=git.state(Path()),
        children=trials.children(tried, settings.metric),
    )
    outbox.put(Path(), run, {"trials.csv": REPORTS / f"{name}.csv", "tune.yaml": CONF / f"{name}.yaml"})
    outcome = delivery.deliver(Path(), tracking.request_timeout)
    if outcome.failure:
        where = delivery.shown(delivery.store(Path()))
        click.echo(f"warning: {where} did not take the run, it waits in {outbox.FOLDER}: {outcome.failure}", err=True)
