"""The files for services that are not here, read by what their vendors publish: an unknown field is seen."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from clones import run
from slice import ROOT

PYTHON, KUBEFLOW = ROOT / ".venv/runners/bin/python", ROOT / ".venv/kubeflow/bin/python"
pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(not PYTHON.exists(), reason="what knows these files is not installed: `make test-runners`"),
]
# Models that accept unknown keys drop them: what is dumped again is compared.
ARGO = """\
import json, sys
from hera.workflows import models
for document in json.loads(sys.argv[1]):
    kind = getattr(models, document["kind"])
    print(json.dumps(kind.model_validate(document).model_dump(by_alias=True, exclude_none=True, mode="json")))
"""
TRAINJOB = """\
import json, sys
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob
for document in json.loads(sys.argv[1]):
    print(json.dumps(TrainerV1alpha1TrainJob.from_dict(document).to_dict()))
"""
VERTEX = """\
import json, sys
from google.cloud.aiplatform_v1.types import CustomJobSpec
from google.protobuf import json_format
for document in json.loads(sys.argv[1]):
    read = json_format.ParseDict(document, CustomJobSpec.pb(CustomJobSpec()))
    print(json_format.MessageToJson(read, indent=None))
"""
AZURE = """\
import sys
from azure.ai.ml import load_job
job = load_job(sys.argv[1])
print(type(job).__name__, job._validate().passed)
"""


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((ROOT / "runners" / name).read_text()))


def read_again(python: Path, script: str, given: list[Any]) -> list[Any]:
    return [json.loads(line) for line in run(ROOT, str(python), "-c", script, json.dumps(given)).splitlines()]


@pytest.mark.parametrize(
    ("python", "script", "name"),
    [(PYTHON, ARGO, "argo/workflows.yaml"), (KUBEFLOW, TRAINJOB, "kubeflow/trainjob.yaml")],
)
def test_every_field_is_known(python: Path, script: str, name: str) -> None:
    given = documents(name)
    assert read_again(python, script, given) == given
    wrong = {**given[0], "spec": {**given[0]["spec"], "entripoint": "x"}}
    assert read_again(python, script, [wrong]) == given[:1]  # what it does not know is dropped


def test_vertex_knows_every_field() -> None:
    (given,) = documents("vertex/custom-job.yaml")
    (again,) = read_again(PYTHON, VERTEX, [given])
    assert again["workerPoolSpecs"][0]["containerSpec"]["command"] == ["kiban-clone", "kiban", "step", "--all"]
    command = [str(PYTHON), "-c", VERTEX, json.dumps([{**given, "shceduling": {}}])]
    assert 'no field named "shceduling"' in run(ROOT, *command, status=1)


def test_azure_ml_reads_its_job(tmp_path: Path) -> None:
    path = ROOT / "runners/azureml/job.yaml"
    assert "Command True" in run(ROOT, str(PYTHON), "-c", AZURE, str(path))
    (tmp_path / "job.yaml").write_text(path.read_text() + "computee: x\n")
    run(ROOT, str(PYTHON), "-c", AZURE, str(tmp_path / "job.yaml"), status=1)
