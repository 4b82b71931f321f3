"""The workflows: make lint checks them against the published schema; here is what the schema does not ask."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from slice import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yaml"))
pytestmark = pytest.mark.skipif(not FILES, reason="a team with another host has deleted .github")
TARGETS = set(re.findall(r"(?m)^([a-z0-9-]+):", (ROOT / "Makefile").read_text()))
STEPS = [
    pytest.param(job, step, id=f"{file.stem}-{name}-{number}")
    for file in FILES
    for name, job in yaml.safe_load(file.read_text())["jobs"].items()
    for number, step in enumerate(job["steps"])
]


@pytest.mark.parametrize(("job", "step"), STEPS)
def test_a_step_is_a_make_target_or_an_action_of_one_commit(job: dict[str, Any], step: dict[str, Any]) -> None:
    if "run" in step:
        verb, option, folder, target = step["run"].split(" ")
        assert (verb, option, folder) == ("make", "-C", '"$FOLDER"')
        assert target in TARGETS
    else:
        assert re.fullmatch(r"actions/[a-z-]+(/[a-z]+)?@[0-9a-f]{40}", step["uses"])


WRITES = {  # of the jobs that may write anything
    "comment": {"pull-requests"},
    "unlabel": {"pull-requests"},
    "deliver": {"contents"},
    "propose": {"contents", "pull-requests"},
}
PUSHING = ("deliver", "propose")
BASES = {"schedule": "${{ github.sha }}"}  # of main; of the others that of the pull request


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_may_be_done_that_is_not_asked_for(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        writes = {scope for scope, right in job["permissions"].items() if right == "write"}
        assert writes == WRITES.get(name, set())
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                pushes = name in PUSHING and step["with"].get("path") == ".kiban_head"
                assert step["with"]["persist-credentials"] is pushes


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_job_that_may_write_runs_no_code_of_the_pull_request_and_gets_no_secret(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    assert True in workflow  # YAML 1.1 reads `on` so
    assert "pull_request_target" not in str(workflow[True])  # which has secrets for forks
    for name in workflow["jobs"].keys() & WRITES.keys():
        job = workflow["jobs"][name]
        (checkout, *others) = [step["with"] for step in job["steps"] if "checkout" in step.get("uses", "")]
        assert checkout["ref"] == BASES.get(file.stem, "${{ github.event.pull_request.base.sha }}")
        assert "path" not in checkout  # its Makefile is the one that runs
        assert [other["path"] for other in others] == ([".kiban_head"] if name in PUSHING else [])
        assert "secrets." not in str(job)
    assert "secrets." not in str(workflow["jobs"].get("check", {}))


@pytest.mark.parametrize(("file", "first"), [("pull_request", "comment"), ("train", "unlabel")])
def test_nothing_is_written_for_a_fork(file: str, first: str) -> None:
    jobs = yaml.safe_load((ROOT / f".github/workflows/{file}.yaml").read_text())["jobs"]
    assert "head.repo.full_name == github.repository" in jobs[first]["if"]
    needs = {name: job.get("needs") for name, job in jobs.items()}
    if file == "train":
        assert needs == {"unlabel": None, "train": "unlabel", "deliver": "train", "comment": "train"}
        assert "'train'" in jobs["unlabel"]["if"]
