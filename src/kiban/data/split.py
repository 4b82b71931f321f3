"""The section `split`: the batches for training, for choosing between models (validation), and for testing."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from kiban.core.settings import Settings

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


BatchName = Annotated[str, Field(pattern=r"^\d{4}(-\d{2}){0,2}$")]


class Period(Settings):
    """The batches from `first` to `last`, both included."""

    first: BatchName
    last: BatchName


class Split(Settings):
    """Three periods in order of time, without overlap, so that no model is measured on rows that it was trained on."""

    train: Period
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = [name for split in SPLITS for name in (getattr(self, split).first, getattr(self, split).last)]
        later_starts = all(names[i] < names[i + 1] for i in (1, 3))
        if names != sorted(names) or not later_starts:
            raise ValueError("train, validation and test must follow one another without overlap")
        return self

    def of(self, batch: str) -> SplitName | None:
        """The split that `batch` belongs to, or None."""
        for split in SPLITS:
            period: Period = getattr(self, split)
            if period.first <= batch <= period.last:
                return split
        return None
