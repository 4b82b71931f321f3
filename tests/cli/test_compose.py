import re
import shutil
from pathlib import Path

import pytest
from slice import ROOT

from kiban import cli
from kiban.cli.compose import compose
from kiban.config.composition import composed
from kiban.core.errors import KibanError
from kiban.core.settings import load


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


@pytest.mark.parametrize(
    "override", ["model=logitic", "model=null", "model.C", "mdoel.C=1", "model.C=${oc.env:NO_SUCH_VARIABLE}"]
)
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


def adopt(*overrides: str, name: str = "winner") -> str:
    """Compose with overrides, as an experiment does, adopt that, and return the overlay."""
    Path("params.yaml").write_bytes(composed(Path(), list(overrides)))
    compose.main(["--adopt", name], standalone_mode=False)
    return Path(f"conf/experiment/{name}.yaml").read_text()


ADOPTED = [
    ["model=logistic", "model.C=0.03", "decision.threshold=0.3"],
    ["decision.threshold=null", "decision.cost={false_positive: 1.0, false_negative: 5.0}"],
    ["experiment=all_known", "+missing.groups.weather=[weather_*]"],
]
ALSO_ADOPTED = [
    ["model.learning_rate=0.1"],
    ["model=logistic"],
    [f"model.{key}=77" for key in ("max_iter", "max_leaf_nodes", "min_samples_leaf", "l2_regularization")],
    ["model=dummy", "missing.share=0.2", "split.train.first=2013-04"],
    ["experiment=large_trees", "model.max_iter=300"],
    ["experiment=regularized_logistic", "+model.tol=0.001"],
]


@pytest.mark.parametrize(
    "overrides", [*ADOPTED, *(pytest.param(each, marks=pytest.mark.long) for each in ALSO_ADOPTED)]
)
def test_what_is_adopted_is_the_composition_from_then_on(folder: Path, overrides: list[str]) -> None:
    wanted = {**load(composed(Path(), overrides)), "applies_to": {"dataset": "flights", "task": None}}
    adopt(*overrides)
    assert load(Path("params.yaml").read_bytes()) == wanted
    assert Path("params.yaml").read_bytes() == composed(Path(), [])
    assert load(composed(Path(), ["experiment=winner"])) == wanted


def test_an_overlay_names_the_group_and_then_the_differences_only(folder: Path) -> None:
    text = adopt("model=logistic", "model.C=0.03")
    assert text.startswith("# @package _global_\n# Adopted from an experiment; say here why it won.\n")
    applies = ["applies_to:", "  dataset: flights"]
    assert text.splitlines()[2:] == ["defaults:", "  - override /model: logistic", *applies, "model:", "  C: 0.03"]
    assert "  - experiment: winner # " in Path("conf/config.yaml").read_text()


def test_the_next_winner_takes_the_place_of_the_last(folder: Path) -> None:
    adopt("model.learning_rate=0.1")
    adopt("model.max_iter=50", name="next")
    assert load(Path("params.yaml").read_bytes())["model"]["learning_rate"] == 0.1
    adopt("experiment=none", "model=logistic", name="third")
    assert (
        load(Path("params.yaml").read_bytes())["model"]
        == load(composed(Path(), ["model=logistic", "experiment=none"]))["model"]
    )


@pytest.mark.parametrize(
    ("overrides", "name", "said"),
    [
        ([], "winner", "there is nothing to adopt"),
        (["model.C=1", "model=logistic"], "large_trees", "conf/experiment/large_trees.yaml exists already"),
        (["model=logistic"], "../x", "cannot name an overlay"),
        (["model=logistic"], "on", "cannot name an overlay"),
        (["model=logistic"], "0x1", "cannot name an overlay"),
        (["model=logistic"], "", "cannot name an overlay"),
        (["~model.l2_regularization"], "winner", "params.yaml lacks model.l2_regularization, which conf/ has"),
    ],
)
def test_what_cannot_be_adopted_is_said_and_changes_nothing(
    folder: Path, overrides: list[str], name: str, said: str
) -> None:
    before = {path: path.read_bytes() for path in Path("conf").rglob("*.yaml")}
    with pytest.raises(KibanError, match=re.escape(said)):
        adopt(*overrides, name=name)
    assert {path: path.read_bytes() for path in Path("conf").rglob("*.yaml")} == before
    assert load(Path("params.yaml").read_bytes()) == load(composed(Path(), overrides))


@pytest.mark.parametrize(("content", "said"), [("", "holds no settings"), ("a: [", "is not YAML"), ("- a", "holds no")])
def test_a_broken_params_file_is_not_adopted(folder: Path, content: str, said: str) -> None:
    Path("params.yaml").write_text(content)
    with pytest.raises(KibanError, match=said):
        compose.main(["--adopt", "winner"], standalone_mode=False)
    assert Path("params.yaml").read_text() == content


def test_where_no_overlay_is_named_by_default_nothing_is_written(folder: Path) -> None:
    config = Path("conf/config.yaml")
    config.write_text(config.read_text().replace("  - experiment: none", "  # no experiment"))
    Path("params.yaml").write_bytes(composed(Path(), ["model=logistic"]))
    with pytest.raises(KibanError, match="there is no line `- experiment: …`"):
        compose.main(["--adopt", "winner"], standalone_mode=False)
    assert not Path("conf/experiment/winner.yaml").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("serving.workers=two", "serving.workers: Input should be a valid integer, not 'two'; correct the override"),
        ("gate.nothing=1", "nothing"),
        ("model.max_iter=abc", "The 'max_iter' parameter of HistGradientBoostingClassifier must be an int"),
        ("model.learning_rat=1", "learning_rat"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_and_params_yaml_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    assert kiban(monkeypatch, "compose") == 0
    before = Path("params.yaml").read_bytes()
    assert kiban(monkeypatch, "compose", override) == 1
    assert message in capsys.readouterr().err
    assert Path("params.yaml").read_bytes() == before
