import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT
from e2e.conftest import run

from kiban.cli import commands
from kiban.errors import KibanError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def repository(project: Path) -> Path:
    """The evaluated project as a DVC repository."""
    shutil.copy(ROOT / "dvc.yaml", project)
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    run(project, "git", "init", "-q")
    return project


def test_every_plot_of_the_graph_becomes_a_picture(repository: Path) -> None:
    result = CliRunner().invoke(commands, ["plots", "pictures"], catch_exceptions=False)
    files = [Path(line) for line in result.output.splitlines()]
    assert [path.stem for path in files] == [
        "roc",
        "precision-and-recall",
        "calibration",
        "auc-by-month",
        "late-rate-by-month",
        "permutation-importance",
    ]
    assert all(path.read_bytes().startswith(PNG) and path.stat().st_size > 10_000 for path in files)


def test_nothing_to_draw_and_a_broken_graph_are_said(repository: Path) -> None:
    shutil.rmtree("reports/plots")
    with pytest.raises(KibanError, match="nothing to draw yet: run `dvc repro`"):
        CliRunner().invoke(commands, ["plots", "pictures"], catch_exceptions=False)
    Path("dvc.yaml").write_text("stages: [")
    with pytest.raises(KibanError, match="dvc plots show failed"):
        CliRunner().invoke(commands, ["plots", "pictures"], catch_exceptions=False)
