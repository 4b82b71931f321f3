"""Arithmetic of features in whole numbers, which every engine computes alike, in whatever order it adds them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.types as ir


def mean(total: "ir.NumericValue", count: "ir.IntegerValue", decimals: int = 2) -> "ir.NumericValue":
    """The mean of whole numbers, from their sum and their number, with so many decimals; null if there are none.

    It is rounded half away from zero. A mean of floats depends on the order in which they are added, and engines round
    a tie in floating point differently: DuckDB gives 12.22 for 12.225, and Spark 12.23.
    """
    scale, number = 10**decimals, count.nullif(0)
    return total.sign() * ((2 * scale * total.abs() + number) // (2 * number)) / scale
