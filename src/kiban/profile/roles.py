"""Which columns a model may use, and why it leaves the others out."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from kiban.profile.types import Read
from kiban.tasks.metric import Target
from kiban.tasks.task import Name

MOST_MISSING = 0.98
UNIQUE = 0.95
TEXT_UNIQUE, TEXT_WORDS, TEXT_MOST_WORDS, TEXT_LENGTH = 0.5, 1.5, 4, 40
ID_NAME = re.compile(r"(^|[^a-z])(id|ids|uid|uuid|guid|no|nr|num|number|key|code|index|idx|rownames)([^a-z]|$)")
YEAR = re.compile(r"(^|[^a-z])(year|years|yr|jahr|annee|ano|anno)([^a-z]|$)")
FIRST_ROWS, MOST_ROWS = 4000, 20_000  # of a first look, and of the second at what stood out
STANDS_OUT, LOUD, LEAK = 0.95, 0.97, 0.999
FOLDS = 4
MOST_INTEGER, MOST_NUMBER = 2**53, 3e38
LEAST_ROWS = 20  # to tell an identifier from a number

Role = Literal["feature", "info"]


class Use(NamedTuple):
    """Whether a column is a feature, and the reason if it is none; or what should be known of one that is."""

    role: Role
    reason: str | None = None
    note: str | None = None


def uses(rows: pa.Table, columns: Mapping[str, Read], target: Target, task: Name) -> dict[str, Use]:
    """The use of each column of `rows`, which lack the target. `target` is as in Scored, of the same rows.

    What a single feature tells of the target is measured on rows that it was not learned from.
    """
    decided = {}
    for place, name in enumerate(rows.column_names):
        reason = _useless(name, rows[name], columns[name], place == 0)
        decided[name] = Use("info", reason) if reason else Use("feature")
    open_names = [name for name, use in decided.items() if use.role == "feature"]
    for name, score in _told(rows.select(open_names), columns, target, task).items():
        if score > LEAK:
            decided[name] = Use("info", f"tells the target by itself ({score:.4f} of 1): a copy, or known only later?")
        elif score > LOUD:
            decided[name] = Use("feature", note=f"tells nearly all of the target by itself ({score:.3f} of 1)")
    return decided


def _useless(name: str, values: pa.ChunkedArray, read: Read, is_first: bool) -> str | None:
    """Why a column tells nothing of rows to come, or None."""
    present = values.drop_null()
    rows = len(values)
    if len(present) < (1 - MOST_MISSING) * rows or not len(present):
        return f"{1 - len(present) / rows:.1%} of its values are missing"
    distinct = pc.count_distinct(present).as_py()
    if distinct == 1:
        return "it has only one value"
    if read.type == "integer" and rows >= LEAST_ROWS and distinct == rows:
        low, high = (int(each) for each in pc.min_max(present).as_py().values())
        if high - low < 1.5 * rows and not YEAR.search(_words(name)):
            return "pandas' index, a row number" if is_first and name in ("", "Unnamed: 0") else "a row number"
        if ID_NAME.search(_words(name)) or _is_code(low, high, rows):
            return "an identifier: another value in every row"
    elif read.type == "integer" and distinct > UNIQUE * len(present) >= LEAST_ROWS and ID_NAME.search(_words(name)):
        return "an identifier: another value in nearly every row"
    if read.type == "integer" and max(abs(each) for each in pc.min_max(present).as_py().values()) > MOST_INTEGER:
        return "whole numbers above 2**53, which JSON cannot tell apart"
    if read.type == "number" and max(abs(each) for each in pc.min_max(present).as_py().values()) > MOST_NUMBER:
        return "numbers beyond single precision, which models read"
    if read.type == "string" and rows >= LEAST_ROWS:
        return _of_text(present, distinct)
    return None


def _is_code(low: int, high: int, rows: int) -> bool:
    """Whether whole numbers, all different, are numbers of things: of as many digits, and either with few gaps or from
    one end of such numbers to the other. Amounts are seldom so."""
    decade = 10 ** (len(str(high)) - 1)
    return 10_000 <= decade <= low and (high - low < 20 * rows or high - low > 4.5 * decade)


def _words(name: str) -> str:
    """A name in small letters, with a space before capitals, so that customerID has the word id."""
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).casefold()


def _of_text(present: pa.ChunkedArray, distinct: int) -> str | None:
    words = pc.mean(pc.add(pc.count_substring_regex(pc.utf8_trim_whitespace(present), r"\s+"), 1)).as_py()
    length = pc.mean(pc.utf8_length(present)).as_py()
    share = distinct / len(present)
    if (share > TEXT_UNIQUE and (words >= TEXT_WORDS or length > TEXT_LENGTH)) or (
        words > TEXT_MOST_WORDS and distinct > 20
    ):
        return "free text"
    if share > UNIQUE and words < TEXT_WORDS:
        return "an identifier: another value in nearly every row"
    return None


def _told(rows: pa.Table, columns: Mapping[str, Read], target: Target, task: Name) -> dict[str, float]:
    """What each column tells of the target by itself, from 0 to 1: the macro one-vs-rest AUC, or R²."""
    random = np.random.default_rng(0)
    order = random.permutation(len(target))  # never in the order of the file, which may be sorted by the target
    first, many = order[:FIRST_ROWS], order[:MOST_ROWS]
    told = {}
    for name in rows.column_names:
        values = _numbered(rows[name], columns[name])
        score = _score(values[first], target[first], task)
        if score > STANDS_OUT and len(many) > len(first):
            score = _score(values[many], target[many], task)
        told[name] = score
    return told


def _numbered(values: pa.ChunkedArray, read: Read) -> npt.NDArray[np.float64]:
    """Values as numbers: texts as the number of their level, times as seconds, null as NaN."""
    if read.type == "string":
        values = values.combine_chunks().dictionary_encode().indices
    elif read.type in ("date", "timestamp"):
        values = values.cast(pa.timestamp("s", "UTC"), safe=False).cast(pa.int64())
    numbers: npt.NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _score(values: npt.NDArray[np.float64], target: Target, task: Name) -> float:
    """The score of a small tree out of fold, of the order of the values, or 1 if each value has one class alone."""
    if task != "regression" and _has_one_class_each(values, target):
        return 1.0
    return max(_by_tree(values, target, task), _by_order(values, target, task))


def _has_one_class_each(values: npt.NDArray[np.float64], target: Target) -> bool:
    """Whether all rows with the same value are of one class, of nearly all rows; null is a value too.

    A tree does not tell of a class with a handful of rows.
    """
    places = np.unique(values, return_inverse=True)[1]
    rows, classes = np.bincount(places), np.unique(target, return_inverse=True)[1]
    if rows[rows > 1].sum() < 0.95 * len(target):
        return False
    pairs = np.unique(np.stack([places, classes]), axis=1).shape[1]
    return pairs == len(rows)


def _by_order(values: npt.NDArray[np.float64], target: Target, task: Name) -> float:
    """The score of the values as they are: of a copy on another scale it is 1, however few the rows."""
    present = ~np.isnan(values)
    if present.sum() < LEAST_ROWS or present.mean() < 0.9:
        return 0.0
    values, target = values[present], target[present]
    if task == "multiclass" or len(np.unique(target)) < 2:
        return 0.0
    if task == "binary":
        score = float(roc_auc_score(target, values))
        return max(score, 1 - score)
    ranks = np.corrcoef(rankdata(values), rankdata(target))[0, 1]
    return float(ranks**2) if np.isfinite(ranks) else 0.0


def _by_tree(values: npt.NDArray[np.float64], target: Target, task: Name) -> float:
    if len(target) < 2 * LEAST_ROWS:
        return 0.0
    leaf = max(5, len(target) // 50) if len(target) < 1000 else 5
    settings = {"max_leaf_nodes": 64, "min_samples_leaf": leaf, "random_state": 0}
    tree = DecisionTreeRegressor(**settings) if task == "regression" else DecisionTreeClassifier(**settings)
    classes = np.unique(target)
    answers = np.zeros((len(target), 1 if task == "regression" else len(classes)))
    column = values.reshape(-1, 1)
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(column):
        tree.fit(column[train], target[train])
        if task == "regression":
            answers[test, 0] = tree.predict(column[test])
        else:
            answers[np.ix_(test, np.searchsorted(classes, tree.classes_))] = tree.predict_proba(column[test])
    if task == "regression":
        return float(1 - ((target - answers[:, 0]) ** 2).sum() / ((target - target.mean()) ** 2).sum())
    areas = [roc_auc_score(target == each, answers[:, place]) for place, each in enumerate(classes)]
    return float(np.mean(areas))
