"""Spark as the engine: on this machine, on a cluster, or behind Spark Connect.

The rows reach Spark from here as Arrow, or Spark reads them itself from DVC's store; what it computes comes back a
piece at a time. No folder is shared with its workers, and they need no Python, unless the features have functions of
Python. This module is imported only if the engine is Spark: pyspark is an extra.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from math import ceil
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend
from ibis.common.exceptions import IbisError
from py4j.protocol import Py4JError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.functions import spark_partition_id

from kiban.core import memory
from kiban.core.errors import KibanError, one_line
from kiban.core.files import md5
from kiban.data import ordering, parquet, pieces
from kiban.data.contract import Table

CLUSTER = "KIBAN_SPARK"
"""The environment variable that says where Spark is: local[4], spark://HOST:7077, or sc://HOST:15002 (Connect)."""
STORE = "KIBAN_SPARK_STORE"
"""That with the address of DVC's store as the workers see it, such as s3a://bucket/path; without it rows are sent."""
ROWS_OF_A_PART = 100_000  # of what Spark computes at once: each of its tasks costs some ten milliseconds
PORTS = {"sc": 15002, "spark": 7077}
INSTANT = pa.timestamp("us", "UTC")
FAILED = (PySparkException, Py4JError, IbisError, pa.ArrowException, OSError)
SETTINGS = {  # whatever the cluster's own are, the same rows come of the same expression
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
}


def connect(scratch: Path | None = None) -> BaseBackend:
    """The session of this process; what does not fit into memory is put into Spark's own folders.

    Raises KibanError if Spark cannot be reached, or does not start.
    """
    url = os.environ.get(CLUSTER) or "local[*]"
    _check_reached(url)
    builder = SparkSession.builder
    if url.startswith("sc://"):
        builder = builder.remote(url)
    else:
        builder = builder.master(url).appName("kiban")
        own = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
        if url.startswith("local"):
            size = f"{int(memory.available() / 2 / 1e6)}m"
            own |= {
                "spark.driver.memory": size,
                "spark.driver.bindAddress": "127.0.0.1",
                "spark.driver.host": "127.0.0.1",
            }
        for name, value in own.items():
            builder = builder.config(name, value)
    address, _, secrets = url.partition(";")  # sc://HOST:15002/;token=…
    where = f"engine: pyspark: Spark at {address} cannot be used (local Spark needs Java 17)"
    with _explained(where, secrets):
        spark = builder.getOrCreate()
        for name, value in SETTINGS.items():
            spark.conf.set(name, value)
        return ibis.pyspark.connect(spark)


def _check_reached(url: str) -> None:
    """Raise KibanError if nobody answers at a cluster's address: Spark itself would try for ten minutes."""
    scheme, separator, rest = url.partition("://")
    places = [urlsplit(f"//{place}") for place in rest.partition("/")[0].split(",")] if separator else []
    for place in places:
        try:
            with socket.create_connection((place.hostname, place.port or PORTS.get(scheme, 0)), timeout=10):
                return
        except (OSError, ValueError) as error:
            problem = error
    if places:
        names = ", ".join(f"{place.netloc}" for place in places)
        raise KibanError(f"{CLUSTER}: nobody answers at {scheme}://{names}: {one_line(problem)}") from None


def table(session: BaseBackend, name: str, files: Sequence[BinaryIO]) -> ir.Table:
    """The rows of open Parquet files of one schema."""
    spark = SparkSession.active()
    with _explained(f"engine: pyspark: the rows of {name} cannot be given to Spark"):
        if store := os.environ.get(STORE):
            digests = [md5(pieces.path_of(file)) for file in files]
            frame = spark.read.parquet(*(f"{store.rstrip('/')}/files/md5/{each[:2]}/{each[2:]}" for each in digests))
        else:
            parts = (spark.createDataFrame(part) for file in files for part in pieces.read(file))
            frame = reduce(lambda one, other: one.union(other), parts)
        frame.createOrReplaceTempView(name)
        return session.table(name)


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
    before = 0
    for rows in _rows(features.order_by(contract.key), session, count, what):
        yield parquet.fitted(rows, contract, where, before)
        before += rows.num_rows


def _rows(features: ir.Table, session: BaseBackend, count: int, where: str) -> Iterator[pa.Table]:
    """The rows of the features in their order, in the types that Ibis says that they have.

    Spark keeps them on the disks of its workers until they are fetched. What is lost with a worker is computed again,
    in the same order if that has no ties.
    """
    spark = SparkSession.active()
    fields = features.schema().to_pyarrow()  # which know of no zone of Spark's times: these are instants
    schema = pa.schema([each.with_type(INSTANT) if pa.types.is_timestamp(each.type) else each for each in fields])
    with _explained(f"{where} cannot be computed from the raw rows"):
        spark.conf.set("spark.sql.shuffle.partitions", str(max(4, ceil(count / ROWS_OF_A_PART))))
        session.to_pyarrow(features.limit(0))  # makes functions of Python known
        frame = spark.sql(session.compile(features)).persist(StorageLevel.DISK_ONLY)
        part = spark_partition_id()
        try:
            sizes = frame.groupBy(part.alias("part")).count().orderBy("part").collect()
            for first, last in _groups([(each["part"], each["count"]) for each in sizes]):
                yield frame.filter(part.between(first, last)).toArrow().cast(schema)
        finally:
            frame.unpersist()


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


@contextmanager
def _explained(where: str, secrets: str = "") -> Iterator[None]:
    """Raise KibanError, which starts with `where` and does not contain `secrets`, in the place of what Spark raises."""
    try:
        yield
    except FAILED as error:
        text = str(error)
        for secret in filter(None, (secrets, *(each.partition("=")[2] for each in secrets.split(";")))):
            text = text.replace(secret, "***")
        raise KibanError(f"{where}: {one_line(text)}") from None
