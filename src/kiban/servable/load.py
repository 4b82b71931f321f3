"""Loading a servable from its folder. No code of the folder is executed; an ONNX model needs no scikit-learn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kiban.core import paths
from kiban.core.errors import KibanError, one_line
from kiban.data import contract
from kiban.data.contract import Column, Table
from kiban.servable import manifest
from kiban.servable.calibration import calibrated
from kiban.servable.columns import Columns, frame
from kiban.servable.columns import inputs as inputs_of
from kiban.servable.manifest import Manifest
from kiban.tasks.metric import Scores, Target
from kiban.tasks.task import Name, Task, task_of

INPUT = "f{}"
"""The name of an input of an ONNX model, with its number: ONNX allows fewer names than a table."""


@dataclass(frozen=True)
class Servable:
    """A loaded servable. `score` takes the columns of the inputs, n values each.

    It gives the probability of true of each row (binary), of shape (n,); the probabilities of the target's levels
    (multiclass), of shape (n, levels); or the number (regression), of shape (n,).
    """

    model_id: str
    manifest: Manifest
    contract: Table
    score: Callable[[Columns], Scores]

    @property
    def target(self) -> Column:
        return self.contract.columns[self.contract.target()]

    @property
    def task(self) -> Task:
        return task_of(self.target)

    def labels(self, scores: Scores) -> Target:
        """For each score of a binary model, whether it is at or above the decision threshold."""
        return scores >= np.float64(self.manifest.threshold or 0)


def load(folder: Path = paths.SERVABLE) -> Servable:
    """The servable in `folder`; KibanError if any byte of it is not what its manifest says, or it cannot be loaded."""
    described, model_id, contents = manifest.read_checked(folder)
    name = manifest.MODEL_FILES[described.format]
    table = contract.parse_prepared(contents[manifest.CONTRACT], str(folder / manifest.CONTRACT))
    target = table.columns[table.target()]
    if described.format == "onnx":
        numbered = described.format_version >= 3
        ours = enumerate(inputs_of(table.features()))
        names = {INPUT.format(number) if numbered else name: name for number, name in ours}
        answers = onnx_answers(contents[name], str(folder / name), names, task_of(target).name)
    else:
        answers = _skops_answers(contents[name], str(folder / name), task_of(target).name)
    return Servable(model_id, described, table, scores_of(answers, described, target))


def scores_of(answers: Callable[[Columns], Scores], described: Manifest, target: Column) -> Callable[[Columns], Scores]:
    """What a servable gives, from the answers of its file, as its manifest says."""
    if task_of(target).name == "regression":
        return lambda columns: described.offset + described.scale * answers(columns)
    calibrations = described.calibration
    if calibrations is not None and len(calibrations) != len(described.classes or ["true"]):
        raise KibanError(f"the manifest has {len(calibrations)} calibrations, not one for each class")
    if described.classes is None:
        return lambda columns: calibrated(answers(columns), calibrations)
    levels = target.levels or []
    places = [levels.index(name) for name in described.classes]
    return lambda columns: of_all_levels(calibrated(answers(columns), calibrations), places, len(levels))


def of_all_levels(answers: Scores, places: Sequence[int], levels: int) -> Scores:
    """The probabilities of all levels, of shape (n, levels), from those of the levels at `places`: others have none."""
    if list(places) == list(range(levels)):
        return answers
    scores = np.zeros((len(answers), levels))
    scores[:, places] = answers
    return scores


def answers_of(model: Any, columns: Columns, task: Name) -> Scores:
    """What a fitted pipeline gives: probabilities of true (n,), of its k classes (n, k), or numbers (n,)."""
    rows = frame(columns)
    if task == "regression":
        return np.asarray(model.predict(rows), dtype=np.float64)
    probabilities = np.asarray(model.predict_proba(rows), dtype=np.float64)
    return probabilities[:, 1] if task == "binary" else probabilities


def onnx_answers(content: bytes, where: str, inputs: Mapping[str, str], task: Name) -> Callable[[Columns], Scores]:
    """Like `answers_of`, of an ONNX model. `inputs` has our name of an input by that of ONNX.

    Raises KibanError, which calls the content `where`, if it is no such model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a request is small: splitting it between threads costs more than it saves
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        reason = one_line(error)
        raise KibanError(f"{where} is not an ONNX model ({reason}): {manifest.RESTORE}") from None
    names = [(item.name, inputs[item.name]) for item in session.get_inputs()]
    output = session.get_outputs()[0 if task == "regression" else 1].name

    def answers(columns: Columns) -> Scores:
        feed = {name: columns[each].reshape(-1, 1) for name, each in names}
        (values,) = session.run([output], feed)
        if task == "multiclass":
            return np.asarray(values, dtype=np.float64)
        return np.asarray(values[:, 1 if task == "binary" else 0], dtype=np.float64)

    return answers


def _skops_answers(content: bytes, where: str, task: Name) -> Callable[[Columns], Scores]:
    try:
        import pandas  # noqa: F401  `frame` needs it: without it the load must fail, not the first request

        from kiban.servable import skops_file
    except ImportError as error:
        raise KibanError(
            f"{where} is served by scikit-learn, and {error.name} is not installed here: add scikit-learn, pandas and "
            "skops to the group serve of pyproject.toml, then `make lock`"
        ) from None

    model = skops_file.loads(content, where)
    return lambda columns: answers_of(model, columns, task)
