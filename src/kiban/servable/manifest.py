"""manifest.json: what a servable consists of and what it was made from. Its hash is the model's id."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from kiban.core.errors import KibanError
from kiban.core.files import sha256

FILE = "manifest.json"
CONTRACT = "contract.yaml"
FORMAT = 2
"""The format of a servable that this release writes; it reads all up to this one. Format 1 names none."""

MODEL_FILES = {"onnx": "model.onnx", "skops": "model.skops"}


class Parity(BaseModel):
    """How the exported model agrees with scikit-learn on the validation rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    largest_difference: float
    labels_flipped: int


class Manifest(BaseModel):
    """`files` and `prepared` hold SHA-256 by file and by batch; `parameters` are those of the train stage.

    `example` has the features of a typical training row, to show a caller and to try the model with. Files that this
    release does not know may be there, and are not read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = 1
    dataset: str
    format: Literal["onnx", "skops"]
    threshold: Annotated[float, Field(ge=0, le=1)]
    parity: Parity | None
    parameters: dict[str, Any]
    example: dict[str, str | int | float | bool | None]
    prepared: dict[str, str]
    files: dict[str, str]


def model_id(content: bytes) -> str:
    """The id of the model whose manifest has these bytes: SHA-256 in hex. People may shorten it to 12 digits."""
    return hashlib.sha256(content).hexdigest()


class Checked(NamedTuple):
    """A servable whose every file is the one that its manifest names; `contents` are those of the contract and the
    model, as they were when they were checked.
    """

    manifest: Manifest
    model_id: str
    contents: dict[str, bytes]


def read_checked(folder: Path) -> Checked:
    """The servable in a folder, each file of which is read once.

    Raises KibanError if the manifest is not valid, or a file is missing, altered, not named in it or not readable.
    """
    try:
        return _read_checked(folder)
    except OSError as error:
        raise KibanError(f"{error.filename} cannot be read by this account: {error.strerror}") from None


def _read_checked(folder: Path) -> Checked:
    path = folder / FILE
    try:
        content = path.read_bytes()
        described = json.loads(content)
        if described.get("format_version", 1) > FORMAT:
            raise KibanError(
                f"{path} is of format {described['format_version']}, and this release reads formats 1 to {FORMAT}: "
                "take a later release of Kiban"
            )
        manifest = Manifest.model_validate(described, strict=True)
    except FileNotFoundError:
        raise KibanError(f"{folder} holds no servable ({FILE} is missing): run `dvc repro` or `dvc pull`") from None
    except (ValueError, AttributeError, TypeError):  # a ValidationError is a ValueError
        raise KibanError(f"{path} is not the manifest of a servable: {RESTORE}") from None
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    # What is hidden is not the servable's: volumes and archives leave such beside their files.
    present = {file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts)} - {FILE}
    for name in sorted(present ^ set(manifest.files)):
        raise KibanError(f"{folder / name} is {'not in the manifest' if name in present else 'missing'}: {RESTORE}")
    needed = {CONTRACT, MODEL_FILES[manifest.format]}
    for name in sorted(needed - set(manifest.files)):
        raise KibanError(f"{path} does not name {name}: {RESTORE}")
    contents = {}
    for name, digest in manifest.files.items():
        if name in needed:
            contents[name] = (folder / name).read_bytes()
            actual = hashlib.sha256(contents[name]).hexdigest()
        else:
            actual = sha256(folder / name)
        if actual != digest:
            raise KibanError(f"{folder / name} is not the file that the manifest names, its bytes differ: {RESTORE}")
    return Checked(manifest, model_id(content), contents)


RESTORE = "delete the folder, then `dvc checkout` or `dvc repro` brings it back"
