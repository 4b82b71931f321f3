"""Each step of the real pipeline in a fresh clone, by the commands of runners/argo: the bytes of one machine."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from clones import run
from seattle import check_same_bytes, lay
from slice import ROOT

pytestmark = pytest.mark.long  # tests/runners/test_step.py is quick

WORKFLOWS = [*yaml.safe_load_all((ROOT / "runners/argo/workflows.yaml").read_text())]
Workflow = Callable[..., dict[str, str]]


@pytest.fixture
def workflow(origin: Path, tmp_path: Path) -> Workflow:
    """Run the commands of the workflow in their order, as Argo does, and say what each printed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kiban-clone").symlink_to(ROOT / "runners/clone.sh")
    (tmp_path / "empty").mkdir()

    def taken(name: str, parameters: Mapping[str, str], **secrets: str) -> dict[str, str]:
        given = {"repository": str(origin), **parameters}
        path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
        said = {}
        for task, command, variables in containers(name, given):
            said[task] = run(tmp_path / "empty", *command, PATH=path, **variables, **secrets)
        assert not any((tmp_path / "empty").iterdir())
        return said

    return taken


def containers(name: str, given: Mapping[str, str]) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """The tasks of the template in an order that their dependencies allow: command and variables of each."""
    spec = WORKFLOWS[0]["spec"]
    templates = {each["name"]: each for each in spec["templates"]}
    defaults = {each["name"]: each["value"] for each in spec["arguments"]["parameters"]}
    values = {f"workflow.parameters.{key}": value for key, value in {**defaults, **given}.items()}
    values["workflow.name"] = name
    waiting, done = {each["name"]: each for each in templates[spec["entrypoint"]]["dag"]["tasks"]}, set[str]()
    while waiting:
        task = next(each for each in waiting.values() if set(each.get("depends", "").split(" && ")) - {""} <= done)
        given_here = templates[task["template"]]["inputs"]["parameters"] + task["arguments"]["parameters"]
        own = {f"inputs.parameters.{each['name']}": each["value"] for each in given_here if "value" in each}
        container = filled(templates[task["template"]]["container"], {**values, **own})
        yield task["name"], container["command"], {each["name"]: each["value"] for each in container["env"]}
        done.add(waiting.pop(task["name"])["name"])


def filled(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: filled(each, values) for key, each in part.items()}
    if isinstance(part, list):
        return [filled(each, values) for each in part]
    for key, value in values.items():
        part = part.replace("{{" + key + "}}", value) if isinstance(part, str) else part
    return part


def test_scheduled_runs_take_what_is_new_and_end_as_one_machine_does(
    moved: Path, feed: Path, origin: Path, workflow: Workflow, tmp_path: Path
) -> None:
    lay(feed, "2012-07")
    (scheduled,) = (each for each in WORKFLOWS[1:] if "workflowTemplateRef" in each["spec"]["workflowSpec"])
    parameters = {each["name"]: each["value"] for each in scheduled["spec"]["workflowSpec"]["arguments"]["parameters"]}
    said = workflow("july", parameters, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "wait" in said["track"]  # no MLflow there
    assert said["publish"].startswith("Model: ")
    check_same_bytes(moved, origin, "kiban-run-july")
    assert run(origin, "git", "log", "-1", "--format=%s", "kiban-run-july").startswith("Model: ")

    # The source has lost what it had, MLflow is back, and somebody tries other parameters.
    run(origin, "git", "update-ref", "refs/heads/main", "kiban-run-july")
    for file in feed.glob("*.csv"):
        file.unlink()
    lay(feed, "2012-08")
    runs = tmp_path / "mlflow/mlflow.db"
    runs.parent.mkdir()
    parameters |= {"until": "2012-08", "overrides": "model.alphas=[1.0,10.0]"}
    said = workflow("august", parameters, MLFLOW_TRACKING_URI=f"sqlite:///{runs}")
    assert "2012-08" in said["ingest"]
    assert "8 batches, 0 taken from their source, 7 from DVC's cache or its store" in said["ingest"]
    assert "1 batches computed" in said["prepare"]
    with contextlib.closing(sqlite3.connect(runs)) as store:
        assert store.execute("select count(*) from runs").fetchone() == (2,)  # that of July too
    assert "the experiment august" in said["publish"]
    run(moved, "git", "fetch", "-q", str(origin), "main")
    run(moved, "git", "checkout", "-q", "--detach", "--force", "FETCH_HEAD")
    run(moved, "git", "remote", "add", "origin", str(origin))
    run(moved, "dvc", "exp", "pull", "-q", "origin", "august")
    assert "august" in run(moved, "dvc", "exp", "show", "--csv")
