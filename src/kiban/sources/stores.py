"""File systems, on this machine or in a store, and their errors as KibanError."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import fsspec
from fsspec.spec import AbstractFileSystem

from kiban.core import files
from kiban.core.errors import KibanError, one_line
from kiban.core.store import advice

S3 = "s3://"
EXTRAS = {
    **dict.fromkeys(("gs", "gcs"), "gs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "azure"),
    **dict.fromkeys(("ssh", "sftp"), "ssh"),
}
"""The extra of kiban that reads the addresses of a scheme; S3 needs none."""
# Timeouts in seconds: without them a request to a store that does not answer takes minutes to fail.
S3_CONFIG = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}

T = TypeVar("T")


def is_address(path: str) -> bool:
    """Whether a path is the address of a file in a store, such as s3://BUCKET/PATH, and not of one on this machine."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and (scheme == "s3" or scheme in EXTRAS)


def system(path: str, endpoint_url: str | None = None) -> AbstractFileSystem:
    """The file system of a path. `endpoint_url` is the URL of an S3 store other than the one of the environment.

    Raises KibanError if the package that reads such an address is not installed, or if it cannot be reached.
    """
    if not is_address(path):
        return fsspec.filesystem("file")
    if path.startswith(S3):
        return fsspec.filesystem("s3", endpoint_url=endpoint_url, config_kwargs=S3_CONFIG, skip_instance_cache=True)
    extra = EXTRAS[path.partition("://")[0]]
    try:
        found: AbstractFileSystem = fsspec.core.url_to_fs(path)[0]
    except ImportError:
        raise KibanError(f"{path} cannot be opened yet: `make STORE={extra}` installs what does") from None
    except Exception as error:  # the clients of stores have no common type of error
        raise KibanError(f"{path} cannot be opened: {one_line(error)}; {advice(error)}") from None
    return found


def within(path: str, system: AbstractFileSystem) -> str:
    """A path as its file system lists it: without the scheme, and for ssh without the host."""
    stripped: str = system._strip_protocol(path) if is_address(path) else path
    return stripped


def names(folder: str) -> list[str]:
    """The names in a folder, in order; none if there is no such folder. Raises an exception of the store."""
    store = system(folder)
    try:
        return sorted(path.rstrip("/").rpartition("/")[2] for path in store.ls(within(folder, store), detail=False))
    except FileNotFoundError:
        return []


def contents(paths: Sequence[str]) -> list[bytes]:
    """The bytes of files in one store, asked for together where it can. Raises an exception of the store."""
    store = system(paths[0])
    inside = [within(path, store) for path in paths]
    read = store.cat(inside) if is_address(paths[0]) else {path: store.cat_file(path) for path in inside}
    return [read[path] for path in inside]


def write(path: str, content: bytes) -> None:
    """Write a file, whole or not at all, and the folders that it is in. Raises an exception of the store."""
    if not is_address(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write(Path(path), content)
        return
    store = system(path)
    target = within(path, store)
    if path.startswith(("ssh://", "sftp://")):  # the others show nothing of a file before it is whole
        store.makedirs(target.rpartition("/")[0], exist_ok=True)
        store.pipe_file(f"{target}.part", content)
        store.mv(f"{target}.part", target)
        return
    store.pipe_file(target, content)


def reached(path: str, ask: Callable[[], T], participle: str = "read") -> T:
    """The result of `ask`, a request to the file system.

    Raises KibanError with advice if the request fails: `path` cannot be read, or another `participle`.
    """
    try:
        return ask()
    except KibanError:
        raise
    except Exception as error:  # the clients of stores have no common type of error
        raise KibanError(f"{path} cannot be {participle}: {one_line(error)}; {advice(error)}") from None


def streamed(path: str, parts: Iterator[T]) -> Iterator[T]:
    """What is read from a file, as it is asked for. Raises KibanError like `reached`."""
    end = object()
    while (part := reached(path, lambda: next(parts, end))) is not end:
        yield part  # type: ignore[misc]
