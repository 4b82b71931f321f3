"""Stage evaluate: measures the servable, loaded from its files, on the batches of training, validation and test."""

import json

import numpy as np
from rich.progress import track

from kiban.core.errors import KibanError, exit_on_error
from kiban.core.paths import METRICS, PREDICTIONS
from kiban.core.settings import Sections, read
from kiban.data import parquet, prepared
from kiban.data.missing import Missing
from kiban.data.split import SPLITS, Split, SplitName, resolved
from kiban.evaluate import metrics
from kiban.evaluate.measure import (
    Part,
    compared_between_versions,
    joined,
    judged,
    measured_batches,
    predictions_of,
    write_plots,
)
from kiban.evaluate.settings import EvaluationSettings, Gate
from kiban.servable import columns
from kiban.servable.evaluation import BatchFigures, Evaluation, Figures
from kiban.servable.load import load
from kiban.tasks.metric import Scored, Scores, Target


class Params(Sections):
    split: Split
    missing: Missing
    evaluation: EvaluationSettings
    gate: Gate


def main() -> None:
    params = read(Params)
    servable = load()
    task, features, target_name = servable.task, servable.contract.features(), servable.contract.target()
    hashes = prepared.accepted()
    split_of_batches = resolved(params.split, hashes)
    batches = measured_batches(servable, split_of_batches, hashes)
    parts: dict[tuple[SplitName, str], Part] = {}
    for batch in track(batches, description="evaluate", transient=True):
        of_batch = prepared.read(servable.manifest.dataset, {batch: hashes[batch]})
        for split, rows in split_of_batches.parts(batch, of_batch, servable.contract.key).items():
            if rows.num_rows:
                scores = servable.score(columns.from_arrow(rows, features))
                target = columns.target_from_arrow(rows[target_name], servable.target)
                parts[split, batch] = Part(rows, target, scores)
    of_split = {split: joined(split, [part for (name, _), part in parts.items() if name == split]) for split in SPLITS}
    if task.name == "binary" and len(set(of_split["test"].target.tolist())) < 2:
        raise KibanError(f"params.yaml: split.test: all its rows have the same {target_name}: take more rows")
    baseline = task.baseline(of_split["train"].target, len(servable.target.levels or []))

    cost = servable.manifest.parameters.get("decision", {}).get("cost")
    decided = metrics.Decided(servable.manifest.threshold, cost, servable.manifest.interval)

    def measured(target: Target, scores: Scores) -> Figures:
        return metrics.summary(task, Scored(target, scores, baseline), decided)

    test = columns.from_arrow(of_split["test"].rows, features)
    results = {split: measured(part.target, part.scores) for split, part in of_split.items()}
    evaluation = Evaluation(
        model_id=servable.model_id,
        train=results["train"],
        validation=results["validation"],
        test=results["test"],
        baseline=baseline.tolist(),
        prior={
            split: measured(part.target, np.broadcast_to(baseline, part.scores.shape))
            for split, part in of_split.items()
        },
        without={
            name: measured(of_split["test"].target, servable.score(columns.without(test, features, patterns)))
            for name, patterns in params.missing.among(servable.contract).groups.items()
        },
        gate=judged(params.gate, task, results),
        by_batch={  # of a batch with rows of several splits, the last of them: the test rows
            batch: BatchFigures.model_validate({"split": split, **measured(part.target, part.scores)})
            for (split, batch), part in parts.items()
        },
    )
    evaluation.write()
    METRICS.write_text(json.dumps(compared_between_versions(task, results), indent=1) + "\n")
    parquet.write(predictions_of(servable, of_split, params.gate.cluster), PREDICTIONS)
    tested = Scored(of_split["test"].target, of_split["test"].scores, baseline)
    write_plots(servable, test, tested, evaluation.by_batch, params.evaluation)
    shown = task.metrics[task.compared[0]]
    figure = results["test"][shown.name]
    print(f"evaluate: model {servable.model_id[:12]}, test {shown.label} {figure}, gate {evaluation.gate.in_words()}")


if __name__ == "__main__":
    exit_on_error(main)
