"""How much memory a fit needs, said before it begins."""

from math import floor, log10

from kiban.core import memory
from kiban.core.errors import KibanError
from kiban.data.contract import Table
from kiban.data.missing import Missing
from kiban.servable import columns
from kiban.train.settings import Sample

BYTES = 60
"""Of memory for each row and each input: 1.64 kB for a row of the flights, with 24 inputs and a fifth repeated."""
SHARE = 0.9
"""Of the memory that there is; the rest is that of Python and its packages."""


def check(rows: int, table: Table, missing: Missing, sample: Sample, fits: int = 1) -> None:
    """Raise KibanError if so many fits at once need more memory than there is: each of so many rows, which are a
    `sample` of all, and of which some are repeated with what is `missing`.

    Estimators differ: the trees of scikit-learn were measured, which convert all numbers to double precision.
    """
    repeated = 1 + missing.share * len(missing.among(table).groups)
    needed = fits * rows * repeated * len(columns.inputs(table.features())) * BYTES
    room = SHARE * memory.available()
    if needed <= room:
        return
    most = (sample or 1) * room / needed
    digit = 10 ** floor(log10(most))
    share = floor(most / digit) * digit
    what = "train needs" if fits == 1 else f"{fits} trials at once need"
    further = "" if fits > 1 else ", with which model=xgboost_on_disk still learns from all of them"
    raise KibanError(
        f"{what} about {_gb(needed)} for {rows:,} rows, and there are {_gb(memory.available())}: "
        f"give a share of the rows (sample: {share:g}){further}; or {memory.VARIABLE} if there is more"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.2g} GB"
