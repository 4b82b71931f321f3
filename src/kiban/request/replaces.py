"""Whether a model can take the place of another one: it must answer every request that the other one answers."""

from collections.abc import Iterator, Mapping

from kiban.data.contract import Column
from kiban.servable.load import Servable


def problems(old: Servable, new: Servable) -> list[str]:
    """Why requests that `old` answers would be refused by `new`, or would be answered about something else."""
    sides = [_question(each) for each in (old, new)]
    other = [] if sides[0] == sides[1] else [f"it predicts {sides[1][0]} of {sides[1][1]} ({new.task.title})"]
    before, after = old.contract.keys(), new.contract.keys()
    types = [
        f"the key {name} is of type {after[name].type}, not {before[name].type}"
        for name in before
        if name in after and after[name].type != before[name].type
    ]
    return [*other, *narrowed(old.contract.features(), new.contract.features()), *types]


def _question(servable: Servable) -> tuple[object, ...]:
    """What a model answers about."""
    column, task = servable.target, servable.task
    levels = column.levels if task.name == "multiclass" else None
    return servable.contract.target(), servable.manifest.dataset, task.name, column.unit, column.positive, levels


def narrowed(old: Mapping[str, Column], new: Mapping[str, Column]) -> Iterator[str]:
    """The reasons why `new` would refuse, or read differently, a record that `old` accepts."""
    for name in old.keys() - new.keys():
        yield f"it has no field {name}"
    if old.keys() <= new.keys() and list(old) != list(new)[: len(old)]:
        yield "it has its fields in another order, on which CSV without a header depends"
    for name, column in new.items():
        before = old.get(name)
        if not column.nullable and (before is None or before.nullable):
            yield f"it requires {name}"
        if before is None:
            continue
        if (before.type, column.type) != ("integer", "number") and before.type != column.type:
            yield f"{name} is of type {column.type}, not {before.type}"
        if before.unit != column.unit:
            yield f"{name} has the unit {column.unit}, not {before.unit}"
        if column.levels is not None and column.unseen == "reject":
            accepted = None if before.unseen == "warn" else before.levels
            if accepted is None or not set(accepted) <= set(column.levels):
                yield f"{name} has fewer levels"
        if column.out_of_range == "reject":
            low, high = (before.min, before.max) if before.out_of_range == "reject" else (None, None)
            too_high = column.min is not None and (low is None or low < column.min)
            if too_high or (column.max is not None and (high is None or high > column.max)):
                yield f"{name} has a smaller range"
