"""The model of `kiban init` on fifteen real tables, beside skrub's `tabular_pipeline` and benchmarks/peers/by_hand.py.

Folds are shuffled, repeated and the same for all three. `kiban init` decides anew in each, from a CSV file of the rows
to train on: types, features, and which model. What it chose is then fitted to all of these rows, as the peers are. The
figure is ROC AUC (one class against the others, for more than two), or R².

A difference is clear if its t is beyond the quantile for fifteen looks (Bonferroni). Its variance counts that folds
share rows (Nadeau and Bengio, Inference for the Generalization Error, 2003, section 4).

    make bench-tables
"""

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from peers import by_hand
from real_tables import ORIGINS, RealTable, table
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold

from kiban.data.parquet import conform
from kiban.profile.run import of_files
from kiban.profile.wishes import Wishes
from kiban.servable.columns import from_arrow, target_from_arrow
from kiban.servable.load import answers_of
from kiban.sources import given
from kiban.tasks.task import Name, task_of
from kiban.train import estimator, fit

FOLDS, REPEATS, CONFIDENCE = 5, 2, 0.95
PEERS = ("skrub", "by hand")
Values = npt.NDArray[np.float64]


def folds(real: RealTable) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The rows to train on and those to test, of each fold of each repeat."""
    for repeat in range(REPEATS):
        kind = KFold if real.task == "regression" else StratifiedKFold
        for train, test in kind(FOLDS, shuffle=True, random_state=repeat).split(real.frame, real.frame[real.target]):
            yield real.frame.iloc[train], real.frame.iloc[test]


def ours(train: pd.DataFrame, test: pd.DataFrame, real: RealTable) -> float:
    """The figure of what `kiban init` decides."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "train.csv", Path(folder) / "test.csv"
        for rows, path in zip((train, test), paths, strict=True):
            rows.to_csv(path, index=False)
        plan = of_files(str(paths[0]), Wishes(real.target))
        later = conform(given.rows(given.files(str(paths[1])), plan.table.written), plan.table, "test.csv")
    column, features = plan.table.columns[real.target], plan.table.features()
    task = task_of(column)
    if task.name != real.task:
        raise SystemExit(f"kiban init takes {real.target} for {task.title}, and not for {real.task}")
    model, preprocessing = plan.choice.tried[plan.choice.name]
    pipeline = estimator.pipeline(features, preprocessing, model, task)
    (rows,) = plan.rows.values()
    offset, scale = fit.fit(pipeline, task, from_arrow(rows, features), target_from_arrow(rows[real.target], column))
    answers = offset + scale * answers_of(pipeline, from_arrow(later, features), task.name)
    return figure(target_from_arrow(later[real.target], column), answers, task.name)


def of_skrub(train: pd.DataFrame, test: pd.DataFrame, real: RealTable) -> float:
    """The figure of skrub's pipeline, as its documentation shows it."""
    from skrub import tabular_pipeline

    model = tabular_pipeline("regressor" if real.task == "regression" else "classifier")
    model.fit(train.drop(columns=real.target), train[real.target])
    return _of_peer(model, test.drop(columns=real.target), test[real.target], real.task)


def of_hand(train: pd.DataFrame, test: pd.DataFrame, real: RealTable) -> float:
    """The figure of the pipeline that a person wrote."""
    both = by_hand.with_parts(pd.concat([train, test]).drop(columns=real.target))
    model = by_hand.fitted(both.iloc[: len(train)], train[real.target], real.task)
    return _of_peer(model, both.iloc[len(train) :], test[real.target], real.task)


def _of_peer(model, features: pd.DataFrame, target: pd.Series, task: Name) -> float:  # type: ignore[no-untyped-def]
    if task == "regression":
        return figure(target.to_numpy(), model.predict(features), task)
    answers = model.predict_proba(features)
    numbers = np.searchsorted(model.classes_, target)
    return figure(numbers, answers[:, 1] if task == "binary" else answers, task)


def figure(target: Values, answers: Values, task: Name) -> float:
    if task == "regression":
        return float(r2_score(target, answers))
    if task == "binary":
        return float(roc_auc_score(target, answers))
    return float(np.mean([roc_auc_score(target == each, answers[:, each]) for each in range(answers.shape[1])]))


def judged(differences: Values) -> tuple[float, str]:
    """Half of the 95 % interval of a mean difference, and whether it is clear after fifteen looks."""
    number = len(differences)
    error = differences.std(ddof=1) * np.sqrt(1 / number + 1 / (FOLDS - 1))
    clear = stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / len(ORIGINS), number - 1) * error
    mean = differences.mean()
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, number - 1) * error)
    return half, "better" if mean > clear else "WORSE" if mean < -clear else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="*", choices=[[], *ORIGINS], default=[])
    names = parser.parse_args().tables or list(ORIGINS)
    warnings.filterwarnings("ignore")
    console = Console(width=100)
    shown = Table(title="ROC AUC or R², mean of folds; differences with 95 % intervals")
    for heading in ("table", "rows", "kiban init", *PEERS, "ahead of skrub", "ahead of by hand"):
        shown.add_column(heading, justify="left" if heading == "table" else "right")
    means: list[list[float]] = []
    for name in names:
        real = table(name)
        rounds = track(list(folds(real)), description=name, transient=True, console=console)
        figures = np.array([[way(*pair, real) for way in (ours, of_skrub, of_hand)] for pair in rounds])
        differences = [figures[:, 0] - figures[:, place] for place in (1, 2)]
        means.append([float(each.mean()) for each in differences])
        cells = []
        for each in differences:
            half, word = judged(each)
            cells.append(f"{each.mean():+.4f} ± {half:.4f} {word}")
        shown.add_row(name, f"{len(real.frame):,}", *(f"{each:.4f}" for each in figures.mean(axis=0)), *cells)
        console.print(name, figures.mean(axis=0).round(4).tolist(), cells)
    shown.add_section()
    shown.add_row("mean difference", "", "", "", "", *(f"{each:+.4f}" for each in np.mean(means, axis=0)))
    console.print(shown)


if __name__ == "__main__":
    main()
