"""The graph as schedulers read it, without DVC, and what is written of it in runners/."""

import shutil
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import yaml
from clones import commit, run
from dvc.repo import Repo
from slice import ROOT

from kiban.runners import stages

LOCK = """\
schema: '2.0'
stages:
  first: {cmd: a, outs: [{path: data/raw}, {path: one.txt}]}
  left@2013: {cmd: b, deps: [{path: data/raw/2013}], outs: [{path: data/left}]}
  right: {cmd: c, deps: [{path: data/raw}, {path: src}], outs: [{path: right.txt}]}
  gone: {cmd: e, deps: [{path: right.txt}], outs: [{path: gone.txt}]}
  last: {cmd: d, deps: [{path: data}, {path: right.txt}, {path: one.txt}], outs: [{path: last.txt}]}
"""


def test_the_graph_is_that_of_dvc() -> None:
    repo = Repo(ROOT)
    reduced = nx.transitive_reduction(repo.index.graph.reverse(copy=True))
    assert stages.stages(ROOT) == {
        stage.addressing: [each.addressing for each in reduced.predecessors(stage)] for stage in repo.index.stages
    }


@pytest.mark.parametrize("is_in_git", [True, False])
def test_stages_side_by_side_are_told_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_in_git: bool
) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "dvc.yaml").write_text("stages: {first: {}, left: {}, right: {}, last: {}}\n")
    if is_in_git:
        run(tmp_path, "git", "init", "-q")
        commit(tmp_path, "a graph")
        (tmp_path / "dvc.lock").write_text(LOCK[: len(LOCK) // 2])  # as DVC is writing it
    graph = {"first": [], "left@2013": ["first"], "right": ["first"], "last": ["left@2013", "right"]}
    assert stages.stages(tmp_path) == graph
    monkeypatch.setenv("PATH", "")  # a scheduler may have no git
    if not is_in_git:
        assert stages.stages(tmp_path) == graph
    assert stages.last(graph) == ["last"]
    assert [stages.task(stage) for stage in graph] == ["first", "left-2013", "right", "last"]


def test_names_within_the_workflows_are_there() -> None:
    """What no schema sees."""
    documents = [*yaml.safe_load_all((ROOT / "runners/argo/workflows.yaml").read_text())]
    for document in documents:
        spec = document["spec"].get("workflowSpec", document["spec"])
        referred = [
            each for each in documents if each["metadata"]["name"] == spec.get("workflowTemplateRef", {}).get("name")
        ]
        assert ("workflowTemplateRef" in spec) == bool(referred)
        of_reference = referred[0]["spec"] if referred else spec
        parameters = {each["name"] for each in of_reference.get("arguments", {}).get("parameters", [])}
        assert {each["name"] for each in spec.get("arguments", {}).get("parameters", [])} <= parameters
        check(of_reference, parameters)


def check(spec: dict[str, Any], parameters: set[str]) -> None:
    templates = {each["name"]: each for each in spec["templates"]}
    assert spec["entrypoint"] in templates
    text = str(spec)
    assert all(f"workflow.parameters.{name}}}}}" in text for name in parameters)
    for template in templates.values():
        tasks = template.get("dag", {}).get("tasks", [])
        for task in tasks:
            assert set(task.get("depends", "").split(" && ")) - {""} <= {each["name"] for each in tasks}
            asked = templates[task["template"]]["inputs"]["parameters"]
            given = {each["name"] for each in task["arguments"]["parameters"]}
            assert {each["name"] for each in asked if "value" not in each} <= given <= {each["name"] for each in asked}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_unit_and_its_timer_are_valid(tmp_path: Path) -> None:
    for path in (ROOT / "runners/systemd").iterdir():
        text = path.read_text().replace("/srv/kiban", str(tmp_path)).replace("User=kiban", "User=root")
        (tmp_path / path.name).write_text(text)
    assert run(tmp_path, "systemd-analyze", "verify", "kiban-cycle.service", "kiban-cycle.timer") == ""
