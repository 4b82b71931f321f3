"""The OpenAPI document against the running service: thousands of requests that it allows, and that it does not."""

import re
from pathlib import Path

from clones import run
from servers import serving
from slice import ROOT

CONFIGURATION = ROOT / "tests/e2e/schemathesis"
EXAMPLES = 900  # at most, of an operation that takes a body


def test_every_answer_is_one_that_the_document_tells_of(served: Path, tmp_path: Path) -> None:
    """All checks: no 5xx, no other status, header, type or shape; what is valid is answered, what is not refused."""
    with serving(served, "bentoml", "serve") as client:
        command = ["st", "--config-file", str(CONFIGURATION / "schemathesis.toml"), "run"]
        command += [f"{client.base_url}/openapi.json", "--seed", "1", "-n", str(EXAMPLES), "--no-color"]
        output = run(tmp_path, *command, PYTHONPATH=str(CONFIGURATION))
    generated = re.search(r"([\d,]+) generated, ([\d,]+) passed", output)
    assert generated, output
    assert generated[1] == generated[2]
    assert int(generated[1].replace(",", "")) >= 2000
    assert "Operations:       9 selected / 9 total" in output
