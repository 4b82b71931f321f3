"""What a person said about a table: the options of `kiban init`."""

from dataclasses import dataclass

from kiban.tasks.task import Name


@dataclass(frozen=True)
class Wishes:
    """The options. `dates` is day-first or month-first, `missing` are texts that stand for null in every column.

    `drop` are columns that are not taken at all; `keep` are features whatever is found of them.
    """

    target: str
    name: str | None = None
    time: str | None = None
    key: tuple[str, ...] = ()
    group: str | None = None
    task: Name | None = None
    positive: str | None = None
    timezone: str = "UTC"
    decimal: str | None = None
    dates: str | None = None
    missing: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    @property
    def required(self) -> set[str]:
        """The columns that must have a value in every row."""
        return {name for name in (self.time, self.group, *self.key) if name is not None}
