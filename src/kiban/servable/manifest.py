"""manifest.json: the files of a servable, and the data and parameters it was made from. Its hash is the model's id."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kiban.core.errors import KibanError
from kiban.core.files import sha256
from kiban.servable.calibration import Isotonic, Sigmoid

FILE = "manifest.json"
CONTRACT = "contract.yaml"
FORMAT = 3
"""The format of a servable that this release writes. It reads all formats up to this one. Format 1 has no number."""

NEVER = 1.0000000000000002
"""The threshold that no probability reaches: the least number above 1."""

MODEL_FILES = {"onnx": "model.onnx", "skops": "model.skops"}


class Parity(BaseModel):
    """How far the exported model agrees with scikit-learn on the validation rows, and on rows with nulls in them.

    The difference is that of probabilities, or of numbers in units of `scale`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    largest_difference: float
    labels_flipped: int


class Manifest(BaseModel):
    """The manifest. `files` has the SHA-256 of each file, `prepared` that of each batch of training and validation.

    `parameters` are the settings of the stage train. `example` has the features of a typical training row, to show a
    caller and to try the model with. `files` may name files that this release does not know; it does not load them.

    `threshold` is of a binary model: the least probability that is labelled true. `classes` are of a multiclass model:
    the levels whose probabilities its file gives, in order. A regression's file gives (y - offset) / scale, and a
    number lies within `interval` of its prediction as often as params.yaml asks; None if validation has too few rows.
    `calibration` turns the probabilities of the file into those that are answered: one, or one for each of `classes`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = 1
    dataset: str
    format: Literal["onnx", "skops"]
    threshold: Annotated[float, Field(ge=0, le=NEVER)] | None
    classes: list[str] | None = None
    offset: float = 0.0
    scale: float = 1.0
    interval: float | None = None
    calibration: list[Annotated[Sigmoid | Isotonic, Field(discriminator="kind")] | None] | None = None
    parity: Parity | None
    parameters: dict[str, Any]
    example: dict[str, str | int | float | bool | None]
    prepared: dict[str, str]
    files: dict[str, str]


def model_id(content: bytes) -> str:
    """The id of the model whose manifest has these bytes: their SHA-256 in hex. Its first 12 digits serve as a name."""
    return hashlib.sha256(content).hexdigest()


def files_in(content: bytes, where: str) -> list[str]:
    """The names of the files beside a manifest with these bytes.

    Raises KibanError, which starts with `where`, if it is none, or if a name leads out of the folder.
    """
    try:
        names = list(Manifest.model_validate_json(content, strict=True).files)
    except ValidationError:
        raise KibanError(f"{where} is not the manifest of a servable") from None
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise KibanError(f"{where} names {name!r}, which is outside of its folder")
    return names


class Checked(NamedTuple):
    """A servable whose every file is the one that its manifest names; `contents` are those of the contract and the
    model, as they were when they were checked.
    """

    manifest: Manifest
    model_id: str
    contents: dict[str, bytes]


def read_checked(folder: Path) -> Checked:
    """The servable in a folder, each file of which is read once.

    Raises KibanError if the manifest is not valid, or if a file is missing, altered, unreadable or not in the manifest.
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
            raise KibanError(f"{folder / name} differs from the file that the manifest names: {RESTORE}")
    return Checked(manifest, model_id(content), contents)


RESTORE = "delete the folder, then restore it with `dvc checkout` or `dvc repro`"
