"""The OpenAPI document against the running service: thousands of requests that it allows, and that it does not."""

import re
from pathlib import Path

import pytest
from clones import run
from servers import serving
from slice import ROOT

CONFIGURATION = ROOT / "tests/e2e/schemathesis"


@pytest.mark.parametrize(("examples", "least"), [(50, 200), pytest.param(900, 2000, marks=pytest.mark.long)])
def test_every_answer_is_one_that_the_document_tells_of(
    served: Path, tmp_path: Path, examples: int, least: int
) -> None:
    """All checks: no 5xx, no other status, header, type or shape; what is valid is answered, what is not refused.

    At most `examples` of an operation that takes a body, at least `least` of all.
    """
    with serving(served, "bentoml", "serve") as client:
        command = ["st", "--config-file", str(CONFIGURATION / "schemathesis.toml"), "run"]
        command += [f"{client.base_url}/openapi.json", "--seed", "1", "-n", str(examples), "--no-color"]
        output = run(tmp_path, *command, PYTHONPATH=str(CONFIGURATION))
    generated = re.search(r"([\d,]+) generated, ([\d,]+) passed", output)
    assert generated, output
    assert generated[1] == generated[2]
    assert int(generated[1].replace(",", "")) >= least
    assert "Operations:       9 selected / 9 total" in output
