"""Loading a servable from its folder. No code of the folder is executed; an ONNX model needs no scikit-learn."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kiban.core import paths
from kiban.core.errors import KibanError, one_line
from kiban.data import contract
from kiban.data.contract import Table
from kiban.servable import manifest
from kiban.servable.columns import Columns, frame
from kiban.servable.manifest import Manifest
from kiban.tasks.metric import Scores, Target


@dataclass(frozen=True)
class Servable:
    """A loaded servable. `score` takes the columns of the contract's features, n values each, and gives the
    probability of the target for each row: shape (n,)."""

    model_id: str
    manifest: Manifest
    contract: Table
    score: Callable[[Columns], Scores]

    def labels(self, scores: Scores) -> Target:
        """For each score, whether it is at or above the decision threshold."""
        labels: Target = scores >= self.manifest.threshold
        return labels


def load(folder: Path = paths.SERVABLE) -> Servable:
    """The servable in `folder`; KibanError if any byte of it is not what its manifest says, or it cannot be loaded."""
    described, model_id, contents = manifest.read_checked(folder)
    name = manifest.MODEL_FILES[described.format]
    scorer = onnx_scorer if described.format == "onnx" else _skops_scorer
    score = scorer(contents[name], str(folder / name))
    table = contract.parse_prepared(contents[manifest.CONTRACT], str(folder / manifest.CONTRACT))
    return Servable(model_id, described, table, score)


def onnx_scorer(content: bytes, where: str) -> Callable[[Columns], Scores]:
    """The scoring function of an ONNX model; KibanError, which calls it `where`, if the content is none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a request is small: splitting it between threads costs more than it saves
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        reason = one_line(error)
        raise KibanError(f"{where} is not an ONNX model ({reason}): {manifest.RESTORE}") from None
    names = [item.name for item in session.get_inputs()]
    output = session.get_outputs()[1].name

    def score(columns: Columns) -> Scores:
        feed = {name: columns[name].reshape(-1, 1) for name in names}
        (probabilities,) = session.run([output], feed)
        return np.asarray(probabilities[:, 1], dtype=np.float64)

    return score


def _skops_scorer(content: bytes, where: str) -> Callable[[Columns], Scores]:
    try:
        import pandas  # noqa: F401  `frame` needs it: without it the load must fail, not the first request

        from kiban.servable import skops_file
    except ImportError as error:
        raise KibanError(
            f"{where} is served by scikit-learn, and {error.name} is not installed here: add scikit-learn, pandas and "
            "skops to the group serve of pyproject.toml, then `make lock`"
        ) from None

    model = skops_file.loads(content, where)

    def score(columns: Columns) -> Scores:
        return np.asarray(model.predict_proba(frame(columns))[:, 1], dtype=np.float64)

    return score
