"""What git names of DVC's objects, wherever it stands."""

from pathlib import Path

import pytest
from clones import commit, run

from kiban.core import lock


def named(folder: Path, digest: str) -> None:
    (folder / "dvc.lock").write_text(f"stages:\n  train:\n    outs:\n    - path: model\n      md5: {digest}\n")


def test_older_stashes_name_objects_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "git", "init", "-q")
    monkeypatch.chdir(tmp_path)
    digests = [f"a{number}" * 16 for number in range(4)]
    named(tmp_path, digests[0])
    commit(tmp_path, "a model")
    for digest in digests[1:]:
        named(tmp_path, digest)
        run(tmp_path, "git", "stash", "-q")
    assert lock.ever_named() == set(digests)
