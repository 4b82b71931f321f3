from pathlib import Path

import pytest

from kiban import memo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_was_remembered_is_recalled_under_its_key_only() -> None:
    key = memo.key(files={"a": "1", "b": "2"}, batch="2013-01")
    assert memo.recall(key) is None
    memo.remember(key, {"rows": 3, "text": "°F"})
    assert memo.recall(key) == {"rows": 3, "text": "°F"}
    assert memo.key(batch="2013-01", files={"b": "2", "a": "1"}) == key
    assert memo.recall(memo.key(files={"a": "1", "b": "3"}, batch="2013-01")) is None


def test_a_damaged_entry_is_none_and_is_mended() -> None:
    key = memo.key(a=1)
    memo.remember(key, [1, 2])
    (path,) = memo.FOLDER.rglob("*.json")
    path.write_bytes(path.read_bytes()[:3])
    assert memo.recall(key) is None
    memo.remember(key, [1, 2])
    assert memo.recall(key) == [1, 2]


def test_code_is_its_source_and_the_versions_of_packages() -> None:
    one = memo.code(("kiban.batches",), ("pyarrow",))
    assert memo.code(("kiban.batches",), ("pyarrow",)) == one
    assert len({one, memo.code(("kiban.memo",), ("pyarrow",)), memo.code(("kiban.batches",), ("pandas",))}) == 3
