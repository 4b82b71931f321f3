"""How often the gate of a promotion is right, on drawn days of the flights' test months.

Days are drawn with replacement; a day that is drawn twice is two clusters. All rules are on but the time of an answer,
which is the same for both models here. The pairs of champion and challenger are made of real scores, so that the truth
is known:

- equal: a model, and the same with noise, exchanged at random day by day, so that neither is better;
- better: one model, and the same with noise added to its log-odds that costs 0.01 ROC AUC over the two months;
- worse at an origin: noise costs the champion more everywhere else, and the challenger 0.03 at one origin.

    dvc repro && make bench-gate
"""

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from kiban.core.settings import Sections, read
from kiban.data import prepared
from kiban.data.split import Split, resolved
from kiban.evaluate import gate, measure
from kiban.evaluate.settings import Gate
from kiban.operate import rules
from kiban.operate.challenge import slices
from kiban.review.comparison import clusters
from kiban.servable.load import load
from kiban.tasks.binary import ROC_AUC
from kiban.tasks.metric import Scored

DRAWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
YEARS = DRAWS // 5
LOOKS, DAYS_OF_A_MONTH = 12, 30
AIRPORT = "origin EWR"
Floats = npt.NDArray[np.float64]


class Params(Sections):
    gate: Gate
    split: Split


class Test(NamedTuple):
    """The test rows: target, scores of two models, day, and the rows of each slice."""

    target: npt.NDArray[np.bool_]
    scores: Floats
    other: Floats
    day: npt.NDArray[np.int64]
    masks: dict[str, npt.NDArray[np.bool_]]


def test_rows(settings: Gate, of_promotion: rules.Promotion) -> Test:
    """The test rows with the scores of the servable, and the same with noise."""
    params, servable = read(Params), load()
    hashes = prepared.accepted()
    split = resolved(params.split, hashes)
    names = [name for name in hashes if "test" in split.of(name)]
    rows = prepared.read(servable.manifest.dataset, {name: hashes[name] for name in names})
    part = measure.scored(servable, rows)
    contract = servable.contract
    day = clusters(rows, settings.cluster, contract.time, "America/New_York")
    return Test(
        np.asarray(part.target, np.bool_),
        part.scores,
        noisy(part.scores, 0.35, 7),
        day,
        dict(slices(rows, of_promotion.rules.slices, contract.time, "America/New_York")),
    )


def noisy(scores: Floats, scale: float | Floats, seed: int) -> Floats:
    """Probabilities with noise added to their log-odds, brought back to the spread that they had."""
    odds = np.log(scores / (1 - scores))
    noise = np.random.default_rng(seed).standard_normal(len(scores)) * scale
    made = odds + noise
    center = odds.mean()
    shrink = odds.var() / (odds.var() + np.square(scale))
    probabilities: Floats = 1 / (1 + np.exp(-(center + (made - center) * shrink)))
    return probabilities


def auc(target: npt.NDArray[np.bool_], scores: Floats) -> float:
    return ROC_AUC.value(Scored(target, scores).weighted())


def scale_for(test: Test, loss: float, mask: npt.NDArray[np.bool_]) -> float:
    """The noise that costs so much ROC AUC on some rows, found by halving."""
    low, high = 0.0, 4.0
    full = auc(test.target[mask], test.scores[mask])
    for _ in range(30):
        middle = (low + high) / 2
        found = full - auc(test.target[mask], noisy(test.scores, middle, 1)[mask])
        low, high = (middle, high) if found < loss else (low, middle)
    return low


class Pair(NamedTuple):
    """The scores of champion and challenger on the test rows. With `exchanged` they change sides at random by day."""

    before: Floats
    after: Floats
    exchanged: bool = False


def drawn_rows(
    test: Test, random: np.random.Generator, days: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of drawn days, and the number of the draw of each: shape (n,) each."""
    by_day = np.split(np.argsort(test.day, kind="stable"), np.cumsum(np.bincount(test.day))[:-1])
    parts = [by_day[day] for day in random.integers(len(by_day), size=days)]
    return np.concatenate(parts), np.repeat(np.arange(days), [len(part) for part in parts])


def judge(
    test: Test, pair: Pair, index: npt.NDArray[np.int64], day: npt.NDArray[np.int64], swap: npt.NDArray[np.bool_]
) -> tuple[bool, str, float]:
    """Whether the challenger is promoted on these rows, what refuses it, and the difference in ROC AUC."""
    settings, of_promotion = read(Params).gate, rules.read("flights")
    exchanged = swap[day] & pair.exchanged
    before, after = pair.before[index], pair.after[index]
    sides = np.where(exchanged, after, before), np.where(exchanged, before, after)
    target = test.target[index]
    old, new = (Scored(target, side) for side in sides)
    masks = {name: mask[index] for name, mask in test.masks.items()}
    made = [gate.floor(settings, ROC_AUC, auc(target, sides[1])), gate.prior(ROC_AUC, auc(target, sides[1]), 0.5)]
    made += gate.beside(settings, ROC_AUC, of_promotion.rules, old, new, day, masks)
    refused = [rule.name for rule in made if rule.decision == "refused"]
    return not refused, ", ".join(refused), auc(target, sides[1]) - auc(target, sides[0])


def once(test: Test, pair: Pair, seed: int) -> tuple[bool, str, float]:
    random = np.random.default_rng(seed)
    days = int(test.day.max()) + 1
    index, day = drawn_rows(test, random, days)
    return judge(test, pair, index, day, random.random(days) < 0.5)


def a_year(test: Test, pair: Pair, seed: int) -> tuple[bool, str, float]:
    """Whether one of twelve challengers that are not better is promoted, each on the two newest months of that look."""
    random = np.random.default_rng(seed)
    index, day = drawn_rows(test, random, (LOOKS + 1) * DAYS_OF_A_MONTH)
    for look in range(LOOKS):
        first = look * DAYS_OF_A_MONTH
        inside = (day >= first) & (day < first + 2 * DAYS_OF_A_MONTH)
        swap = random.random(2 * DAYS_OF_A_MONTH) < 0.5
        if judge(test, pair, index[inside], day[inside] - first, swap)[0]:
            return True, "", 0.0
    return False, "", 0.0


def main() -> None:
    settings, of_promotion = read(Params).gate, rules.read("flights")
    test = test_rows(settings, of_promotion)
    everywhere, airport = np.ones(len(test.target), np.bool_), test.masks[AIRPORT]
    slightly, strongly = scale_for(test, 0.01, everywhere), scale_for(test, 0.05, ~airport)
    at_airport = scale_for(test, 0.03, airport)
    equal = Pair(test.scores, test.other, exchanged=True)
    better = Pair(noisy(test.scores, slightly, 1), test.scores)
    worse = Pair(
        np.where(airport, test.scores, noisy(test.scores, strongly, 1)),
        np.where(airport, noisy(test.scores, at_airport, 1), test.scores),
    )
    table = Table(
        title=f"The gate on {len(test.target):,} test rows of {test.day.max() + 1} days", title_justify="left"
    )
    for heading in ("challenger", "change of ROC AUC", "SD", "promoted", "95 % interval", "asked"):
        table.add_column(heading)
    cases: list[tuple[str, Pair, int, Callable[..., tuple[bool, str, float]], str]] = [
        ("equal", equal, DRAWS, once, "at most 5 %"),
        ("equal, one of twelve in a year", equal, YEARS, a_year, "-"),
        ("better by 0.01", better, DRAWS, once, "at least 80 %"),
        (f"0.03 worse at {AIRPORT.split()[1]}", worse, DRAWS, once, "at most 20 %"),
    ]
    for name, pair, times, draw, asked in cases:
        results = Parallel(n_jobs=os.cpu_count())(delayed(draw)(test, pair, seed) for seed in range(times))
        promoted = sum(result[0] for result in results)
        changes = np.array([result[2] for result in results])
        interval = binomtest(promoted, times).proportion_ci()
        shown = f"{interval.low:.1%} to {interval.high:.1%} of {times}"
        refusals = Counter(reason for _, reasons, _ in results for reason in reasons.split(", ") if reason)
        print(f"{name}: refused by {', '.join(f'{rule} {count}' for rule, count in refusals.most_common(4)) or 'none'}")
        table.add_row(name, f"{changes.mean():+.4f}", f"{changes.std():.4f}", f"{promoted / times:.1%}", shown, asked)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
