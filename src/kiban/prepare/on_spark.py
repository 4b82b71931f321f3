"""Spark as the engine: on this machine, on a cluster, or behind Spark Connect.

The rows reach Spark from here as Arrow, or Spark reads them itself from DVC's store; what it computes comes back a
piece at a time. No folder is shared with its workers, and they need no Python, unless the features have functions of
Python. This module is imported only if the engine is Spark: pyspark is an extra.
"""

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import BinaryIO

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend
from ibis.common.exceptions import IbisError
from pyspark import StorageLevel
from pyspark.sql import SparkSession
from pyspark.sql.functions import spark_partition_id

from kiban.core.files import md5
from kiban.data import ordering, pieces, spark
from kiban.data.contract import Table

STORE = "KIBAN_SPARK_STORE"
"""That with the address of DVC's store as the workers see it, such as s3a://bucket/path; without it rows are sent."""
ROWS_OF_A_PART = 100_000  # of what Spark computes at once: each of its tasks costs some ten milliseconds
INSTANT = pa.timestamp("us", "UTC")


def connect(scratch: Path | None = None) -> BaseBackend:
    """The session of this process; what does not fit into memory is put into Spark's own folders.

    Raises KibanError if Spark cannot be reached, or does not start.
    """
    return ibis.pyspark.connect(spark.connected())


def table(session: BaseBackend, name: str, files: Sequence[BinaryIO]) -> ir.Table:
    """The rows of open Parquet files of one schema."""
    with spark.explained(f"engine: pyspark: the rows of {name} cannot be given to Spark"):
        if store := os.environ.get(STORE):
            digests = [md5(pieces.path_of(file)) for file in files]
            frame = SparkSession.active().read.parquet(
                *(f"{store.rstrip('/')}/files/md5/{each[:2]}/{each[2:]}" for each in digests)
            )
        else:
            frame = spark.sent(part for file in files for part in pieces.read(file))
        view = f"kiban_{sha256(name.encode()).hexdigest()[:16]}"  # of any name, such as that of a later delivery
        frame.createOrReplaceTempView(view)
        return session.table(view)


def in_order(
    session: BaseBackend, features: ir.Table, contract: Table, count: int, where: str, scratch: Path
) -> Iterator[pa.Table]:
    """The rows of the features in the contract's schema, sorted by key, in pieces.

    `count` is about how many rows they are computed from. Raises KibanError, which starts with `where`, if they cannot
    be computed or do not fit the contract.
    """
    what = f"{where}: the features"
    if not set(contract.key) <= set(features.columns):  # it is made of all rows
        yield from ordering.conformed(_rows(features, session, count, what), contract, where, scratch)
        return
    yield from ordering.fitted(_rows(features.order_by(contract.key), session, count, what), contract, where)


def _rows(features: ir.Table, session: BaseBackend, count: int, where: str) -> Iterator[pa.Table]:
    """The rows of the features in their order, in the types that Ibis says that they have.

    Spark keeps them on the disks of its workers until they are fetched. What is lost with a worker is computed again,
    in the same order if that has no ties.
    """
    session_of_spark = SparkSession.active()
    fields = features.schema().to_pyarrow()  # which know of no zone of Spark's times: these are instants
    schema = pa.schema([each.with_type(INSTANT) if pa.types.is_timestamp(each.type) else each for each in fields])
    with spark.explained(f"{where} cannot be computed from the raw rows", also=(IbisError,)):
        session_of_spark.conf.set("spark.sql.shuffle.partitions", str(max(4, ceil(count / ROWS_OF_A_PART))))
        session.to_pyarrow(features.limit(0))  # makes functions of Python known
        frame = session_of_spark.sql(session.compile(features)).persist(StorageLevel.DISK_ONLY)
        part = spark_partition_id()
        try:
            sizes = frame.groupBy(part.alias("part")).count().orderBy("part").collect()
            for first, last in _groups([(each["part"], each["count"]) for each in sizes]):
                yield frame.filter(part.between(first, last)).toArrow().cast(schema)
        finally:
            session_of_spark.catalog.clearCache()  # of the raw rows too


def _groups(sizes: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The first and the last of neighbouring parts, which have at most pieces.LARGE rows, or are one part."""
    group: list[tuple[int, int]] = []
    for part, size in sizes:
        if group and sum(each for _, each in group) + size > pieces.LARGE:
            yield group[0][0], group[-1][0]
            group = []
        group.append((part, size))
    if group:
        yield group[0][0], group[-1][0]
