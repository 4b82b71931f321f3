"""Training on what does not fit into memory: what a fit needs is said, and a sample of the rows is taken."""

from pathlib import Path

import pytest
from slice import compose_here, run_stage

from kiban.core.errors import KibanError
from kiban.core.settings import read
from kiban.data import contract, pieces, prepared
from kiban.data.split import resolved
from kiban.servable import columns
from kiban.servable.load import load
from kiban.train import rows, size
from kiban.train.__main__ import Params


def test_a_fit_that_does_not_fit_is_refused_with_the_share_that_does(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIBAN_MEMORY", "20MB")
    with pytest.raises(KibanError, match=r"train needs about 0\.0\d+ GB for 1\d,\d{3} rows") as refused:
        run_stage("train")
    share = float(str(refused.value).partition("(sample: ")[2].partition(")")[0])
    compose_here(f"sample={share}")
    run_stage("train")
    assert load().manifest.parameters["sample"] == share


def test_a_sample_has_the_same_rows_whatever_the_pieces_are(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, hashes = read(Params), prepared.accepted()
    split, table = resolved(params.split, hashes), contract.prepared_of("flights")
    every, _ = rows.read("flights", table, split, hashes, None)
    some, _ = rows.read("flights", table, split, hashes, 0.3)
    assert some.table.num_rows == pytest.approx(0.3 * every.table.num_rows, rel=0.1)
    monkeypatch.setattr(pieces, "LARGE", 500)
    again, _ = rows.read("flights", table, split, hashes, 0.3)
    assert again.table.combine_chunks().equals(some.table.combine_chunks())
    less, _ = rows.read("flights", table, split, hashes, 0.1)
    assert not set(map(str, less.table.select(table.key).to_pylist())) - set(
        map(str, some.table.select(table.key).to_pylist())
    )


@pytest.mark.parametrize(
    ("memory", "sample", "share"), [("19MB", None, "0.1"), ("20MB", None, "0.2"), ("10MB", 0.5, "0.05")]
)
def test_the_share_that_is_named_fits(
    project: Path, monkeypatch: pytest.MonkeyPatch, memory: str, sample: float | None, share: str
) -> None:
    """90 MB are needed, and 90 % of the memory may be used."""
    table = contract.prepared_of("flights")
    inputs, params = len(columns.inputs(table.features())), read(Params)
    repeated = 1 + params.missing.share * len(params.missing.among(table).groups)
    rows_needed = round(90_000_000 / (inputs * repeated * size.BYTES))
    monkeypatch.setenv("KIBAN_MEMORY", memory)
    with pytest.raises(KibanError, match=rf"\(sample: {share}\)"):
        size.check(rows_needed, table, params.missing, sample)
