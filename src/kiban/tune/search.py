"""A search for hyperparameters: Optuna proposes trials, and all cores evaluate them."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import joblib
import numpy as np
import optuna
import pyarrow as pa
from joblib.externals.loky.process_executor import TerminatedWorkerError

from kiban.core.errors import KibanError, one_line
from kiban.core.settings import Sections, leaves
from kiban.data import contract, prepared
from kiban.data.missing import Missing
from kiban.data.split import ByRow, Resolved, parse, place
from kiban.servable import columns
from kiban.servable.load import answers_of, of_all_levels
from kiban.tasks.metric import Cost, Scored, Target, Terms, Weights
from kiban.tasks.own import metrics_of
from kiban.tasks.task import task_of
from kiban.train import choose, decide, estimator, fit, missing, rows, size
from kiban.train.settings import Decision, Model, Preprocessing
from kiban.tune.settings import Choice, Range, Tune
from kiban.tune.study import Study

WAIT = 1.0
"""Seconds after which it is asked again whether the trials of other machines have ended."""


class Trained(Sections):
    """The sections of params.yaml that a trial uses to train."""

    model: Model
    preprocessing: Preprocessing
    missing: Missing
    decision: Decision


class Piece(NamedTuple):
    """The training rows of a batch, or those of them in part `number` of `parts`, by the hash of a row."""

    batch: str
    number: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Fold:
    """The rows to train on, and those to score, by which the fold is named."""

    name: str
    train: tuple[Piece, ...]
    test: tuple[Piece, ...]


def folds(split: Resolved, batches: list[str], number: int) -> list[Fold]:
    """`number` folds of the training rows.

    By time each of the last training batches is scored by a model of the earlier ones. By row the training rows are cut
    into as many parts, and each is scored by a model of the others.

    Raises KibanError if there is no batch before the first of them.
    """
    if isinstance(split, ByRow):
        parts = [[Piece(batch, part, number) for batch in sorted(batches)] for part in range(number)]
        return [
            Fold(
                f"part {part + 1}",
                tuple(piece for other in parts if other is not parts[part] for piece in other),
                tuple(parts[part]),
            )
            for part in range(number)
        ]
    ordered = sorted(batches)
    if len(ordered) <= number:
        raise KibanError(f"{number} folds need at least {number + 1} training batches; there are {len(ordered)}")
    return [
        Fold(ordered[index], tuple(map(Piece, ordered[:index])), (Piece(ordered[index]),))
        for index in range(len(ordered) - number, len(ordered))
    ]


def check_size(params: dict[str, Any], split: Resolved, batches: Iterable[str]) -> None:
    """Raise KibanError if a trial on each core needs more memory than there is. `batches` are those of training."""
    settings, sample, dataset = Trained.model_validate(params), params.get("sample"), params["dataset"]["name"]
    table = choose.used(contract.prepared_of(dataset), settings.model)
    count = rows.count(dataset, split, batches, sample)
    size.check(count, table, settings.missing, sample, fits=joblib.cpu_count())


def with_values(params: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `params` with the values at dotted keys. Raises KibanError if a parent of a key is not a mapping."""
    result = dict(params)
    for key, value in values.items():
        node = result
        *parents, last = key.split(".")
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                raise KibanError(f"space: {key}: params.yaml has no section {parent}")
            node[parent] = dict(node[parent])
            node = node[parent]
        node[last] = value
    return result


def cross_validate(
    params: dict[str, Any], dataset: str, folds: list[Fold], metric: str, values: Mapping[str, Any]
) -> list[float]:
    """The metric of each fold, for `params` with `values` at dotted keys.

    Raises KibanError if the model cannot be built or the metric is not defined on a fold, and ValueError if the
    model cannot be fitted.
    """
    settings = Trained.model_validate(with_values(params, values))
    table = choose.used(contract.prepared_of(dataset), settings.model)
    features, column = table.features(), table.columns[table.target()]
    task = task_of(column)
    metrics = metrics_of(task)
    if metric not in metrics:
        raise KibanError(f"metric: {metric} is not one of {task.title}: choose one of {', '.join(metrics)}")
    which, names, scores = json.dumps([params["split"], params.get("sample")]), list(columns.inputs(features)), []
    for fold in folds:
        inputs, target, weights = _rows(dataset, fold.train, which, names)
        repeated, origin = missing.repeat_without(inputs, features, settings.missing.among(table))
        model = estimator.pipeline(features, settings.preprocessing, settings.model, task)
        some = None if weights is None else weights[origin]
        offset, scale = fit.fit(model, task, repeated, target[origin], some)
        test_rows, test_target, test_weights = _rows(dataset, fold.test, which, names)
        answers = answers_of(model, test_rows, task.name)
        if task.name == "multiclass":
            answers = of_all_levels(answers, model.classes_, len(column.levels or []))
        if task.name == "regression":
            answers = offset + scale * answers
        terms = Terms(task.baseline(target, len(column.levels or []), weights))
        if task.name == "binary":
            cost = settings.decision.cost
            # The threshold is chosen on the rows that it is measured on, in each trial alike.
            limit = decide.threshold(settings.decision, test_target, answers, test_weights)
            terms = terms._replace(threshold=limit, cost=Cost(**cost.model_dump()) if cost else None)
        score = metrics[metric].value(Scored(test_target, answers, test_weights, terms).weighted())
        if np.isnan(score):
            raise KibanError(
                f"{metric} is not defined on {fold.name}: it lacks a value of the target, or params.yaml lacks "
                f"decision.{metric}; choose another metric, or fewer folds"
            )
        scores.append(score)
    return scores


@cache
def _piece(dataset: str, piece: Piece, which: str) -> tuple[columns.Columns, Target, Weights | None]:
    """The features, target and weights of some training rows. A process reads each piece once.

    `which` are the sections `split` and `sample` in JSON.
    """
    hashes = prepared.accepted()
    split, sample = json.loads(which)
    table, rule = contract.prepared_of(dataset), parse(split, hashes)
    of_batch = prepared.in_pieces(dataset, piece.batch, hashes[piece.batch])
    training = (rule.parts(piece.batch, part, table.key)["train"] for part in of_batch)
    of_piece = pa.concat_tables(rows.sampled(part, table.key, sample) for part in training)
    if isinstance(rule, ByRow):
        # Of another seed than the split's, by which the training rows lie below a limit.
        numbers = (place(of_piece, rule.by or table.key, rule.seed + 1) * piece.parts).astype(int)
        of_piece = of_piece.filter(pa.array(numbers == piece.number))
    target = columns.target_from_arrow(of_piece[table.target()], table.columns[table.target()])
    return columns.from_arrow(of_piece, table.features()), target, columns.weights_from_arrow(of_piece, table)


def _rows(
    dataset: str, pieces: tuple[Piece, ...], which: str, names: Sequence[str]
) -> tuple[columns.Columns, Target, Weights | None]:
    """The inputs `names`, the target and the weights of some training rows."""
    parts = [_piece(dataset, piece, which) for piece in pieces]
    inputs = {name: np.concatenate([features[name] for features, _, _ in parts]) for name in names}
    weights = [each for _, _, each in parts if each is not None]
    return inputs, np.concatenate([target for _, target, _ in parts]), np.concatenate(weights) if weights else None


def default(params: dict[str, Any], settings: Tune) -> dict[str, Any]:
    """The values of `params` for the keys of the space, or an empty dictionary if one of them is outside the space."""
    present = leaves(params)
    values = {key: present.get(key) for key in settings.space}
    return values if all(_holds(settings.space[key], value) for key, value in values.items()) else {}


def _holds(kind: Range | Choice, value: Any) -> bool:
    if isinstance(kind, Choice):
        return value in kind.choices
    return isinstance(value, int | float) and kind.low <= value <= kind.high


def search(
    study: Study,
    settings: Tune,
    evaluate: Callable[[dict[str, Any]], list[float]],
    tell: Callable[[], None],
) -> bool:
    """Run trials, one on each core, until `settings.trials` have ended, here and on other machines.

    `tell` is called after each. Returns whether a trial ran here. `evaluate` runs in other processes and returns the
    scores of the folds. If it raises ValueError, only its trial fails. Raises KibanError if a process was killed.
    """
    took_part = False

    def tasks() -> Iterator[Any]:
        while (trial := study.ask(settings.trials)) is not None:
            values = {key: _suggest(trial, key, kind) for key, kind in settings.space.items()}
            yield joblib.delayed(_try)(trial.number, values, evaluate)

    with study.beating(), joblib.parallel_config(backend="loky", n_jobs=-1, inner_max_num_threads=1):
        while len(study.ended()) < settings.trials:
            results = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)(tasks())
            try:
                for number, outcome in results:
                    took_part = True
                    study.tell(number, outcome)
                    tell()
            except TerminatedWorkerError:
                raise KibanError("a process that trained was killed, probably because memory ran out") from None
            if len(study.ended()) < settings.trials:
                time.sleep(WAIT)  # other machines have the last trials: one of them may be gone
                tell()
    return took_part


def _try(
    number: int, values: dict[str, Any], evaluate: Callable[[dict[str, Any]], list[float]]
) -> tuple[int, list[float] | str]:
    try:
        return number, evaluate(values)
    except ValueError as error:
        return number, one_line(error)


def _suggest(trial: optuna.Trial, key: str, kind: Range | Choice) -> Any:
    if isinstance(kind, Choice):
        return trial.suggest_categorical(key, kind.choices)
    if isinstance(kind.low, int) and isinstance(kind.high, int):
        return trial.suggest_int(key, kind.low, kind.high, step=int(kind.step or 1), log=kind.log)
    return trial.suggest_float(key, kind.low, kind.high, step=kind.step, log=kind.log)
