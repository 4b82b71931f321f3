"""The workflows: make lint checks them against the published schema; here is what the schema does not ask."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from slice import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yaml"))
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


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_may_be_done_that_is_not_asked_for(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        writes = {scope for scope, right in job["permissions"].items() if right == "write"}
        assert writes == ({"pull-requests"} if name == "comment" else set())
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_job_that_may_write_runs_no_code_of_the_pull_request_and_gets_no_secret() -> None:
    text = (ROOT / ".github/workflows/pull_request.yaml").read_text()
    workflow = yaml.safe_load(text)
    assert True in workflow  # YAML 1.1 reads `on` so
    assert workflow[True] == "pull_request"  # and not pull_request_target, which has secrets for forks
    comment = workflow["jobs"]["comment"]
    assert "head.repo.full_name == github.repository" in comment["if"]
    (checkout,) = [step for step in comment["steps"] if "checkout" in step.get("uses", "")]
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert "secrets." not in str(comment)
    assert "secrets." not in str(workflow["jobs"]["check"])
