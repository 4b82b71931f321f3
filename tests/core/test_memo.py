from pathlib import Path

import grimp
import pytest
from pydantic import BaseModel

from kiban.core import memo, paths
from kiban.prepare import __main__ as prepare
from kiban.validate import check


class Value(BaseModel):
    rows: int
    text: str


VALUE = Value(rows=3, text="°F")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_was_remembered_is_recalled_under_its_key_only() -> None:
    key = memo.key(files={"a": "1", "b": "2"}, batch="2013-01")
    assert memo.recall(key, Value) is None
    memo.remember(key, VALUE)
    assert memo.recall(key, Value) == VALUE
    assert memo.key(batch="2013-01", files={"b": "2", "a": "1"}) == key
    assert memo.recall(memo.key(files={"a": "1", "b": "3"}, batch="2013-01"), Value) is None


@pytest.mark.parametrize("content", ["", '{"ro', "[1]", '{"rows": "many", "text": ""}'])
def test_a_damaged_entry_is_none_and_is_mended(content: str) -> None:
    key = memo.key(a=1)
    memo.remember(key, VALUE)
    (path,) = paths.CACHE.rglob("*.json")
    path.write_text(content)
    assert memo.recall(key, Value) is None
    memo.remember(key, VALUE)
    assert memo.recall(key, Value) == VALUE


@pytest.mark.parametrize("roots", [check.CODE, (*prepare.CODE, "kiban.features.flights"), ("kiban.cli.data",)])
def test_the_code_that_a_result_rests_on_is_all_that_is_imported(roots: tuple[str, ...]) -> None:
    graph = grimp.build_graph("kiban", cache_dir=None)
    expected = set(roots).union(*(graph.find_upstream_modules(root) for root in roots))
    rooms = {name for name in graph.modules if name.count(".") < 2}  # their __init__ is a docstring
    assert memo.closure(roots) == expected - rooms


def test_code_is_its_source_and_the_versions_of_packages() -> None:
    one = memo.code(("kiban.data.batches",), ("pyarrow",))
    assert memo.code(("kiban.data.batches",), ("pyarrow",)) == one
    assert (
        len({one, memo.code(("kiban.core.memo",), ("pyarrow",)), memo.code(("kiban.data.batches",), ("pandas",))}) == 3
    )
