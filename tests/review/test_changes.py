from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from kiban.data.contract import Column, Table, Type
from kiban.review import changes
from kiban.review.revision import Batch

KEY = ["id"]
TYPES: dict[str, Type] = {"id": "integer", "name": "string", "value": "number"}


def table(*rows: tuple[int | None, str | None, float | None]) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.int64()),
            "name": pa.array([row[1] for row in rows], pa.string()),
            "value": pa.array([row[2] for row in rows], pa.float64()),
        }
    )


OLD = table((1, "a", 0.5), (2, "b", None), (3, "c", 1.5), (4, "d", 2.5))


def test_rows_are_added_removed_and_changed_by_key() -> None:
    new = table((4, "d", 2.5), (3, "x", None), (2, "b", 7.0), (9, "z", 1.0))
    found = changes.by_rows(OLD, new, KEY)
    assert (found.added, found.removed, found.changed) == (1, 1, 2)
    assert found.added_keys == [{"id": 9}]
    assert found.removed_keys == [{"id": 1}]
    assert [(of.key["id"], of.values) for of in found.differences] == [
        (2, {"value": (None, 7.0)}),
        (3, {"name": ("c", "x"), "value": (1.5, None)}),
    ]


def test_the_same_rows_in_another_order_do_not_differ() -> None:
    found = changes.by_rows(OLD, OLD.take([3, 1, 0, 2]), KEY)
    assert (found.added, found.removed, found.changed, found.differences) == (0, 0, 0, [])


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        (table((1, "a", 1.0), (1, "a", 1.0)), table((1, "a", 1.0)), (0, 1, 0)),
        (table((1, "a", 1.0)), table((1, "a", 1.0), (1, "b", 1.0)), (1, 0, 0)),
        (table((1, "a", 1.0), (1, "b", 2.0)), table((1, "a", 1.0), (1, "b", 3.0)), (0, 0, 1)),
    ],
)
def test_a_key_that_occurs_twice_is_counted_twice(old: pa.Table, new: pa.Table, counts: tuple[int, int, int]) -> None:
    found = changes.by_rows(old, new, KEY)
    assert (found.added, found.removed, found.changed) == counts


def test_many_changes_show_a_few() -> None:
    new = table(*((number, "new", None) for number in range(1, 100)))
    found = changes.by_rows(OLD, new, KEY)
    assert (found.added, found.changed) == (95, 4)
    assert [key["id"] for key in found.added_keys] == [5, 6, 7, 8, 9]


def test_a_column_is_summarised_by_its_type() -> None:
    columns = {
        "id": Column(type="integer", description=""),
        "name": Column(type="string", description=""),
        "value": Column(type="number", description=""),
    }
    found = changes.summarize(table((1, "a", 0.5), (2, "a", None), (3, None, None), (4, "b", None)), columns)
    assert found["id"].model_dump(exclude_defaults=True) == {"null_share": 0.0, "mean": 2.5}
    assert found["name"].model_dump(exclude_defaults=True) == {"null_share": 0.25, "levels": {"a": 0.5, "b": 0.25}}
    assert found["value"].model_dump(exclude_defaults=True) == {"null_share": 0.75, "mean": 0.5}
    assert changes.summarize(table((1, None, None)), columns)["value"].mean is None


def version(**batches: pa.Table) -> Any:
    """A version of a repository that has these batches of the table `things`."""
    columns = {name: Column(type=kind, description="") for name, kind in TYPES.items()}
    return SimpleNamespace(
        batches={"things": {name: Batch(rows.num_rows, str(id(rows)), Path(name)) for name, rows in batches.items()}},
        contracts={"things": Table(description="", key=["id"], columns=columns)},
        rows=lambda batch: batches[batch.path.name],
    )


def test_columns_that_moved_are_ranked_by_effect() -> None:
    before, after = table(*((i, "a", float(i)) for i in range(20))), table(*((i, "b", i + 2.0) for i in range(20)))
    moved = changes.between(version(first=before), version(first=after))["things"].moved
    assert list(moved) == ["name", "value"]
    assert moved["name"].effect == 1.0
    assert 0.1 < moved["value"].effect < 0.3


def test_a_new_batch_is_compared_with_the_earlier_ones() -> None:
    first, second = table((1, "a", 1.0), (2, "a", 2.0)), table((3, "b", 1.0), (4, "b", 2.0))
    change = changes.between(version(first=first), version(first=first, second=second))["things"]
    assert change.added == ["second"]
    assert change.moved["name"].after.levels == {"b": 1.0}
    assert change.moved["name"].effect == 1.0
    assert "value" not in change.moved
