import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from slice import PICTURES

from kiban.cli import commands
from kiban.core.errors import KibanError

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_plot_of_the_graph_becomes_a_picture(repository: Path) -> None:
    result = CliRunner().invoke(commands, ["plots", "pictures"], catch_exceptions=False)
    files = [Path(line) for line in result.output.splitlines()]
    assert [path.stem for path in files] == PICTURES
    assert all(path.read_bytes().startswith(PNG) and path.stat().st_size > 10_000 for path in files)


def test_nothing_to_draw_and_a_broken_graph_are_said(repository: Path) -> None:
    shutil.rmtree("reports/plots")
    with pytest.raises(KibanError, match="nothing to draw yet: run `dvc repro`"):
        CliRunner().invoke(commands, ["plots", "pictures"], catch_exceptions=False)
    Path("dvc.yaml").write_text("stages: [")
    with pytest.raises(KibanError, match="dvc plots show failed"):
        CliRunner().invoke(commands, ["plots", "pictures"], catch_exceptions=False)
