"""Stage evaluate: measures the servable, loaded from its files, on the batches of training, validation and test."""

import json
from collections.abc import Mapping

import numpy as np

from kiban.core.errors import KibanError
from kiban.core.paths import METRICS, PREDICTIONS
from kiban.core.settings import Sections, read
from kiban.core.versions import run_stage
from kiban.data import prepared
from kiban.data.missing import Missing
from kiban.data.settings import Identity
from kiban.data.split import SPLITS, Split, SplitName, resolved
from kiban.evaluate.clusters import Numbers
from kiban.evaluate.measure import (
    Part,
    Parts,
    compared_between_versions,
    intervals,
    joined,
    judged,
    parts_of,
    sample,
    terms_of,
    write_plots,
    write_predictions,
)
from kiban.evaluate.metrics import summary
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.servable.evaluation import BatchFigures, Evaluation
from kiban.servable.load import Servable, load
from kiban.tasks.metric import Terms


class Params(Sections):
    dataset: Identity
    split: Split
    missing: Missing
    evaluation: EvaluationSettings
    gate: Gate


def main() -> None:
    params = read(Params)
    servable = load()
    hashes = prepared.accepted()
    split = resolved(params.split, hashes)
    groups = params.missing.among(servable.contract).groups
    numbers = Numbers(params.gate.cluster, servable.contract.time, params.dataset.timezone)
    parts = parts_of(servable, split, hashes, groups, numbers)
    of_split = {name: joined([part for (each, _), part in parts.items() if each == name]) for name in SPLITS}
    if servable.task.name == "binary" and len(np.unique(of_split["test"].target)) < 2:
        raise KibanError(
            f"params.yaml: split.test: all its rows have the same {servable.contract.target()}: take more rows"
        )
    terms = terms_of(servable, of_split["train"])
    evaluation = _evaluation(servable, params, parts, of_split, terms)
    evaluation.write()
    METRICS.write_text(json.dumps(compared_between_versions(servable.task, evaluation.splits), indent=1) + "\n")
    write_predictions(servable, split, hashes, parts, params.gate.cluster, PREDICTIONS)
    test = of_split["test"].scored(terms)
    drawn = sample(servable, split, hashes, test, params.evaluation.importance)
    write_plots(servable, test, drawn, evaluation.by_batch)
    shown = servable.task.metrics[servable.task.compared[0]]
    figure = evaluation.test[shown.name]
    print(f"evaluate: model {servable.model_id[:12]}, test {shown.label} {figure}, gate {evaluation.gate.in_words()}")


def _evaluation(
    servable: Servable, params: Params, parts: Parts, of_split: Mapping[SplitName, Part], terms: Terms
) -> Evaluation:
    """The figures of the servable."""
    task, test = servable.task, of_split["test"]
    baseline = np.asarray(terms.baseline)
    results = {name: summary(task, part.scored(terms)) for name, part in of_split.items()}

    return Evaluation(
        model_id=servable.model_id,
        train=results["train"],
        validation=results["validation"],
        test=results["test"],
        baseline=baseline.tolist(),
        threshold=terms.threshold,
        prior={name: summary(task, part.answered(baseline, terms)) for name, part in of_split.items()},
        without={
            name: summary(task, test._replace(scores=scores).scored(terms)) for name, scores in test.without.items()
        },
        gate=judged(params.gate, task, results),
        by_batch={  # of a batch with rows of several splits, the last of them: the test rows
            batch: BatchFigures.model_validate({"split": name, **summary(task, part.scored(terms))})
            for (name, batch), part in parts.items()
        },
        intervals=intervals(task, of_split, parts, terms),
    )


if __name__ == "__main__":
    run_stage(main)
