"""data/erased.yaml, in git: the objects of DVC that were erased, since somebody had to be forgotten. It has no key.

An object is named by its MD5, as dvc.lock of the commits that had it still does.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.core.settings import parse

FILE = Path("data/erased.yaml")
HEADER = '# Objects of DVC that must not come back: docs/data.md, "What must be forgotten". `kiban erase` writes it.\n'


class Tombstone(BaseModel):
    """Objects that were erased on a day, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: date
    reason: str
    objects: list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]]


def read(root: Path = Path()) -> list[Tombstone]:
    """The tombstones of the project in `root`. Raises KibanError if the file cannot be read."""
    try:
        content = (root / FILE).read_bytes()
    except FileNotFoundError:
        return []
    return parse(content, TypeAdapter(list[Tombstone]), str(FILE), "restore it with `git checkout`")


def add(tombstone: Tombstone) -> None:
    """Add a tombstone, and write the file whole or not at all."""
    known = [*read(), tombstone]
    content = TypeAdapter(list[Tombstone]).dump_python(known)
    files.write(FILE, (HEADER + yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False)).encode())


def dates(tombstones: Sequence[Tombstone]) -> Mapping[str, date]:
    """When each object was erased, by its MD5."""
    return {digest: each.date for each in tombstones for digest in each.objects}


def check(digests: Collection[str], root: Path = Path()) -> None:
    """Raise KibanError if one of the objects was erased."""
    erased = dates(read(root))
    back = sorted(digest for digest in digests if digest in erased)
    if back:
        raise KibanError(
            f"{len(back)} objects were erased, such as {back[0]} on {erased[back[0]]}, and must not come back: `kiban "
            "erase` removes them here; of a commit from before then, nothing can be pushed"
        )
