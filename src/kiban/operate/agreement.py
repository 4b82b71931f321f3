"""How far a challenger and the champion agree about what was really asked: the last requests of the prediction log.

It judges nothing: a better model answers differently. It shows how much callers will notice, and what would be refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kiban.evaluate.gate import Rule
from kiban.operate import asked
from kiban.request.predictions import ANSWERS
from kiban.request.refusal import RefusedError
from kiban.request.schema import Schema
from kiban.servable import columns
from kiban.servable.load import Servable
from kiban.tasks.metric import Scores

MOST = 1000  # records
NAME = "agreement"


def agreement(old: Servable, new: Servable, folders: Sequence[Path], spread: float | None) -> Rule:
    """The rule about the last records in the folders of the log.

    `spread` is the standard deviation of the target, for models that answer with a number.
    """
    records = asked.last_records(folders, MOST)
    if not records:
        return Rule(name=NAME, figure="no request was logged", decision="not applicable")
    features = new.contract.features().items()
    if personal := [name for name, column in features if column.personal and not column.nullable]:
        text = f"the log does not have {', '.join(personal)}, which is personal"
        return Rule(name=NAME, figure=text, decision="not applicable")
    keys = {**old.contract.keys(), **new.contract.keys()}
    schemas = [Schema(each.contract.features(), MOST, keys) for each in (old, new)]
    accepted = [record for record in records if _is_accepted(schemas[1], record)]
    refused = f"{len(records) - len(accepted):,} of the last {len(records):,} records asked would be refused"
    both = [record for record in accepted if _is_accepted(schemas[0], record)]
    if not both:
        return Rule(name=NAME, figure=refused, decision="shown")
    differs = _difference(old, _scores(old, both), new, _scores(new, both), spread)
    return Rule(name=NAME, figure=f"{refused}; {differs}", decision="shown")


def _is_accepted(schema: Schema, record: Mapping[str, Any]) -> bool:
    try:
        schema.check([record])
    except RefusedError:
        return False
    return True


def _scores(servable: Servable, records: Sequence[Mapping[str, Any]]) -> Scores:
    features = servable.contract.features()
    checked = Schema(features, MOST).check(
        [{name: each[name] for name in features if name in each} for each in records]
    )
    return servable.score(columns.from_records(checked, features))


def _difference(old: Servable, before: Scores, new: Servable, after: Scores, spread: float | None) -> str:
    if new.task.name == "regression":
        mean = float(np.abs(after - before).mean())
        return f"answers differ by {mean:.4g} in the mean" + (
            f", {mean / spread:.2f} SD of the target" if spread else ""
        )
    answers = ANSWERS[new.task.name].predictions
    pairs = zip(answers(old, before), answers(new, after), strict=True)
    return f"{np.mean([one['label'] != other['label'] for one, other in pairs]):.1%} get another label"
