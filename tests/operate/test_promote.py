"""`kiban promote`, `rollback`, `fetch`, `hold` and `versions` with real git remotes, a store, and three models."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from callers import callers
from clones import commit, copy_to, environment, run, with_results
from servers import serving
from slice import SLICE, SMALL_TREES

pytestmark = pytest.mark.long  # test_registry.py and tests/evaluate/test_gate.py are quick

OVERRIDE = ("--override", "a test of what comes after it")
FLOOR = "gate.threshold=0.5"
WITHOUT = "model.features.without=[carrier]"


@pytest.fixture(scope="session")
def three_models(evaluated: Path, once: Callable[..., Path]) -> Path:
    """A repository with a commit each of a model that knows nothing, of trees, and of a linear one.

    Not to be changed: `ours` is a copy.
    """

    def fill(folder: Path) -> None:
        run(copy_to(folder), "git", "init", "-q", "-b", "main")
        with_results(folder, evaluated)
        (folder / "conf/promotion/flights.yaml").unlink(missing_ok=True)
        for overrides in (["model=dummy"], SMALL_TREES, ["model=logistic"]):
            run(folder, "kiban", "compose", *SLICE, *overrides, FLOOR, "serving.workers=2", "serving.watch_seconds=0.2")
            run(folder, "dvc", "repro")
            commit(folder, overrides[0])

    return once("three_models", fill)


@pytest.fixture
def ours(three_models: Path, tmp_path: Path) -> Path:
    """main at the first model, with an origin and a store. `origin/main` has the same."""
    folder = tmp_path / "ours"
    shutil.copytree(three_models, folder, symlinks=True)
    run(folder, "git", "tag", "third")
    run(folder, "git", "reset", "-q", "--hard", "HEAD~2")
    run(folder, "dvc", "checkout")
    run(folder, "dvc", "remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    run(tmp_path, "git", "init", "-q", "-b", "main", "--bare", "origin.git")
    run(folder, "git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    run(folder, "git", "push", "-q", "-u", "origin", "main")
    return folder


def go_to(folder: Path, revision: str) -> None:
    """Bring main, forward, to one of the commits that the fixture made."""
    run(folder, "git", "merge", "-q", "--ff-only", revision)
    run(folder, "dvc", "checkout")


def versions(folder: Path, *options: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run(folder, "kiban", "versions", "--json", *options))
    return listed


def prod(folder: Path) -> str:
    (version,) = (line["version"] for line in versions(folder) if line["is_prod"])
    return str(version)


def released(folder: Path) -> str:
    return str(json.loads((folder / "release/current/release.json").read_text())["version"])


def tags(folder: Path) -> list[str]:
    return run(folder, "git", "tag", "--list", "flights*").splitlines()


def test_models_are_promoted_refused_and_rolled_back(ours: Path, tmp_path: Path) -> None:
    assert "no version" in run(ours, "kiban", "versions")
    run(ours, "kiban", "promote")
    assert (prod(ours), released(ours)) == ("v0.1.0", "v0.1.0")
    assert "in production already" in run(ours, "kiban", "promote")

    go_to(ours, "third~1")
    before = tags(ours)
    said = run(ours, "kiban", "promote", "--dry-run")
    assert "v0.2.0 would be promoted" in said  # other parameters: a minor version
    assert tags(ours) == before
    run(ours, "kiban", "promote")
    assert (prod(ours), released(ours)) == ("v0.2.0", "v0.2.0")
    assert run(ours, "git", "rev-parse", "origin/main") == run(ours, "git", "rev-parse", "HEAD")  # it went along

    go_to(ours, "third")
    before = tags(ours)
    said = run(ours, "kiban", "promote", status=1)
    assert "error: the gate refuses it (better" in said
    assert tags(ours) == before
    assert "10 characters" in run(ours, "kiban", "promote", "--override", "so", status=2)
    said = run(ours, "kiban", "promote", *OVERRIDE)
    assert "v0.3.0 is in production, refused, overridden" in said
    last = versions(ours)[0]
    assert (last["version"], last["through"], last["promotions"][0]["reason"]) == ("v0.3.0", "2013-03", OVERRIDE[1])
    assert last["promotions"][0]["gate"] == "refused, overridden"

    assert "v0.2.0" in run(ours, "kiban", "rollback", "--reason", "its answers are odd")
    assert (prod(ours), released(ours)) == ("v0.2.0", "v0.2.0")
    assert "hold: since" in run(ours, "kiban", "versions")
    run(ours, "kiban", "rollback")
    assert (prod(ours), released(ours)) == ("v0.1.0", "v0.1.0")
    assert "nothing to go back to" in run(ours, "kiban", "rollback", status=1)
    run(ours, "kiban", "promote", "v0.2.0")
    assert prod(ours) == "v0.2.0"
    assert "hold: since" not in run(ours, "kiban", "versions")  # a person has promoted

    assert "there is no version v7.0.0" in run(ours, "kiban", "promote", "v7.0.0", status=1)
    assert versions(ours, "--at", "2020-01-01") == []
    assert len(versions(ours, "--trained-on", "2013-01")) == 3
    assert versions(ours, "--trained-on", "2013-03") == []
    theirs = tmp_path / "theirs"
    run(tmp_path, "git", "clone", "-q", str(tmp_path / "origin.git"), str(theirs))
    run(theirs, "dvc", "remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    assert versions(theirs) == versions(ours)
    run(theirs, "kiban", "fetch", "prod")
    run(theirs, "kiban", "fetch", "v0.3.0", "old")
    assert released(theirs) == "v0.2.0"
    assert (theirs / "old/current/servable/manifest.json").exists()
    run(theirs, "dvc", "artifacts", "get", ".", "flights", "--stage", "prod", "-o", "got")
    manifest = "servable/manifest.json"
    assert (theirs / "got/manifest.json").read_bytes() == (ours / "release/current" / manifest).read_bytes()


def test_going_back_needs_neither_store_nor_origin(ours: Path, tmp_path: Path) -> None:
    run(ours, "kiban", "promote")
    go_to(ours, "third~1")
    run(ours, "kiban", "promote")
    shutil.rmtree(ours / ".dvc/cache")
    for name in ("origin.git", "store"):
        (tmp_path / name).rename(tmp_path / f"{name}.away")
    assert "cannot be reached" in run(ours, "kiban", "promote", "v0.1.0", status=1)
    said = run(ours, "kiban", "rollback")
    assert "the tags are pushed by the next command" in said
    assert released(ours) == prod(ours) == "v0.1.0"
    # Meanwhile another clone has taken the number of the tag.
    (tmp_path / "origin.git.away").rename(tmp_path / "origin.git")
    (tmp_path / "store.away").rename(tmp_path / "store")
    theirs = tmp_path / "theirs"
    run(tmp_path, "git", "clone", "-q", str(tmp_path / "origin.git"), str(theirs))
    run(theirs, "kiban", "hold", "a colleague looks at the labels")
    run(ours, "kiban", "promote", "v0.2.0", *OVERRIDE)
    run(theirs, "git", "fetch", "-q", "--tags")
    assert set(tags(theirs)) == set(tags(ours))
    kinds = [each["kind"] for line in versions(theirs) for each in line["promotions"]]
    assert sorted(kinds) == ["promotion", "promotion", "promotion", "rollback"]
    assert prod(theirs) == "v0.2.0"


def test_of_two_promoters_exactly_one_wins(ours: Path, tmp_path: Path) -> None:
    run(ours, "kiban", "promote")
    theirs = tmp_path / "theirs"
    go_to(ours, "third~1")
    run(ours, "git", "push", "-q", "origin", "main")
    run(ours, "kiban", "push")
    shutil.copytree(ours, theirs, symlinks=True)
    # Two people: one and the same person who promotes twice in a second makes one and the same tag.
    both = [
        subprocess.Popen(
            ["kiban", "promote"],
            cwd=folder,
            env=environment(GIT_COMMITTER_NAME=folder.name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for folder in (ours, theirs)
    ]
    said = [each.communicate()[0].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted("in production already" in text for text in said) == [False, True]
    for folder in (ours, theirs):
        run(folder, "git", "fetch", "-q", "--tags")
        assert tags(folder) == ["flights#prod#1", "flights#prod#2", "flights@v0.1.0", "flights@v0.2.0"]


def test_a_protected_branch_waits_for_the_merge(ours: Path) -> None:
    path = ours / "conf/promotion/default.yaml"
    path.write_text(path.read_text().replace("deliver: main", "deliver: pull_request"))
    commit(ours, "a protected main")
    assert "merge its pull request first" in run(ours, "kiban", "promote", status=1)
    run(ours, "git", "push", "-q", "origin", "main")
    run(ours, "kiban", "promote")
    assert prod(ours) == "v0.1.0"


def test_a_model_that_accepts_less_is_taken_on_demand_alone(ours: Path) -> None:
    run(ours, "kiban", "promote")
    go_to(ours, "third~1")
    run(ours, "kiban", "compose", *SLICE, *SMALL_TREES, FLOOR, WITHOUT)
    run(ours, "dvc", "repro")
    assert "is in no commit" in run(ours, "kiban", "promote", status=1)
    commit(ours, "without the carrier")
    before = tags(ours)
    said = run(ours, "kiban", "promote", status=1)
    assert "v1.0.0 refuses what the present model answers: it has no field carrier" in said
    assert tags(ours) == before
    run(ours, "kiban", "promote", "--accept-less")
    assert prod(ours) == "v1.0.0"


def test_promotion_and_rollback_lose_no_request(ours: Path) -> None:
    run(ours, "kiban", "promote")
    release = {"KIBAN_RELEASE": str(ours / "release")}
    with serving(ours, "bentoml", "serve", **release) as client, callers(client.base_url) as answered:
        assert client.get("/model").json()["evaluation"]
        go_to(ours, "third~1")
        said = [run(ours, "kiban", "promote", **release)]
        said += [run(ours, "kiban", "rollback", **release)]
        said += [run(ours, "kiban", "promote", "v0.2.0", **release)]
        ids = [json.loads((path / "release.json").read_text())["model_id"] for path in (ours / "release").glob("v*")]
    assert ["2 workers answer with it" in text for text in said] == [True] * 3, said
    assert not answered.failed
    assert {model_id for *_, model_id, _ in answered.calls} == set(ids)
