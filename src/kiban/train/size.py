"""How much memory a fit needs, said before it begins."""

from kiban.core import memory
from kiban.core.errors import KibanError
from kiban.data.contract import Table
from kiban.data.missing import Missing
from kiban.servable import columns

BYTES = 60
"""Of memory for each row and each input: benchmarks/scale.py measures it, docs/scale.md has the table."""
SHARE = 0.9
"""Of the memory that there is; the rest is that of Python and its packages."""


def check(rows: int, table: Table, missing: Missing) -> None:
    """Raise KibanError if a fit of so many rows, some repeated with what is `missing`, needs more memory than there is.

    Estimators differ: the trees of scikit-learn were measured, which convert all numbers to double precision.
    """
    repeated = 1 + missing.share * len(missing.among(table).groups)
    needed = rows * repeated * len(columns.inputs(table.features())) * BYTES
    room = SHARE * memory.available()
    if needed <= room:
        return
    share = float(f"{room / needed:.1g}")
    share = share if share * needed <= room else float(f"{0.8 * room / needed:.1g}")
    raise KibanError(
        f"train needs about {_gb(needed)} for {rows:,} rows, and there are {_gb(memory.available())}: "
        f"give a share of the rows (sample: {share:g}), with which model=xgboost_on_disk still learns from all of "
        f"them; or {memory.VARIABLE} if there is more"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.2g} GB"
