from pathlib import Path

import pytest
from slice import compose_here, run_stage

from kiban.core.errors import KibanError


def test_an_edit_under_conf_that_was_not_composed_stops(project: Path) -> None:
    run_stage("config")
    stamp = Path("reports/config.stamp").read_bytes()
    edited = Path("conf/model/logistic.yaml")
    edited.write_text(edited.read_text().replace("C: 0.1", "C: 0.2"))
    with pytest.raises(KibanError, match="conf/ was edited .* run `kiban compose`"):
        run_stage("config")
    compose_here()
    run_stage("config")
    assert Path("reports/config.stamp").read_bytes() == stamp


def test_an_unknown_key_stops(project: Path) -> None:
    with Path("params.yaml").open("a") as file:
        file.write("learning_rate: 0.1\n")
    with pytest.raises(KibanError, match=r"params.yaml: learning_rate: unknown key"):
        run_stage("config")


def test_an_edit_by_hand_is_told_but_not_in_an_experiment(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose_here("model.max_iter=7")
    run_stage("config")
    told = "warning: params.yaml differs from conf/ in evaluation.importance.rows, model.max_iter"
    assert told in capsys.readouterr().err
    monkeypatch.setenv("DVC_EXP_NAME", "try")
    run_stage("config")
    assert capsys.readouterr().err == ""
