import shutil
from pathlib import Path

import pytest
from clones import run
from slice import ROOT

from kiban.config.digest import digest


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    return tmp_path / "conf"


def test_the_digest_follows_names_and_bytes_only(conf: Path, tmp_path: Path) -> None:
    before = digest(conf)
    shutil.copytree(conf, tmp_path / "elsewhere")
    assert digest(tmp_path / "elsewhere") == before
    (conf / "model/logistic.yaml").write_text((conf / "model/logistic.yaml").read_text() + "\n")
    edited = digest(conf)
    (conf / "model/logistic.yaml").rename(conf / "model/linear.yaml")
    assert len({before, edited, digest(conf)}) == 3


def test_contracts_are_no_part_of_it(conf: Path) -> None:
    before = digest(conf)
    (conf / "contract/flights/raw.yaml").write_text("flights: {}\n")
    assert digest(conf) == before


def test_a_clone_with_the_line_ends_of_windows_is_composed(tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "-q", "--config", "core.autocrlf=true", str(ROOT), "clone")
    assert not [path for path in (tmp_path / "clone/conf").rglob("*.yaml") if b"\r" in path.read_bytes()]
    for path in (tmp_path / "clone/conf").rglob("*.yaml"):  # as an editor may leave them
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digest(tmp_path / "clone/conf") == digest(ROOT / "conf")
