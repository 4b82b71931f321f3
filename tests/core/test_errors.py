import subprocess
import sys
from pathlib import Path


def test_a_stage_that_fails_says_one_line_and_exits_1(project: Path) -> None:
    Path("params.yaml").write_text("dataset: {}\n")
    done = subprocess.run([sys.executable, "-m", "kiban.ingest"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: dataset.name: missing")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
