"""manifest.json: the files of a servable, and the data and parameters it was made from. Its hash is the model's id."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kiban.core.errors import KibanError
from kiban.core.files import sha256

FILE = "manifest.json"
CONTRACT = "contract.yaml"
FORMAT = 2
"""The format of a servable that this release writes. It reads all formats up to this one. Format 1 has no number."""

MODEL_FILES = {"onnx": "model.onnx", "skops": "model.skops"}


class Parity(BaseModel):
    """How far the exported model agrees with scikit-learn on the validation rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    largest_difference: float
    labels_flipped: int


class Manifest(BaseModel):
    """The manifest. `files` has the SHA-256 of each file, `prepared` that of each batch of training and validation.

    `parameters` are the settings of the stage train. `example` has the features of a typical training row, to show a
    caller and to try the model with. `files` may name files that this release does not know; it does not load them.
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
    """The id of the model whose manifest has these bytes: their SHA-256 in hex. Its first 12 digits serve as a name."""
    return hashlib.sha256(content).hexdigest()


def read_checked(folder: Path) -> tuple[Manifest, str]:
    """The manifest of a servable and the model's id, after every file of the folder has been checked against it.

    Raises KibanError if the manifest is not valid, or if a file is missing, altered, unreadable or not in the manifest.
    """
    try:
        return _read_checked(folder)
    except OSError as error:
        raise KibanError(f"{error.filename} cannot be read by this account: {error.strerror}") from None


def _read_checked(folder: Path) -> tuple[Manifest, str]:
    path = folder / FILE
    try:
        content = path.read_bytes()
        described = json.loads(content)
        if described.get("format_version", 1) > FORMAT:
            raise KibanError(
                f"{path} has format {described['format_version']}, but this release reads formats 1 to {FORMAT}: "
                "use a later release of Kiban"
            )
        manifest = Manifest.model_validate(described, strict=True)
    except FileNotFoundError:
        raise KibanError(f"{folder} holds no servable ({FILE} is missing): run `dvc repro` or `dvc pull`") from None
    except (ValueError, AttributeError, TypeError):  # a ValidationError is a ValueError
        raise KibanError(f"{path} is not the manifest of a servable: {RESTORE}") from None
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    # Hidden files do not belong to the servable: volumes and archives add some.
    present = {file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts)} - {FILE}
    for name in sorted(present ^ set(manifest.files)):
        raise KibanError(f"{folder / name} is {'not in the manifest' if name in present else 'missing'}: {RESTORE}")
    for name in sorted({CONTRACT, MODEL_FILES[manifest.format]} - set(manifest.files)):
        raise KibanError(f"{path} does not name {name}: {RESTORE}")
    for name, digest in manifest.files.items():
        if sha256(folder / name) != digest:
            raise KibanError(f"{folder / name} differs from the file that the manifest names: {RESTORE}")
    return manifest, model_id(content)


RESTORE = "delete the folder, then restore it with `dvc checkout` or `dvc repro`"
