"""What the worktree of a cycle has of the clone that git does not know."""

from pathlib import Path

import pytest

from kiban.core.errors import KibanError
from kiban.operate import tree


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone, and the working directory is a worktree of it, which has what git knows."""
    for name in ("clone/data", "clone/incoming", "clone/data/feed", "worktree/data"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/contract.yaml", "data/rows-2012-07.csv", "data/rows-2012-08.csv", "data/feed/2012-07.csv"):
        (tmp_path / "clone" / name).write_text("theirs")
    (tmp_path / "worktree/data/contract.yaml").write_text("ours")
    monkeypatch.chdir(tmp_path / "worktree")
    return tmp_path / "clone"


def linked() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_symlink())


@pytest.mark.parametrize(
    ("name", "links"),
    [
        ("incoming/{batch}.csv", ["incoming"]),
        ("./incoming/{batch}/*.parquet", ["incoming"]),
        ("data/feed/{batch}.csv", ["data/feed"]),  # below a folder that git knows
        ("data/{batch}/part.csv", ["data/feed"]),
        ("data/rows-{batch}.csv", ["data/rows-2012-07.csv", "data/rows-2012-08.csv"]),
        ("data/contract.yaml", []),
        ("feed/{batch}.csv", []),  # is not there
        ("../nowhere/{batch}.csv", []),
        ("s3://bucket/data/feed", []),
        ("/incoming", []),
        ("", []),
    ],
)
def test_a_feed_is_linked_wherever_it_lies(clone: Path, name: str, links: list[str]) -> None:
    tree.link([name], clone)
    tree.link([name], clone)  # as the next cycle does
    assert linked() == links
    assert Path("data/contract.yaml").read_text() == "ours"


def test_a_path_that_leads_out_of_the_clone_is_refused(clone: Path) -> None:
    (clone.parent / "feed").mkdir()
    (clone.parent / "feed/2012-07.csv").touch()
    with pytest.raises(KibanError, match=r"^\.\./feed/\{batch\}\.csv leads elsewhere"):
        tree.link(["../feed/{batch}.csv"], clone)
