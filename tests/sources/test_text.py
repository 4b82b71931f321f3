"""CSV as sources read it; that it is Python's strict reader is in tests/score/test_read.py."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from kiban.core.errors import KibanError, exit_on_error
from kiban.sources.by_glob import Files

def main():
    raise KibanError(str(Files("a.csv").read("static", None).column_names))

exit_on_error(main)
"""


@pytest.mark.long
def test_a_refused_file_ends_with_its_own_status(tmp_path: Path) -> None:
    """Arrow's streaming reader left a thread behind, by which one process in eight was aborted as it ended."""
    (tmp_path / "a.csv").write_text("id, country\n1,x\n")
    codes = [
        subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True).returncode for _ in range(40)
    ]
    assert codes == [1] * 40
