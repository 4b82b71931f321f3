"""Clusters of rows, such as the flights of a day. Intervals come from drawing whole clusters (bootstrap.py)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kiban.core.errors import KibanError
from kiban.data.contract import NO_KEY
from kiban.tasks.metric import Clusters

ROW = "row"  # each is a cluster
CALENDAR = ("day", "week", "month")


def clusters(rows: pa.Table, cluster: str, time: str | None, timezone: str) -> Clusters:
    """The number of the cluster of each row, from 0: shape (rows,). Rows without a value are a cluster.

    Raises KibanError if `cluster` is neither a calendar unit nor a column that identifies rows.
    """
    return Numbers(cluster, time, timezone).of(rows)


class Numbers:
    """The numbers of clusters of rows that come in parts."""

    def __init__(self, cluster: str, time: str | None, timezone: str) -> None:
        self.cluster = cluster
        self.time = time
        self.timezone = timezone
        self.by_value: dict[Any, int] = {}
        self.rows = 0

    def of(self, rows: pa.Table) -> Clusters:
        """The number of the cluster of each row. Raises KibanError like `clusters`."""
        if self.cluster == ROW:
            self.rows += rows.num_rows
            return np.arange(self.rows - rows.num_rows, self.rows)
        encoded = self._values(rows).combine_chunks().dictionary_encode(null_encoding="encode")
        values = encoded.dictionary.to_pylist()
        numbers = np.array([self.by_value.setdefault(value, len(self.by_value)) for value in values], np.int64)
        of_rows: npt.NDArray[np.int64] = numbers[encoded.indices.to_numpy()]
        return of_rows

    def _values(self, rows: pa.Table) -> pa.ChunkedArray:
        if self.cluster in CALENDAR and self.time:
            return pc.floor_temporal(local_times(rows[self.time], self.timezone), unit=self.cluster)
        columns = [name for name in rows.column_names if not NO_KEY.fullmatch(name)]
        if self.cluster in columns:
            return rows[self.cluster]
        allowed = ", ".join([ROW, *(CALENDAR if self.time else ()), *columns])
        raise KibanError(
            f"params.yaml: gate.cluster: {self.cluster!r} is not one of {allowed}; correct it in conf/gate"
        )


def local_times(times: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    """Times without a zone, as clocks in the dataset's time zone show them."""
    if pa.types.is_timestamp(times.type):
        return pc.local_timestamp(times.cast(pa.timestamp("us", timezone)))
    return times.cast(pa.timestamp("us"))
