"""What the two releases before wrote is still read: a report compares with it, and a merge goes back to it.

A release adds a folder here, and removes the one of three releases before.
"""

import pytest
from slice import ROOT

from kiban.ingest.ledger import parse_ledger
from kiban.servable.evaluation import Evaluation

RELEASES = sorted(path.name for path in (ROOT / "tests/review/formats").iterdir())


@pytest.mark.parametrize("release", RELEASES)
def test_the_files_of_a_release_are_read(release: str) -> None:
    folder = ROOT / "tests/review/formats" / release
    evaluation = Evaluation.model_validate_json((folder / "evaluation.json").read_bytes())
    assert len(evaluation.model_id) == 64
    assert set(evaluation.splits) == {"train", "validation", "test"}
    ledger = parse_ledger((folder / "flights.batches.yaml").read_bytes(), "the ledger")
    assert len(ledger["flights"]) == 12
