from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from slice import ROOT

from kiban.config.__main__ import Params
from kiban.core.errors import KibanError
from kiban.core.settings import changed, leaves, load, read, yaml_of


def edited(tmp_path: Path, key: str, value: Any) -> Path:
    """The committed params.yaml with one value set, or removed where it is None."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    *parents, last = key.split(".")
    node = content
    for parent in parents:
        node = node[parent]
    if value is None:
        del node[last]
    else:
        node[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


SAME_NAME = yaml.safe_load((ROOT / "params.yaml").read_bytes())["plots"]["one"]


def test_the_committed_params_are_valid() -> None:
    assert read(Params, ROOT / "params.yaml").dataset.name == "flights"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("modle", {}, "modle: unknown key"),
        ("split.tset", {}, "split.tset: unknown key"),
        ("dataset.tables.planes.source.path", "x", "dataset.tables.planes.source.path: unknown key"),
        ("gate.threshold", None, "gate.threshold: missing"),
        ("decision", None, "decision: missing"),
        ("decision.threshold", "high", "decision.threshold: Input should be a valid number, not 'high'"),
        ("decision.threshold", True, "decision.threshold: Input should be a valid number, not True"),
        ("decision.threshold", 1.5, "decision.threshold: Input should be less than 1, not 1.5"),
        ("plots.five.Late rate by month.x", None, "plots.five.Late rate by month.x: missing"),
        ("plots.one.ROC.second", "x", "plots.one.ROC.second: unknown key"),
        ("plots.one.ROC.y", {"../x.csv": "y"}, "String should match pattern"),
        ("plots.one", {}, "plots.one: Dictionary should have at least 1 item"),
        ("plots.seven", SAME_NAME, "plots: two plots have the same name"),
        ("gate.metric", "nosuch", "gate: metric must be one of roc_auc, "),
        ("engine", "spark", "engine: Input should be 'duckdb' or 'pyspark', not 'spark'"),
        ("dataset.timezone", "Mars/Olympus", "dataset.timezone: must be a time zone"),
        ("dataset.name", "../secrets", "dataset.name: String should match"),
        ("dataset.tables.planes.source._target_", "os.system", "source._target_: String should match"),
        ("split.test.first", "2013-10", "split: train, validation and test must follow one another without overlap"),
        ("split.train.last", "2012-09", "split: train, validation and test must follow one another"),
        ("tracking.time_limit", 0, "tracking.time_limit: Input should be greater than 0, not 0"),
    ],
)
def test_a_mistake_is_named_by_its_key(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(KibanError) as raised:
        read(Params, edited(tmp_path, key, value))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("a: !!bool x", "is not YAML"),
        ("a: !!timestamp x", "is not YAML"),
        ("", "the whole file"),
        (None, "is missing"),
    ],
)
def test_a_file_that_is_no_params_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KibanError, match=message):
        read(Params, path)


PLAIN = (
    st.none() | st.booleans() | st.integers() | st.text("ab$ {}:_", max_size=6).filter(lambda text: "${" not in text)
)
RESOLVED = st.sampled_from(["${oc.env:HOME}", "\\${oc.create:{_target_: os.system}}", "a ${b", "${"])


@given(
    tree=st.recursive(
        RESOLVED.map(lambda text: (text, True)) | PLAIN.map(lambda value: (value, False)),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda pairs: ([value for value, _ in pairs], any(bad for _, bad in pairs)))
            | st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
                lambda pairs: ({key: value for key, (value, _) in pairs.items()}, any(bad for _, bad in pairs.values()))
            )
            | inner.map(lambda pair: ({"${oc.env:KEY}": pair[0]}, True))
        ),
        max_leaves=8,
    )
)
def test_what_would_be_resolved_is_refused_wherever_it_stands(tree: tuple[Any, bool]) -> None:
    value, resolved = tree
    content = yaml.safe_dump({"model": value}).encode()
    if resolved:
        with pytest.raises(KibanError, match="nothing is resolved at run time"):
            load(content)
    else:
        assert load(content) == {"model": value}


def test_a_misspelt_key_is_named_before_the_one_that_it_was_to_be(tmp_path: Path) -> None:
    path = edited(tmp_path, "serving.watch_secondss", 5)
    content = yaml.safe_load(path.read_text())
    del content["serving"]["watch_seconds"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(KibanError, match=r"serving\.watch_secondss: unknown key"):
        read(Params, path)


def test_an_escape_of_yaml_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text('model: {scoring: "\\x24{oc.env:HOME}"}\n')
    with pytest.raises(KibanError, match=r"params\.yaml: model\.scoring: it contains \$\{"):
        read(Params, path)


def test_aliases_may_not_make_a_file_large(tmp_path: Path) -> None:
    path = tmp_path / "ledger.yaml"
    path.write_text("a: &a {n: 1}\n" + "".join(f"{name}: *a\n" for name in "bcdef"))
    assert yaml_of(path.read_bytes(), "x", "y")["f"] == {"n": 1}
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    with pytest.raises(KibanError, match="x: its aliases stand for more than 10,000 values; y"):
        yaml_of(bomb.encode(), "x", "y")
    with pytest.raises(KibanError, match="x: its aliases stand for more than 10,000 values; y"):
        yaml_of(b"a: &a [*a]", "x", "y")
    with pytest.raises(KibanError, match="x is not YAML"):
        yaml_of(b"[" * 100_000, "x", "y")


def test_leaves_are_named_by_their_path() -> None:
    assert leaves({"a": {"b": 1, "c": [2]}, "d": None, "e": {}}) == {"a.b": 1, "a.c": [2], "d": None, "e": {}}


def test_settings_are_compared_key_by_key() -> None:
    before = {"model": {"C": 1, "_target_": "a"}, "same": [1], "conf_digest": "x"}
    after = {"model": {"_target_": "b", "n": None}, "same": [1], "conf_digest": "y"}
    assert changed(before, after) == {"model.C": (1, None), "model._target_": ("a", "b"), "model.n": (None, None)}
