from slice import ROOT

from kiban.config.__main__ import Params
from kiban.core.settings import read


def test_batches_fall_into_their_split() -> None:
    split = read(Params, ROOT / "params.yaml").split
    months = [split.of(f"2013-{month:02d}") for month in range(1, 13)]
    assert months == ["train"] * 9 + ["validation"] + ["test"] * 2
    assert split.of("2014-01") is None
