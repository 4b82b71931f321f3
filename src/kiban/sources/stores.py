"""File systems, on this machine or in an S3 store, and their errors as KibanError."""

from collections.abc import Callable
from typing import TypeVar

import fsspec
from fsspec.spec import AbstractFileSystem

from kiban.core.errors import KibanError, one_line
from kiban.core.store import advice

S3 = "s3://"
# Timeouts in seconds: without them a request to a store that does not answer takes minutes to fail.
S3_CONFIG = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}

T = TypeVar("T")


def system(path: str, endpoint_url: str | None = None) -> AbstractFileSystem:
    """The file system of a path. `endpoint_url` is the URL of an S3 store other than the one of the environment."""
    if not path.startswith(S3):
        return fsspec.filesystem("file")
    return fsspec.filesystem("s3", endpoint_url=endpoint_url, config_kwargs=S3_CONFIG, skip_instance_cache=True)


def reached(path: str, ask: Callable[[], T], participle: str = "read") -> T:
    """The result of `ask`, a request to the file system.

    Raises KibanError with advice if the request fails: `path` cannot be read, or another `participle`.
    """
    try:
        return ask()
    except Exception as error:  # the clients of stores have no common type of error
        raise KibanError(f"{path} cannot be {participle}: {one_line(error)}; {advice(error)}") from None
