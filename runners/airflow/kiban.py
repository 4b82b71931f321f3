"""The stage graph and the cycle as DAGs of Airflow 3. runners/airflow.yaml has what a team decides.

Airflow's own environment needs nothing of Kiban: the graph is read from dvc.lock when this file is parsed.
"""

import importlib.util
import shlex
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, BaseOperator, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = yaml.safe_load((ROOT / "runners/airflow.yaml").read_text())
NAME, WHERE = SETTINGS["name"], SETTINGS["where"]
ASK_A_PERSON = {3: "bad data", 4: "an alarm"}  # exit statuses of `kiban cycle`: another try would say the same

_file = importlib.util.spec_from_file_location("stages", ROOT / "src/kiban/runners/stages.py")
stages = importlib.util.module_from_spec(_file)
_file.loader.exec_module(stages)

# A scheduled run takes no batch after that of its data interval.
OF_INTERVAL = (
    f"(data_interval_start.in_timezone('{SETTINGS['timezone']}').strftime('{SETTINGS['until']}')"
    " if dag_run.run_type in ('scheduled', 'backfill') else '')"
)
VARIABLES = {
    "KIBAN_REPOSITORY": SETTINGS["repository"],
    "KIBAN_PROJECT": SETTINGS.get("project", ""),
    "KIBAN_RUN": "{{ run_id }}",
    "KIBAN_NEW": "{{ '1' if params.new else '' }}",
    "KIBAN_UNTIL": "{{ (params.until or " + OF_INTERVAL + ") if params.new else '' }}",
}
PARAMS = {
    "new": Param(True, type="boolean", description="first take what the sources have and the ledger lacks"),
    "until": Param("", type="string", description="and no batch after this one"),
}
if WHERE != "folder":  # which is one clone: other parameters would stay in it
    VARIABLES |= {"KIBAN_COMMIT": "{{ params.commit }}", "KIBAN_OVERRIDES": "{{ params.overrides }}"}
    PARAMS |= {
        "overrides": Param("", type="string", description="such as model=logistic model.C=0.1"),
        "commit": Param("", type="string", description="a commit, tag or branch; the default branch without it"),
    }
TAKE_NEW = '{ [ -z "$KIBAN_NEW" ] || kiban ingest --new ${KIBAN_UNTIL:+--until "$KIBAN_UNTIL"}; }'


def machine(stage: str) -> dict[str, Any]:
    return {**SETTINGS["machine"], "where": WHERE, **SETTINGS["stages"].get(stage, {})}


def in_folder(stage: str, **settings: Any) -> BaseOperator:
    """In the one clone of this machine."""
    command = f"dvc repro --single-item {shlex.quote(stage)}"
    if stage == "ingest":
        command = f"{TAKE_NEW} && {command}"
    if stage == "--publish":
        command = 'kiban step --publish --here --run "$KIBAN_RUN"'
    return BashOperator(bash_command=_activated(command), env=VARIABLES, append_env=True, cwd=_folder(), **settings)


def in_clone(stage: str, **settings: Any) -> BaseOperator:
    """In a fresh clone on the machine of the worker, with the packages of SETTINGS["folder"]."""
    return BashOperator(bash_command=_activated(_cloned("step", stage)), env=VARIABLES, append_env=True, **settings)


def in_pod(stage: str, **settings: Any) -> BaseOperator:
    """In a fresh clone in a pod."""
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from kubernetes.client import models as k8s

    size = machine(stage)
    memory = f"{size['memory']}Gi"
    return KubernetesPodOperator(
        name=job_name(stage),
        namespace=SETTINGS["namespace"],
        image=SETTINGS["image"],
        cmds=["kiban-clone", "kiban", "step", stage],
        env_vars=VARIABLES,
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=SETTINGS["secret"]))],
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": str(size["cpu"]), "memory": memory}, limits={"memory": memory}
        ),
        on_finish_action="delete_pod",
        **settings,
    )


def in_batch(stage: str, **settings: Any) -> BaseOperator:
    """In a job of AWS Batch: runners/batch.yaml."""
    from airflow.providers.amazon.aws.operators.batch import BatchOperator

    batch, size = yaml.safe_load((ROOT / "runners/batch.yaml").read_text()), machine(stage)
    return BatchOperator(
        job_name=job_name(stage),
        job_definition=batch["name"],
        job_queue=batch["queue"],
        container_overrides={
            "command": ["kiban-clone", "kiban", "step", stage],
            "environment": [{"name": name, "value": value} for name, value in VARIABLES.items()],
            "resourceRequirements": [
                {"type": "VCPU", "value": str(size["cpu"])},
                {"type": "MEMORY", "value": str(size["memory"] * 1024)},
            ],
        },
        submit_job_timeout=size["minutes"] * 60,
        **settings,
    )


def in_sagemaker(stage: str, **settings: Any) -> BaseOperator:
    """In a processing job: runners/sagemaker.yaml."""
    from airflow.providers.amazon.aws.operators.sagemaker import SageMakerProcessingOperator

    config = yaml.safe_load((ROOT / "runners/sagemaker/processing-job.yaml").read_text())
    config["ProcessingJobName"] = job_name(stage)
    config["StoppingCondition"]["MaxRuntimeInSeconds"] = machine(stage)["minutes"] * 60
    config["AppSpecification"]["ContainerEntrypoint"] = ["kiban-clone", "kiban", "step", stage]
    config["Environment"] |= VARIABLES
    return SageMakerProcessingOperator(config=config, action_if_job_exists="timestamp", **settings)


PLACES: dict[str, Callable[..., BaseOperator]] = {
    "folder": in_folder,
    "clone": in_clone,
    "pod": in_pod,
    "batch": in_batch,
    "sagemaker": in_sagemaker,
}


def job_name(stage: str) -> str:
    return f"{NAME}-{stages.task(stage).strip('-').lower()}"


def _folder() -> str:
    return str(Path(SETTINGS["folder"]) / SETTINGS.get("project", ""))


def _activated(command: str) -> str:
    # PATH is set in the command: Airflow's bash may read ~/.bashrc, which may change it.
    return f"cd {shlex.quote(_folder())} && . .venv/bin/activate && cd - > /dev/null && {command}"


def _cloned(*command: str) -> str:
    return f"exec bash {shlex.quote(str(ROOT / 'runners/clone.sh'))} kiban {shlex.join(command)}"


class CycleOperator(BashOperator):
    """`kiban cycle`, which is tried again where that may help: not after bad data, and not after an alarm."""

    def execute(self, context: Any) -> None:
        command, env = ["bash", "-c", self.bash_command], self.get_env(context)
        done = self.subprocess_hook.run_command(command, env=env, cwd=self.cwd)
        if done.exit_code in ASK_A_PERSON:
            raise AirflowFailException(f"{ASK_A_PERSON[done.exit_code]}: {done.output}")
        if done.exit_code:
            raise AirflowException(f"kiban cycle ended with {done.exit_code}: {done.output}")


SCHEDULED = {
    "start_date": datetime.combine(SETTINGS["start"], datetime.min.time()),
    "catchup": False,
    "max_active_runs": 1,
    "tags": [NAME],
}

with DAG(
    NAME,
    schedule=CronDataIntervalTimetable(SETTINGS["schedule"], timezone=SETTINGS["timezone"]),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=SETTINGS["retry_seconds"])},
    params=PARAMS,
    **SCHEDULED,
) as graph:
    before = stages.stages(ROOT)
    tasks = {
        stage: PLACES[machine(stage)["where"]](
            stage, task_id=stages.task(stage), execution_timeout=timedelta(minutes=machine(stage)["minutes"])
        )
        for stage in before
    }
    publish = PLACES[WHERE]("--publish", task_id="publish", outlets=[Asset(NAME, f"kiban://{NAME}/model")])
    for stage, others in before.items():
        tasks[stage] << [tasks[each] for each in others]
    publish << [tasks[stage] for stage in stages.last(before)]

with DAG(
    f"{NAME}-cycle",
    schedule=CronDataIntervalTimetable(SETTINGS["cycle"], timezone=SETTINGS["timezone"]),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=SETTINGS["retry_seconds"])},
    **SCHEDULED,
) as cycle:
    CycleOperator(
        task_id="cycle",
        bash_command=_activated("exec kiban cycle") if WHERE == "folder" else _activated(_cloned("cycle")),
        env={
            "KIBAN_REPOSITORY": SETTINGS["repository"],
            "KIBAN_PROJECT": SETTINGS.get("project", ""),
            "KIBAN_RELEASE": SETTINGS["release"],
        },
        append_env=True,
        cwd=_folder() if WHERE == "folder" else None,
    )
