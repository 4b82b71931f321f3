"""Promotion and rollback in this process, of two models, with an origin: test_promote.py runs the commands."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from clones import commit, copy_to, environment, run, with_results
from slice import SMALL_TREES, compose_here, run_stage

from kiban.cli import commands
from kiban.core.errors import KibanError
from kiban.operate import promote, registry, release
from kiban.serve import released
from kiban.serve.released import Release, Worker

Kiban = Callable[..., str]


def git(*arguments: str) -> str:
    return run(Path(), "git", *arguments).strip()


def lock() -> None:
    """What `dvc repro` writes after the stages have run."""
    run(Path(), "dvc", "commit", "-q", "--force", "evaluate", "--with-deps")
    commit(Path(), "a model")


@pytest.fixture
def origin(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is a repository with a commit of one model, which this origin has too."""
    folder = copy_to(tmp_path / "ours")
    monkeypatch.chdir(folder)
    git("init", "-q", "-b", "main")
    with_results(folder, evaluated)
    for name, value in environment().items():
        if name.startswith("GIT_"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("KIBAN_RELEASE", raising=False)
    commit(folder, "a model")
    git("init", "-q", "-b", "main", "--bare", str(tmp_path / "origin.git"))
    git("remote", "add", "origin", str(tmp_path / "origin.git"))
    git("push", "-q", "-u", "origin", "main")
    return tmp_path / "origin.git"


@pytest.fixture
def kiban(capsys: pytest.CaptureFixture[str]) -> Kiban:
    """Run a command here, and give what it prints."""

    def called(*arguments: str) -> str:
        capsys.readouterr()
        name, *others = arguments
        commands.commands[name].main(others, standalone_mode=False)
        return capsys.readouterr().out

    return called


@pytest.mark.long
def test_a_model_is_promoted_judged_replaced_and_brought_back(origin: Path, kiban: Kiban) -> None:
    with pytest.raises(KibanError, match=r"the gate refuses it \(floor"):  # the slice is small
        kiban("promote", "--dry-run")
    assert "v0.1.0 is in production" in kiban("promote", "--override", "a slice is no year")
    assert "in production already" in kiban("promote")
    assert "0.1.0" in kiban("versions")

    compose_here(*SMALL_TREES, "model.max_iter=10")
    for stage in ("config", "train", "evaluate"):
        run_stage(stage)
    with pytest.raises(KibanError, match="is in no commit"):
        kiban("promote")
    lock()
    with pytest.raises(KibanError, match=r"the gate refuses it \(floor, better\)"):
        kiban("promote")
    judged = json.loads(kiban("promote", "--json", "--override", "to see the other model"))
    names = {rule["name"].split()[0] for rule in judged["rules"]}
    assert names >= {"floor", "baseline", "looks", "better", "calibration", "slice", "latency", "size"}
    (looks,) = (rule["figure"] for rule in judged["rules"] if rule["name"] == "looks")
    assert looks.startswith("2 models")
    assert git("rev-parse", "origin/main") == git("rev-parse", "HEAD")
    first, second = json.loads(kiban("versions", "--json"))[::-1]
    assert (first["version"], second["version"], second["is_prod"]) == ("v0.1.0", "v0.2.0", True)
    assert release.current(release.root()).version == "v0.2.0"  # type: ignore[union-attr]

    (release.root() / "current/servable/manifest.json").write_text("damaged")
    assert "v0.1.0" in kiban("rollback", "--reason", "the answers are odd")
    assert "the answers are odd" in kiban("versions")
    with pytest.raises(KibanError, match="nothing to go back to"):
        kiban("rollback")
    kiban("hold", "--end")
    with pytest.raises(KibanError, match="there is no hold to end"):
        kiban("hold", "--end")
    shutil.rmtree("release")  # as if a promotion had been killed before it laid the release
    assert "v0.1.0" in kiban("promote", "v0.1.0")
    assert release.current(release.root()).version == "v0.1.0"  # type: ignore[union-attr]
    with pytest.raises(click.UsageError, match="give a FOLDER"):
        kiban("fetch", "v0.2.0")
    assert "v0.2.0" in kiban("fetch", "v0.2.0", "elsewhere")
    origin.rename(origin.with_name("away"))
    with pytest.raises(KibanError, match="origin cannot be reached"):
        kiban("promote", "v0.2.0")
    assert "the tags are pushed by the next command" in kiban("hold", "the labels are being checked")
    origin.with_name("away").rename(origin)
    assert "is v0.2.0 already" in kiban("register")
    assert len(registry.read("flights").tags) == 7
    assert git("ls-remote", "--tags", "--refs", "origin").count("\n") == 6


@pytest.mark.long
@pytest.mark.parametrize("place", ["push.push", "registry.write", "remote.push", "release.turn"])
def test_a_promotion_that_is_killed_goes_on(origin: Path, kiban: Kiban, tmp_path: Path, place: str) -> None:
    """Killed where it would call a function: between any two of store, tags, origin and release."""
    run(Path(), "dvc", "remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    module, name = place.split(".")
    script = f"""
import os
from kiban.operate import {module}
{module}.{name} = lambda *_, **__: os._exit(9)
from kiban.cli import main
main()
"""
    override = ("promote", "--override", "a slice is no year")
    run(Path(), sys.executable, "-c", script, *override, status=9)
    assert "v0.1.0" in kiban(*override)
    assert release.current(release.root()).version == "v0.1.0"  # type: ignore[union-attr]
    names = sorted(line.split("/")[-1] for line in git("ls-remote", "--tags", "--refs", "origin").splitlines())
    assert names == sorted(git("tag").splitlines()) == ["flights#prod#1", "flights@v0.1.0"]
    run(Path(), "kiban", "push", "--check")


def test_only_one_command_promotes_at_a_time(repository: Path) -> None:
    with promote.alone(), pytest.raises(KibanError, match="another promotion runs"), promote.alone():
        pass


def test_the_workers_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "SILENCE", 0.3)
    monkeypatch.setattr(release, "PATIENCE", 0.6)
    laid = Release(version="v1.0.0", model_id="1" * 64, commit="c")
    assert "no service has read" in release.await_workers(tmp_path, laid)

    def writes(**worker: object) -> Callable[[float], None]:
        return lambda _: released.write_worker(tmp_path, Worker.model_validate({"workers": 1, **worker}))

    writes(model_id="0" * 64)(0)
    assert "no service was seen" in release.await_workers(tmp_path, laid)
    monkeypatch.setattr("kiban.operate.release.time.sleep", writes(model_id="1" * 64))
    assert "1 workers answer with it" in release.await_workers(tmp_path, laid)
    monkeypatch.setattr("kiban.operate.release.time.sleep", writes(model_id="0" * 64))
    with pytest.raises(KibanError, match="not all workers answer with v1.0.0, but with 000000000000"):
        release.await_workers(tmp_path, laid)
    refusing = writes(model_id="0" * 64, refused="1" * 64, reason="it has no field carrier")
    monkeypatch.setattr("kiban.operate.release.time.sleep", refusing)
    with pytest.raises(KibanError, match="the service refuses v1.0.0: it has no field carrier"):
        release.await_workers(tmp_path, laid)
