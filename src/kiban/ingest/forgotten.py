"""data/NAME.forgotten.yaml: rows that must not come back although their source still has them.

A row is named by the HMAC of its key, so that nobody reads from git who it was. The secret is in the environment.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.core.settings import parse
from kiban.data.key_texts import key_texts

SECRET = "KIBAN_ERASE_SECRET"  # noqa: S105  the name of a variable
LEAST_SECRET = 16  # characters
PROOF = "kiban"
"""A text whose HMAC tells another secret from the one that the file was written with."""

HEADER = '# The keys of rows that no ingest takes, as HMAC: docs/data.md, "What must be forgotten". Do not edit.\n'


class Forgotten(BaseModel):
    """The rows of a table whose values of `columns` have one of the HMACs `keys`. `proof` is that of PROOF."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: list[str]
    proof: str
    keys: list[str]


ByTable = dict[str, list[Forgotten]]


def path_of(dataset: str) -> Path:
    return Path("data") / f"{dataset}.forgotten.yaml"


def read(dataset: str) -> ByTable:
    """The rows to be forgotten by table; none without a file. Raises KibanError if it cannot be read."""
    path = path_of(dataset)
    if not path.exists():
        return {}
    return parse(path.read_bytes(), TypeAdapter(ByTable), str(path), "restore it with `git checkout`")


def secret() -> bytes | None:
    """The secret in the environment, or None. Raises KibanError if it is too short."""
    text = os.environ.get(SECRET)
    if text is not None and len(text) < LEAST_SECRET:
        raise KibanError(f"{SECRET} is too short: give {LEAST_SECRET} characters or more, which nobody can guess")
    return text.encode() if text else None


def hashed(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def check(dataset: str, key: bytes) -> None:
    """Raise KibanError if rows were forgotten with another secret: one is needed for all."""
    if any(each.proof != hashed(PROOF, key) for known in read(dataset).values() for each in known):
        raise KibanError(f"{SECRET} is another one than that of {path_of(dataset)}: use that one")


def add(dataset: str, tables: Iterable[str], columns: list[str], texts: Iterable[str], key: bytes) -> None:
    """Forget the rows of tables whose values of the columns are among `texts`, with those that are forgotten."""
    known = read(dataset)
    digests = {hashed(text, key) for text in texts}
    for table in tables:
        others = [each for each in known.get(table, []) if each.columns != columns]
        before = {digest for each in known.get(table, []) if each.columns == columns for digest in each.keys}
        every = Forgotten(columns=columns, proof=hashed(PROOF, key), keys=sorted(before | digests))
        known[table] = [*others, every]
    content = TypeAdapter(ByTable).dump_python(known)
    files.write(path_of(dataset), (HEADER + yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False)).encode())


def without(rows: pa.Table, forgotten: Sequence[Forgotten]) -> pa.Table:
    """The rows but for those to be forgotten.

    Raises KibanError if some are to be forgotten, and the environment lacks the secret or has another one.
    """
    for each in forgotten:
        key = secret()
        if key is None or hashed(PROOF, key) != each.proof:
            what = "is not set" if key is None else "is another one than that of the file"
            raise KibanError(f"{SECRET} {what}: without it the rows that were erased would come back")
        gone = set(each.keys)
        if set(each.columns) <= set(rows.column_names):
            texts = key_texts(rows, each.columns)
            rows = rows.filter(pa.array([hashed(text, key) not in gone for text in texts], pa.bool_()))
    return rows
