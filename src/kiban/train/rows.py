"""The rows of training and of validation, as a model reads them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import pieces, prepared
from kiban.data.contract import Table
from kiban.data.split import ByRow, Resolved, SplitName, batches_of, place
from kiban.servable import columns
from kiban.servable.columns import Columns
from kiban.tasks.metric import Target, Weights
from kiban.train.settings import Sample

SEED = 2**63  # that of a split is below it, so that the sample is as good a share of each part of the split
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


def count(dataset: str, split: Resolved, batches: Iterable[str], sample: Sample) -> int:
    """About how many rows `read` reads. Raises KibanError if a file cannot be read."""
    rows = sum(pieces.count(paths.prepared_file(dataset, batch)) for batch in batches)
    return round(rows * (sample or 1) * (1 - split.test if isinstance(split, ByRow) else 1))


def sampled(rows: pa.Table, key: Sequence[str], sample: Sample) -> pa.Table:
    """The rows of a sample: the same ones, whatever other rows there are."""
    return rows if sample is None else rows.filter(pa.array(place(rows, key, SEED) < sample))


def read(dataset: str, table: Table, split: Resolved, hashes: Mapping[str, str], sample: Sample) -> tuple[Rows, Rows]:
    """The rows of training and of validation, of the batches in `hashes`, which has their SHA-256 by name.

    Of the rows of both, a `sample` is read.
    Raises KibanError if one of the two has no row, or if all targets of training are equal.
    """
    parts: dict[SplitName, dict[str, pa.Table]] = {name: {} for name in USED}
    for batch, digest in hashes.items():
        of_batch: dict[SplitName, list[pa.Table]] = {name: [] for name in USED}
        for piece in prepared.in_pieces(dataset, batch, digest):
            for name, part in split.parts(batch, sampled(piece, table.key, sample), table.key).items():
                if name in of_batch and part.num_rows:
                    of_batch[name].append(part)
        for name, tables in of_batch.items():
            if tables:
                parts[name][batch] = pa.concat_tables(tables)
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
