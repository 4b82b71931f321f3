"""The rows of training and of validation, as a model reads them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kiban.core.errors import KibanError
from kiban.data import prepared
from kiban.data.contract import Table
from kiban.data.split import Resolved, SplitName, batches_of
from kiban.servable import columns
from kiban.servable.columns import Columns
from kiban.tasks.metric import Target, Weights

USED: tuple[SplitName, ...] = ("train", "validation")


class Rows(NamedTuple):
    """n rows: the table, their inputs, targets and weights, each of shape (n,), and their number by batch, in order."""

    table: pa.Table
    columns: Columns
    target: Target
    weights: Weights | None
    by_batch: Mapping[str, int]


def batches(split: Resolved, hashes: Mapping[str, str]) -> dict[SplitName, list[str]]:
    """The prepared batches of training and of validation. Raises KibanError if one of them has none."""
    used = {name: batches_of(split, hashes)[name] for name in USED}
    if not all(used.values()):
        raise KibanError("params.yaml: split: train or validation contains no prepared batch")
    return used


def read(dataset: str, table: Table, split: Resolved, hashes: Mapping[str, str]) -> tuple[Rows, Rows]:
    """The rows of training and of validation, of the batches in `hashes`, which has their SHA-256 by name.

    Raises KibanError if one of the two has no row, or if all targets of training are equal.
    """
    parts: dict[SplitName, dict[str, pa.Table]] = {name: {} for name in USED}
    for batch, digest in hashes.items():
        rows = prepared.read(dataset, {batch: digest})
        for name, part in split.parts(batch, rows, table.key).items():
            if name in parts and part.num_rows:
                parts[name][batch] = part
    if not all(parts.values()):
        raise KibanError("params.yaml: split: train or validation contains no row")
    training, validation = (_rows(parts[name], table) for name in USED)
    if len(np.unique(training.target)) < 2:
        raise KibanError(f"prepared data: {table.target()} has only one value in the training batches")
    return training, validation


def _rows(by_batch: Mapping[str, pa.Table], table: Table) -> Rows:
    whole = pa.concat_tables(by_batch.values())
    return Rows(
        whole,
        columns.from_arrow(whole, table.features()),
        columns.target_from_arrow(whole[table.target()], table.columns[table.target()]),
        columns.weights_from_arrow(whole, table),
        {batch: part.num_rows for batch, part in by_batch.items()},
    )
