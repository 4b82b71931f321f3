"""A team's repository: begun from a release, with a table of its own, and brought to the next release."""

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from clones import clone_to, commit, environment, run, with_installed
from slice import ROOT, package_file
from template import COPIER

from kiban.maintain import platform

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (ROOT / platform.TEMPLATE).exists(), reason="this is a team's repository"),
]
NOTES = Path("docs/releases.md")


def release(folder: Path, version: str) -> None:
    with (folder / NOTES).open("a") as notes:
        notes.write(f"\n## {version}\n\nOutputs that change: none.\n")
    commit(folder, f"What {version} changes")
    with_installed(folder)
    run(folder, "make", "release", f"VERSION={version}")


@pytest.fixture(scope="module")
def kiban(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The platform as it lies in the working tree, with the releases 7.0.0 and 7.1.0."""
    folder = clone_to(tmp_path_factory.mktemp("platform"))
    release(folder, "7.0.0")
    option = folder / "conf/gate/strict.yaml"
    option.write_text((folder / "conf/gate/skill.yaml").read_text().replace("threshold: 0.0", "threshold: 0.5"))
    config = folder / "conf/config.yaml"  # of all datasets: a comment says more
    config.write_text(config.read_text().replace("# computes the features", "# computes the features: duckdb"))
    (folder / "src/kiban/review/experiments.py").rename(folder / "src/kiban/review/tried.py")
    for path in (folder / "src/kiban").rglob("*.py"):
        text = path.read_text()
        if "kiban.review.experiments" in text:
            path.write_text(text.replace("kiban.review.experiments", "kiban.review.tried"))
    run(folder, "kiban", "compose")
    release(folder, "7.1.0")
    return folder


@pytest.fixture(scope="module")
def team(kiban: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's repository of 7.0.0 with its own table, run to the end and committed, and edits of its own."""
    folder = tmp_path_factory.mktemp("team") / "churn"
    answers = ["--data", "name=churn", "--data", f"remote={folder.with_name('store')}"]
    run(folder.parent, "uvx", COPIER, "copy", "--vcs-ref", "7.0.0", "--defaults", *answers, str(kiban), str(folder))
    run(folder, "git", "init", "-q", "-b", "main")
    with_installed(folder)
    commit(folder, "churn, from Kiban")
    return folder


@pytest.fixture(scope="module")
def running(team: Path) -> Path:
    """The repository with data, a model, and edits of the team's own."""
    with package_file("planes.csv").open() as source, (team / "planes.csv").open("w", newline="") as file:
        rows = [row for row in csv.DictReader(source) if row["year"] not in ("", "NA")]
        writer = csv.DictWriter(
            file, ["tailnum", "year", "manufacturer", "engines", "seats", "engine"], extrasaction="ignore"
        )
        writer.writeheader()
        writer.writerows(rows)
    run(team, "kiban", "init", "planes.csv", "--target", "seats", "--missing", "NA")
    (team / "conf/dataset/none.yaml").unlink()
    (team / "src/kiban/sources/ours.py").write_text('"""A source of our own."""\n')
    (team / "Makefile").write_text((team / "Makefile").read_text() + "\nours: ## our own\n\techo ours\n")
    run(team, "kiban", "compose")
    run(team, "dvc", "repro")
    commit(team, "our planes")
    return team


def hashes(folder: Path) -> dict[str, str]:
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {output["path"]: output["md5"] for stage in stages.values() for output in stage["outs"]}


def update(folder: Path) -> str:
    return run(folder, "uvx", COPIER, "update", "--defaults")


def test_before_there_is_data_it_composes_and_says_what_is_next(team: Path) -> None:
    assert not [
        name for name in run(team, "git", "ls-files").splitlines() if "flights" in name and "tests/" not in name
    ]
    run(team, "kiban", "compose", "--check")
    output = run(team, "make", "repro", status=2)
    assert "error: there is no data yet: run `kiban init DATA --target COLUMN`" in output
    assert "Running stage" not in output
    assert "error: there is no data yet" in run(team, "dvc", "repro", status=255)
    run(team, "git", "clean", "-fdq")
    assert platform.differing(team) == []
    assert run(team, "python", "-m", "kiban.maintain.platform").startswith("the platform's files are those of")


def test_the_next_release_comes_without_a_conflict_and_the_same_bytes(running: Path) -> None:
    run(running, "git", "checkout", "-q", "-b", "release")
    before = hashes(running)
    output = update(running)
    assert "kiban compose" in output
    assert (running / "src/kiban/review/tried.py").exists()
    assert not (running / "src/kiban/review/experiments.py").exists()
    assert (running / "conf/gate/strict.yaml").exists()
    assert not (running / "conf/dataset/none.yaml").exists()
    assert not (running / "conf/dataset/flights.yaml").exists()
    assert "dataset: planes" in (running / "conf/config.yaml").read_text()
    assert "# computes the features: duckdb" in (running / "conf/config.yaml").read_text()
    assert "echo ours" in (running / "Makefile").read_text()
    assert (running / "src/kiban/sources/ours.py").exists()
    assert not run(running, "git", "diff", "--name-only", "--diff-filter=U")

    assert run(running, "kiban", "compose") == ""  # no setting changed
    run(running, "env", "PYTHONPATH=src", "dvc", "repro")
    assert hashes(running) == before
    commit(running, "Kiban 7.1.0")
    assert "Release of the platform: 7.0.0 → 7.1.0" in run(running, "kiban", "report", "main")
    assert platform.differing(running) == ["Makefile"]
    run(running, "git", "checkout", "-q", "main")


def test_what_both_changed_is_named_with_its_line(running: Path) -> None:
    run(running, "git", "checkout", "-q", "-b", "conflict")
    config = running / "conf/config.yaml"
    config.write_text(config.read_text().replace("# computes the features", "# our engine"))
    commit(running, "our comment")
    update(running)
    output = run(running, "kiban", "compose", status=1)
    assert "conf/config.yaml: line " in output
    assert "begins a conflict of two versions" in output
    assert "FAIL  no file has the markers of a conflict: conf/config.yaml:" in run(running, "kiban", "doctor", status=1)
    run(running, "git", "checkout", "-q", "--force", "main")
    run(running, "git", "clean", "-fdq")


def test_the_platforms_tests_pass_there_beside_a_changed_file(running: Path) -> None:
    shutil.rmtree(running / ".github")
    edited = running / "src/kiban/core/text.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    done = subprocess.run(
        ["python", "-m", "kiban.maintain.platform"], cwd=running, env=environment(), capture_output=True, text=True
    )
    assert "changed: .github/" in done.stderr
    assert ", Makefile, src/kiban/core/text.py: the platform's tests run" in done.stderr
    folder = running / done.stdout.strip()
    assert "# edited" in (folder / "src/kiban/core/text.py").read_text()
    rooms = [
        "cli/test_compose.py",
        "config",
        "core",
        "features",
        "ingest",
        "runners/test_platforms.py",
        "runners/test_graph.py",
        "sources",
    ]
    rooms += [f"test_{name}.py" for name in ("graph", "locks", "rooms", "workflows")]
    tests = [f"tests/{room}" for room in rooms]
    environment_of_all = {"PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder / 'tests'}"}
    run(folder, "pytest", "-q", "-n", "1", "-m", "not long", *tests, **environment_of_all)
    run(running, "git", "checkout", "-q", "--force", "main")
