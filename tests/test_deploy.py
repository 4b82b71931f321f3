"""deploy/ names what there is: paths, ports, variables, the image's account. Its schemas are checked by `make lint`."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from slice import ROOT

DEPLOY = ROOT / "deploy"
VARIABLES = {
    "KIBAN_PREDICTION_STORE",
    "KIBAN_SERVABLE",
    "KIBAN_RELEASE",
    "KIBAN_PREDICTION_LOG",
    "KIBAN_API_KEYS",
    "KIBAN_ANY_MODEL",
}


def found(content: Any, key: str) -> list[Any]:
    """Every value of the key, at any depth."""
    if isinstance(content, dict):
        here = [content[key]] if key in content else []
        return here + [each for value in content.values() for each in found(value, key)]
    if isinstance(content, list):
        return [each for value in content for each in found(value, key)]
    return []


def kubernetes() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def test_probes_ask_what_the_service_answers() -> None:
    azure = yaml.safe_load((DEPLOY / "azure-container-group.yaml").read_text())
    paths = [probe["path"] for content in (kubernetes(), azure) for probe in found(content, "httpGet")]
    assert len(paths) == 5
    assert set(paths) <= {"/livez", "/readyz"}
    for name in ("compose.yaml", "ecs-task-definition.json"):
        assert "http://127.0.0.1:3000/readyz" in (DEPLOY / name).read_text()


def test_every_variable_is_one_that_the_service_reads() -> None:
    read_by = [*(ROOT / "src/kiban/serve").glob("*.py"), ROOT / "src/kiban/request/logged.py"]
    source = "".join(path.read_text() for path in read_by)
    assert all(variable in source for variable in VARIABLES)
    caddyfile = set(re.findall(r"\{\$(KIBAN_\w+)", (DEPLOY / "Caddyfile").read_text()))
    of_compose = {"KIBAN_IMAGE", *caddyfile}
    for path in DEPLOY.iterdir():
        named = set(re.findall(r"\bKIBAN_\w+", path.read_text()))
        assert named <= VARIABLES | (of_compose if path.name in ("compose.yaml", "Caddyfile", "README.md") else set())


def test_kubernetes_selectors_match() -> None:
    deployment, service, budget, scaler = kubernetes()
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    spec = deployment["spec"]["template"]["spec"]
    assert {volume["name"] for volume in spec["volumes"]} == {"tmp", "log"}
    log = yaml.safe_load((ROOT / "params.yaml").read_text())["serving"]["prediction_log"]
    (room,) = (volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if volume["name"] == "log")
    assert int(room.removesuffix("Mi")) << 20 > log["max_bytes"]  # or the pod would be evicted


@pytest.mark.parametrize(
    "name", ["deploy/ecs-task-definition.json", "deploy/sagemaker-model.json", "runners/batch/job-definition.yaml"]
)
def test_a_misspelt_key_for_aws_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / "deploy").mkdir(exist_ok=True)
    shutil.copy(DEPLOY / "check.py", tmp_path / "deploy")
    (tmp_path / name).write_text(json.dumps({**yaml.safe_load((ROOT / name).read_text()), "familly": 1}))
    done = subprocess.run([sys.executable, tmp_path / "deploy/check.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f'error: {name}: Unknown parameter in input: "familly"')
