"""Spark: a session on this machine, on a cluster, or behind Spark Connect, and its errors as KibanError.

This module is imported only where Spark is asked for: pyspark is an extra.
"""

import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from urllib.parse import urlsplit

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from kiban.core import memory
from kiban.core.errors import KibanError, one_line

CLUSTER = "KIBAN_SPARK"
"""The environment variable that says where Spark is: local[4], spark://HOST:7077, or sc://HOST:15002 (Connect)."""
PORTS = {"sc": 15002, "spark": 7077}
FAILED = (PySparkException, Py4JError, pa.ArrowException, OSError)
OF_DRIVER = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.driver.maxResultSize": "0",  # of a piece; a gigabyte without it
    # Its parts would wait for each other for ever after one of them had no memory.
    "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
}
SETTINGS = {  # whatever the cluster's own are, the same rows come of the same expression
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
}


def connected() -> SparkSession:
    """The session of this process. Raises KibanError if Spark cannot be reached, or does not start."""
    url = os.environ.get(CLUSTER) or "local[*]"
    _check_reached(url)
    builder = SparkSession.builder
    if url.startswith("sc://"):
        builder = builder.remote(url)
    else:
        builder = builder.master(url).appName("kiban")
        own = {"spark.driver.memory": f"{int(memory.available() / 2 / 1e6)}m", **OF_DRIVER}
        if url.startswith("local"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            own |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
        for name, value in own.items():
            builder = builder.config(name, value)
    address = url.partition(";")[0].rpartition("@")[2]  # sc://HOST:15002/;token=…
    with explained(f"Spark at {address} cannot be used (local Spark needs Java 17)"):
        spark = builder.getOrCreate()
        for name, value in SETTINGS.items():
            spark.conf.set(name, value)
        return spark


def _check_reached(url: str) -> None:
    """Raise KibanError if nobody answers at a cluster's address: Spark itself would try for ten minutes."""
    scheme, _, rest = url.partition("://")
    if scheme not in PORTS:
        return
    places = [urlsplit(f"//{place}") for place in re.split("[/;]", rest)[0].split(",")]
    for place in places:
        try:
            with socket.create_connection((place.hostname, place.port or PORTS[scheme]), timeout=10):
                return
        except (OSError, ValueError) as error:
            problem = error
    names = ", ".join(str(place.hostname) for place in places)
    raise KibanError(f"{CLUSTER}: nobody answers at {scheme}://{names}: {one_line(problem)}")


def sent(tables: Iterable[pa.Table]) -> DataFrame:
    """The rows of all tables, of one schema, as Spark has them.

    They go there once, as Arrow, and are kept on the disks of the workers. The driver keeps them too, for those that a
    worker has lost.
    """
    spark = SparkSession.active()
    frames = (spark.createDataFrame(table) for table in tables)
    return reduce(lambda one, other: one.union(other), frames).persist(StorageLevel.DISK_ONLY)


@contextmanager
def explained(where: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise KibanError, which starts with `where`, in the place of what Spark raises, or of one of `also`.

    What follows the address in KIBAN_SPARK, such as a token, is not shown.
    """
    try:
        yield
    except (*FAILED, *also) as error:
        text, secrets = str(error), os.environ.get(CLUSTER, "").partition(";")[2]
        for secret in filter(None, (secrets, *(each.partition("=")[2] for each in secrets.split(";")))):
            text = text.replace(secret, "***")
        raise KibanError(f"{where}: {one_line(text)}") from None
