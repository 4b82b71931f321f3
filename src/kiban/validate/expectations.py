"""From a contract to a suite of Great Expectations, and from the suite and the rows to findings.

Great Expectations takes seconds to import: check.py imports this module only if there is a batch to check.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import great_expectations as gx
import pandas as pd
import pyarrow as pa
from great_expectations.core import ExpectationValidationResult
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.exceptions import GreatExpectationsError
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from kiban.core.errors import KibanError, one_line
from kiban.data.batches import period
from kiban.data.contract import Column, Expectation, Table
from kiban.data.verdict import Expected, Finding, as_text

EXAMPLES = 5
AT_ONCE = 100  # expectations: of 1,000 together each takes twenty times as long
WARNING = "warning"  # Great Expectations' severity for what the contract calls warn
Config = dict[str, Any]


def suite(contract: Table, batch: str, timezone: str) -> list[Config]:
    """The expectations of a batch: for its shape, its key, its time, and each column."""
    covered = period(batch, timezone)
    configs: list[Config] = [
        _config("expect_table_columns_to_match_set", column_set=list(contract.columns), exact_match=True),
        _config("expect_table_row_count_to_be_between", min_value=1),
        _config("expect_compound_columns_to_be_unique", column_list=contract.key)
        if len(contract.key) > 1
        else _config("expect_column_values_to_be_unique", column=contract.key[0]),
    ]
    if contract.time and covered:
        start, end = (pd.Timestamp(bound).tz_convert("UTC") for bound in covered)
        limits: Config = {"min_value": start, "max_value": end, "strict_max": True}
        configs.append(_config("expect_column_values_to_be_between", column=contract.time, **limits))
    for name, column in contract.columns.items():
        configs.extend(_of_column(name, column))
    configs += [_config(extra.type, **extra.kwargs) for extra in _about(contract, batch)]
    return [config for place, config in enumerate(configs) if config not in configs[:place]]


def _about(contract: Table, batch: str) -> Iterable[Expectation]:
    """The contract's own expectations, without those about a column that the batch does not have."""
    absent = {name for name, column in contract.columns.items() if column.at(batch, name) is None}
    for extra in contract.expectations:
        named = {extra.kwargs.get(key) for key in ("column", "column_A", "column_B")} | set(
            extra.kwargs.get("column_list", [])
        )
        if not named & absent:
            yield extra


def _of_column(name: str, column: Column) -> Iterable[Config]:
    if not column.nullable:
        yield _config("expect_column_values_to_not_be_null", column=name)
    if column.min is not None or column.max is not None:
        limits = {"min_value": column.min, "max_value": column.max}
        yield _config("expect_column_values_to_be_between", column.out_of_range == "warn", column=name, **limits)
    if column.levels is not None:
        warn = column.unseen == "warn"
        yield _config("expect_column_values_to_be_in_set", warn, column=name, value_set=column.levels)


def _config(kind: str, warn: bool = False, **kwargs: Any) -> Config:
    return {"type": kind, "kwargs": kwargs, "severity": WARNING if warn else "critical"}


def expected(contract: Table, batch: str, timezone: str) -> list[Expected]:
    """The expectations of a batch."""
    return [
        Expected(
            column=config["kwargs"].get("column"),
            expectation=_in_words(config["type"], config["kwargs"], contract.time),
        )
        for config in suite(contract, batch, timezone)
    ]


def check(rows: pa.Table, contract: Table, table: str, batch: str, timezone: str) -> list[Finding]:
    """The findings of the expectations of `contract` in the rows of one batch.

    Raises KibanError if an expectation of the contract does not exist, or cannot be computed.
    """
    configs = suite(contract, batch, timezone)
    failed = _failed(rows, contract.key, f"{table} {batch}", configs, [])
    return [finding(table, batch, contract.time, configs[place], result) for place, result in failed.items()]


class Counted(NamedTuple):
    """What an expectation about rows found: the rows that do not meet it, those that were looked at, and examples.

    `shape` is the result of one about the columns, which no number of rows tells, if they do not meet it.
    """

    rows: int = 0
    considered: int = 0
    examples: tuple[Config, ...] = ()
    shape: Config | None = None

    def plus(self, other: "Counted") -> "Counted":
        """What was found in the rows of both."""
        return Counted(
            self.rows + other.rows,
            self.considered + other.considered,
            (*self.examples, *other.examples)[:EXAMPLES],
            self.shape or other.shape,
        )

    def failure(self, config: Config) -> Config | None:
        """The result, in Great Expectations' words, if fewer rows than `mostly` meet the expectation."""
        if self.shape is not None:
            return self.shape
        if not self.rows or (self.considered - self.rows) / self.considered >= config["kwargs"].get("mostly", 1):
            return None
        return {"unexpected_count": self.rows, "partial_unexpected_index_list": list(self.examples)}


def counted(rows: pa.Table, key: list[str], where: str, configs: Sequence[Config]) -> list[Counted]:
    """What each expectation about single rows finds in some rows of a batch. Raises KibanError like `check`."""
    strict = [
        {**config, "kwargs": {**config["kwargs"], "mostly": 1}} if _mostly(config) else config for config in configs
    ]
    shown = _failed(rows, key, where, strict, [place for place, config in enumerate(configs) if _mostly(config)])
    return [_counted(shown[place]) if place in shown else Counted() for place in range(len(configs))]


def _mostly(config: Config) -> bool:
    return config["kwargs"].get("mostly", 1) != 1


def _counted(result: Config) -> Counted:
    rows = result.get("unexpected_count")
    if rows is None:
        return Counted(shape=result)
    considered = result["element_count"] - result.get("missing_count", 0)
    return Counted(rows, considered, tuple((result.get("partial_unexpected_index_list") or [])[:EXAMPLES]))


@cache
def _definition() -> BatchDefinition:
    """A batch definition for data frames, in memory and without progress bars."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("batch")
    return asset.add_batch_definition_whole_dataframe("whole")


def _failed(
    rows: pa.Table, key: list[str], where: str, configs: Sequence[Config], always: Sequence[int]
) -> dict[int, Config]:
    """The results, by place, of the expectations that `rows` do not meet, and of those whose places are in `always`.

    Collecting examples costs more than checking, so only the expectations that fail are checked again with examples.
    """
    examples = {"result_format": "SUMMARY", "unexpected_index_column_names": key, "partial_unexpected_count": EXAMPLES}
    batch = _definition().get_batch(batch_parameters={"dataframe": rows.to_pandas()})

    def run(places: Sequence[int], result_format: dict[str, Any]) -> dict[int, ExpectationValidationResult]:
        results = {}
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            checks = named_suite(where, [{**configs[place], "meta": {"place": place}} for place in some])
            for result in batch.validate(checks, result_format=result_format).results:
                _check_computed(result, where)
                results[result.expectation_config.meta["place"]] = result
        return {place: results[place] for place in places}

    once = [place for place in range(len(configs)) if place not in always]
    failed = [place for place, result in run(once, {"result_format": "BOOLEAN_ONLY"}).items() if not result.success]
    return {place: result.result for place, result in run(sorted([*failed, *always]), examples).items()}


def named_suite(where: str, configs: Sequence[Config]) -> gx.ExpectationSuite:
    """A suite of all `configs`. Raises KibanError if one is not valid.

    They are not added one by one: Great Expectations would put the second of a type and a column in the place of the
    first.
    """
    expectations = []
    for config in configs:
        try:
            expectations.append(ExpectationConfiguration(**config).to_domain_obj())
        except (GreatExpectationsError, ValueError, TypeError) as error:
            kind, kwargs = config["type"], config["kwargs"]
            raise KibanError(
                f"{where}: the contract's {kind} {kwargs} is not a valid expectation: {one_line(error)}"
            ) from None
    return gx.ExpectationSuite(name=where, expectations=expectations)


def _check_computed(result: ExpectationValidationResult, where: str) -> None:
    info, config = result.exception_info, result.expectation_config
    # `info` is about the expectation itself, or has an entry for each metric that the expectation needs.
    for raised in [info] if "raised_exception" in info else info.values():
        if raised["raised_exception"]:
            message = f"{where}: the contract's {config.type} {config.kwargs} cannot be computed"
            raise KibanError(f"{message}: {one_line(raised['exception_message'])}")


def _in_words(kind: str, arguments: Config, time: str | None) -> str:
    if arguments.get("column") == time and arguments.get("strict_max"):
        return f"{kind}(the period of the batch)"
    kept = {name: value for name, value in arguments.items() if name not in ("column", "batch_id")}
    return f"{kind}({', '.join(f'{name}={as_text(value)}' for name, value in kept.items() if value is not None)})"


def finding(table: str, batch: str, time: str | None, config: Config, result: Config) -> Finding:
    """The finding that a batch does not meet an expectation, by its result in Great Expectations' words."""
    observed = result.get("observed_value")
    return Finding(
        table=table,
        batch=batch,
        column=config["kwargs"].get("column"),
        expectation=_in_words(config["type"], config["kwargs"], time),
        severity="warn" if config["severity"] == WARNING else "reject",
        rows=result.get("unexpected_count"),
        observed=None if observed is None else f"observed {as_text(observed)}",
        examples=[
            {name: as_text(value) for name, value in example.items()}
            for example in (result.get("partial_unexpected_index_list") or [])[:EXAMPLES]
        ],
    )
