import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from kiban import cli
from kiban.cli.compose import composed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kiban(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit status of `kiban arguments`."""
    monkeypatch.setattr("sys.argv", ["kiban", *arguments])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    return int(raised.value.code or 0)


def test_check_is_0_only_for_the_composition(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kiban(monkeypatch, "compose", "--check") == 1
    assert kiban(monkeypatch, "compose") == 0
    assert kiban(monkeypatch, "compose", "--check") == 0
    assert kiban(monkeypatch, "compose", "model=logistic") == 0
    assert kiban(monkeypatch, "compose", "--check") == 1
    assert kiban(monkeypatch, "compose", "--check", "model=logistic") == 0


def test_the_committed_params_are_the_composition() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert composed(ROOT, []) == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize("override", ["model=logitic", "model.C", "mdoel.C=1", "model.C=${oc.env:NO_SUCH_VARIABLE}"])
def test_what_does_not_compose_is_one_line_and_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], override: str
) -> None:
    assert kiban(monkeypatch, "compose") == 0
    before = Path("params.yaml").read_bytes()
    assert kiban(monkeypatch, "compose", override) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert Path("params.yaml").read_bytes() == before
