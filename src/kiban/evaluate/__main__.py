"""Stage evaluate: measures the servable, loaded from its files, on the batches of training, validation and test."""

import json
from collections.abc import Mapping

import numpy as np
from rich.progress import track

from kiban.core.errors import KibanError
from kiban.core.paths import METRICS, PREDICTIONS
from kiban.core.settings import Sections, read
from kiban.core.versions import run_stage
from kiban.data import parquet, prepared
from kiban.data.missing import Missing
from kiban.data.split import SPLITS, Resolved, Split, SplitName, resolved
from kiban.evaluate.measure import (
    Part,
    compared_between_versions,
    joined,
    judged,
    measured_batches,
    predictions_of,
    scored,
    terms_of,
    write_plots,
)
from kiban.evaluate.metrics import summary
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.servable import columns
from kiban.servable.columns import Columns
from kiban.servable.evaluation import BatchFigures, Evaluation, Figures
from kiban.servable.load import Servable, load
from kiban.tasks.metric import Terms


class Params(Sections):
    split: Split
    missing: Missing
    evaluation: EvaluationSettings
    gate: Gate


def main() -> None:
    params = read(Params)
    servable = load()
    hashes = prepared.accepted()
    split = resolved(params.split, hashes)
    parts = _parts(servable, split, hashes)
    of_split = {name: joined(name, [part for (each, _), part in parts.items() if each == name]) for name in SPLITS}
    if servable.task.name == "binary" and len(np.unique(of_split["test"].target)) < 2:
        raise KibanError(
            f"params.yaml: split.test: all its rows have the same {servable.contract.target()}: take more rows"
        )
    terms = terms_of(servable, of_split["train"])
    test = columns.from_arrow(of_split["test"].rows, servable.contract.features())
    evaluation = _evaluation(servable, params, parts, of_split, test, terms)
    evaluation.write()
    METRICS.write_text(json.dumps(compared_between_versions(servable.task, evaluation.splits), indent=1) + "\n")
    parquet.write(predictions_of(servable, of_split, params.gate.cluster), PREDICTIONS)
    write_plots(servable, test, of_split["test"].scored(terms), evaluation.by_batch, params.evaluation)
    shown = servable.task.metrics[servable.task.compared[0]]
    figure = evaluation.test[shown.name]
    print(f"evaluate: model {servable.model_id[:12]}, test {shown.label} {figure}, gate {evaluation.gate.in_words()}")


def _parts(servable: Servable, split: Resolved, hashes: Mapping[str, str]) -> dict[tuple[SplitName, str], Part]:
    """The scored rows by split and batch."""
    parts: dict[tuple[SplitName, str], Part] = {}
    for batch in track(measured_batches(servable, split, hashes), description="evaluate", transient=True):
        of_batch = prepared.read(servable.manifest.dataset, {batch: hashes[batch]})
        for name, rows in split.parts(batch, of_batch, servable.contract.key).items():
            if rows.num_rows:
                parts[name, batch] = scored(servable, rows)
    return parts


def _evaluation(
    servable: Servable,
    params: Params,
    parts: Mapping[tuple[SplitName, str], Part],
    of_split: Mapping[SplitName, Part],
    test: Columns,
    terms: Terms,
) -> Evaluation:
    """The figures of the servable. `test` has the inputs of the test rows."""
    task, features = servable.task, servable.contract.features()
    baseline = np.asarray(terms.baseline)
    results = {name: summary(task, part.scored(terms)) for name, part in of_split.items()}

    def without(patterns: list[str]) -> Figures:
        scores = servable.score(columns.without(test, features, patterns))
        return summary(task, of_split["test"]._replace(scores=scores).scored(terms))

    return Evaluation(
        model_id=servable.model_id,
        train=results["train"],
        validation=results["validation"],
        test=results["test"],
        baseline=baseline.tolist(),
        threshold=terms.threshold,
        prior={name: summary(task, part.answered(baseline, terms)) for name, part in of_split.items()},
        without={name: without(patterns) for name, patterns in params.missing.among(servable.contract).groups.items()},
        gate=judged(params.gate, task, results),
        by_batch={  # of a batch with rows of several splits, the last of them: the test rows
            batch: BatchFigures.model_validate({"split": name, **summary(task, part.scored(terms))})
            for (name, batch), part in parts.items()
        },
    )


if __name__ == "__main__":
    run_stage(main)
