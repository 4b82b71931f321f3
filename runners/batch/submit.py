"""Submit the stage graph to AWS Batch, a job for each stage, each after those that it needs.

    python runners/batch/submit.py RUN [NAME=VALUE]…

NAME=VALUE is a variable of every job, such as KIBAN_NEW=1 or KIBAN_OVERRIDES='model.C=0.1'. The job definition,
runners/batch/job-definition.yaml, must have been registered.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from kiban.core.errors import KibanError, exit_on_error, one_line
from kiban.runners import platforms
from kiban.runners.stages import last, task


def submit(client: Any, run: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The ids of the jobs by stage, each of which is printed when it is submitted. Raises errors of botocore."""
    graph = platforms.committed_graph()
    settings: platforms.Batch = platforms.read("batch", graph)
    environment = [{"name": name, "value": value} for name, value in {"KIBAN_RUN": run, **variables}.items()]
    ids: dict[str, str] = {}
    for stage, before in {**graph, "--publish": last(graph)}.items():
        machine = settings.machine_of(stage)
        request = {
            "jobName": re.sub(r"[^A-Za-z0-9-]+", "-", f"{settings.name}-{run}-{task(stage).strip('-')}")[:128],
            "jobQueue": settings.queue,
            "jobDefinition": settings.name,
            "dependsOn": [{"jobId": ids[each]} for each in before],
            "timeout": {"attemptDurationSeconds": machine.minutes * 60},
            "containerOverrides": {
                "command": ["kiban-clone", "kiban", "step", stage],
                "environment": environment,
                "resourceRequirements": [
                    {"type": "VCPU", "value": f"{machine.cpu:g}"},
                    {"type": "MEMORY", "value": str(machine.memory * 1024)},
                ],
            },
        }
        ids[stage] = client.submit_job(**request)["jobId"]
        print(f"{stage}: {ids[stage]}")
    return ids


def main() -> None:
    if len(sys.argv) < 2 or "=" in sys.argv[1] or not all("=" in word for word in sys.argv[2:]):
        sys.exit("usage: python runners/batch/submit.py RUN [NAME=VALUE]…")
    variables = dict(word.split("=", 1) for word in sys.argv[2:])
    try:
        submit(botocore.session.get_session().create_client("batch"), sys.argv[1], variables)
    except (BotoCoreError, ClientError) as error:
        raise KibanError(
            f"AWS Batch: {one_line(error)}; what is listed above was submitted, and nothing else"
        ) from None


if __name__ == "__main__":
    exit_on_error(main)
