"""The section `split`: the rows for training, for choosing between models (validation), and for testing.

They are split by time, as a model is used that knows the past and is asked about the future, in periods that are named
or that are counted from the newest batch; or, where a table has no time, by the hash of a row, so that a row never
changes sides when others are added.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from kiban.core.errors import KibanError
from kiban.core.settings import TAGGED, Settings
from kiban.data.batches import Period as BatchPeriod
from kiban.data.batches import base
from kiban.data.batches import period as period_of
from kiban.data.contract import ROW_HASH

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


BatchName = Annotated[str, Field(pattern=r"^\d{4}(-\d{2}){0,2}$")]


class Period(Settings):
    """The batches from `first` to `last`, both included."""

    first: BatchName
    last: BatchName


class Newest(Settings):
    """Numbers of batches, counted from the newest."""

    validation: Annotated[int, Field(gt=0)]
    test: Annotated[int, Field(gt=0)]


class ByTime(Settings):
    """Three periods in order of time, without overlap, so that no model is measured on rows that it was trained on.

    A batch counts once its end lies `matures` days before that of the newest one: its truth is still being corrected
    until then.
    """

    train: Period
    validation: Period
    test: Period
    matures: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = [name for split in SPLITS for name in (getattr(self, split).first, getattr(self, split).last)]
        later_starts = all(names[i] < names[i + 1] for i in (1, 3))
        if names != sorted(names) or not later_starts:
            raise ValueError("train, validation and test must follow one another without overlap")
        return self

    def resolve(self, batches: Collection[str]) -> Self:
        """The split of the batches that are mature. Raises KibanError if none of them tests."""
        if not self.matures:
            return self
        last = max((base(batch) for batch in mature(batches, self.matures)), default="")
        if last < self.test.first:
            raise KibanError(f"params.yaml: split.matures: no batch of the test period is {self.matures} days old yet")
        test = self.test.model_copy(update={"last": min(last, self.test.last)})
        return self.model_copy(update={"test": test, "matures": 0})

    def of(self, batch: str) -> list[SplitName]:
        """The split that `batch` belongs to, if any."""
        name = base(batch)
        return [split for split in SPLITS if getattr(self, split).first <= name <= getattr(self, split).last]

    def parts(self, batch: str, rows: "pa.Table", key: Sequence[str]) -> "dict[SplitName, pa.Table]":
        """The rows of a batch by split: all of them are in the one of the batch, if any."""
        return dict.fromkeys(self.of(batch), rows)


class ByNewest(Settings):
    """The newest `test` batches test, the `validation` batches before them validate, and all earlier ones train.

    `resolve` makes it a split by time, as soon as the batches are known. `matures` is as of a split by time.
    """

    newest: Newest
    matures: Annotated[int, Field(ge=0)] = 0

    def resolve(self, batches: Collection[str]) -> ByTime:
        """The split of these batches. Raises KibanError if there are too few, or if some have no period."""
        names = sorted({base(batch) for batch in mature(batches, self.matures)})
        last_train, last_validation = (
            len(names) - self.newest.test - self.newest.validation - 1,
            len(names) - self.newest.test - 1,
        )
        if last_train < 0:
            needed = self.newest.validation + self.newest.test + 1
            raise KibanError(f"params.yaml: split.newest: it needs {needed} batches, and there are {len(names)}")
        try:
            return ByTime(
                train=Period(first=names[0], last=names[last_train]),
                validation=Period(first=names[last_train + 1], last=names[last_validation]),
                test=Period(first=names[last_validation + 1], last=names[-1]),
            )
        except ValueError:
            raise KibanError("params.yaml: split.newest: it needs batches that are named after their time") from None


class ByRow(Settings):
    """The shares of the rows for `validation` and `test`; all others train.

    Rows with the same values of the columns `by` are in the same split; of the table's key if there are none.
    """

    by: list[str]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    validation: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test must leave rows to train")
        return self

    def of(self, batch: str) -> list[SplitName]:
        """The splits that `batch` has rows of."""
        return list(SPLITS)

    def parts(self, batch: str, rows: "pa.Table", key: Sequence[str]) -> "dict[SplitName, pa.Table]":
        """The rows of a batch by split. Raises KibanError if it has no column that `by` names."""
        import pyarrow as pa

        places = place(rows, self.by or key, self.seed)
        starts = (0.0, 1 - self.validation - self.test, 1 - self.test)
        limits = zip(SPLITS, starts, (*starts[1:], 1.0), strict=True)
        return {split: rows.filter(pa.array((places >= low) & (places < high))) for split, low, high in limits}


def place(rows: "pa.Table", by: Sequence[str], seed: int) -> "npt.NDArray[np.float64]":
    """A number from 0 to 1 for each row, of shape (rows,), by the hash of its values in the columns `by`.

    Raises KibanError if there is no such column.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from kiban.data.row_hash import without_number

    for name in by:
        if name not in rows.column_names:
            raise KibanError(f"params.yaml: split.by: the prepared table has no column {name!r}")
    texts = pc.binary_join_element_wise(
        *(without_number(rows[name]) if name == ROW_HASH else rows[name].cast(pa.string()) for name in by),
        "\x1f",
        null_handling="replace",
        null_replacement="\x00",
    )
    encoded = texts.combine_chunks().dictionary_encode()
    salt = seed.to_bytes(8, "big")
    distinct = (text.encode() for text in encoded.dictionary.to_pylist())
    digests = (hashlib.blake2b(text, digest_size=8, key=salt).digest() for text in distinct)
    numbers = np.array([(int.from_bytes(digest, "big") >> 11) / 2**53 for digest in digests])  # always below 1
    return numbers[encoded.indices.to_numpy()] if rows.num_rows else np.array([])


def _kind(section: Any) -> str:
    for name, kind, key in (("by_row", ByRow, "by"), ("by_newest", ByNewest, "newest")):
        if isinstance(section, kind) or (isinstance(section, dict) and key in section):
            return TAGGED + name
    return TAGGED + "by_time"


Split = Annotated[
    Annotated[ByTime, Tag(TAGGED + "by_time")]
    | Annotated[ByRow, Tag(TAGGED + "by_row")]
    | Annotated[ByNewest, Tag(TAGGED + "by_newest")],
    Discriminator(_kind),
]
"""One of the three. ByRow has the key `by`, ByNewest the key `newest`."""

Resolved = ByTime | ByRow
"""A split that tells of each batch alone where its rows belong."""


def parse(section: Any, batches: Collection[str]) -> Resolved:
    """The split of these batches by a section of params.yaml.

    Raises pydantic's ValidationError if it is none, and KibanError like `resolve`.
    """
    split: ByTime | ByRow | ByNewest = TypeAdapter[Any](Split).validate_python(section, strict=True)
    return resolved(split, batches)


def resolved(split: ByTime | ByRow | ByNewest, batches: Collection[str]) -> Resolved:
    """The split of these batches. Raises KibanError if there are too few."""
    return split if isinstance(split, ByRow) else split.resolve(batches)


def mature(batches: Collection[str], days: int) -> list[str]:
    """The batches whose end lies `days` before that of the newest one, or earlier.

    A batch that is named after no time is mature.
    """
    ends = {batch: period[1] for batch in batches if (period := _period(batch))}
    last = max(ends.values(), default=None)
    return [batch for batch in batches if last is None or batch not in ends or last - ends[batch] >= timedelta(days)]


def _period(batch: str) -> BatchPeriod | None:
    """The time that a batch covers, in any time zone: whole days are counted."""
    try:
        return period_of(batch, "UTC")
    except KibanError:  # a name that `resolve` refuses
        return None


def batches_of(split: Resolved, names: Collection[str]) -> Mapping[SplitName, list[str]]:
    """The batches among `names` that have rows of each split, sorted."""
    return {each: [name for name in sorted(names) if each in split.of(name)] for each in SPLITS}
