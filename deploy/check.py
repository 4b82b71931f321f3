"""Check the files for AWS as its own client does before it sends them: `python deploy/check.py`, from anywhere."""

import sys
from pathlib import Path

import botocore.session
import yaml
from botocore.validate import ParamValidator

FILES = {  # file, service, operation
    "deploy/ecs-task-definition.json": ("ecs", "RegisterTaskDefinition"),
    "deploy/sagemaker-model.json": ("sagemaker", "CreateModel"),
    "runners/batch/job-definition.yaml": ("batch", "RegisterJobDefinition"),
    "runners/sagemaker/training-job.yaml": ("sagemaker", "CreateTrainingJob"),
    "runners/sagemaker/processing-job.yaml": ("sagemaker", "CreateProcessingJob"),
}

session = botocore.session.get_session()
for name, (service, operation) in FILES.items():
    path = Path(__file__).parents[1] / name
    if not path.exists():  # a team has what it uses
        continue
    shape = session.get_service_model(service).operation_model(operation).input_shape
    found = ParamValidator().validate(yaml.safe_load(path.read_bytes()), shape)
    if found.has_errors():
        sys.exit(f"error: {name}: {found.generate_report()}")
