"""Check the files for AWS as its own client does before it sends them: `python deploy/check.py`, from anywhere."""

import json
import sys
from pathlib import Path

import botocore.session
from botocore.validate import ParamValidator

FILES = {  # file, service, operation
    "ecs-task-definition.json": ("ecs", "RegisterTaskDefinition"),
    "sagemaker-model.json": ("sagemaker", "CreateModel"),
}

session = botocore.session.get_session()
for name, (service, operation) in FILES.items():
    path = Path(__file__).parent / name
    shape = session.get_service_model(service).operation_model(operation).input_shape
    found = ParamValidator().validate(json.loads(path.read_bytes()), shape)
    if found.has_errors():
        sys.exit(f"error: {path.name}: {found.generate_report()}")
