"""The stage graph as a pipeline of Kubeflow: `make kubeflow` compiles it to runners/kubeflow/pipeline.yaml.

runners/kubeflow.yaml has what a team decides. It runs with the packages of requirements.kubeflow.lock alone.
"""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, dsl, kubernetes

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = yaml.safe_load((ROOT / "runners/kubeflow.yaml").read_text())
SECONDS = 60

_file = importlib.util.spec_from_file_location("stages", ROOT / "src/kiban/runners/stages.py")
stages = importlib.util.module_from_spec(_file)
_file.loader.exec_module(stages)


def component(stage: str) -> Callable[..., dsl.PipelineTask]:
    """A step in a fresh clone, as a component of its own."""

    def step(repository: str, project: str, commit: str, run: str, overrides: str, new: str, until: str):
        values = {"REPOSITORY": repository, "PROJECT": project, "COMMIT": commit, "RUN": run}
        values |= {"OVERRIDES": overrides, "NEW": new, "UNTIL": until}
        variables = [dsl.ConcatPlaceholder([f"KIBAN_{name}=", value]) for name, value in values.items()]
        return dsl.ContainerSpec(
            image=SETTINGS["image"], command=["env"], args=[*variables, "kiban-clone", "kiban", "step", stage]
        )

    step.__name__ = re.sub(r"\W+", "_", stage.strip("-"))
    step.__annotations__["return"] = dsl.ContainerSpec
    return dsl.container_component(step)


def prepared(task: dsl.PipelineTask, stage: str) -> dsl.PipelineTask:
    """The task with the size of its machine, its secrets and its retries: a repeated step does what is missing."""
    size: dict[str, Any] = {**SETTINGS["machine"], **SETTINGS["stages"].get(stage, {})}
    task.set_caching_options(False)  # the step knows itself what is done
    task.set_retry(2)
    task.set_cpu_request(str(size["cpu"])).set_memory_request(f"{size['memory']}Gi")
    task.set_memory_limit(f"{size['memory']}Gi")
    kubernetes.set_timeout(task, size["minutes"] * SECONDS)
    return kubernetes.use_secret_as_env(task, SETTINGS["secret"], {key: key for key in SETTINGS["keys"]}, optional=True)


@dsl.pipeline(name=SETTINGS["name"], description="The stage graph of dvc.yaml, each stage in a fresh clone.")
def pipeline(
    repository: str = SETTINGS["repository"],
    commit: str = "",
    overrides: str = "",
    new: str = "",
    until: str = "",
):
    """What a run is given: `overrides` such as model=logistic; `new`: 1, to take new data first, `until` a batch."""
    given = {"repository": repository, "project": SETTINGS.get("project", ""), "commit": commit}
    given |= {"run": dsl.PIPELINE_JOB_ID_PLACEHOLDER, "overrides": overrides, "new": new, "until": until}
    graph = stages.stages(ROOT)
    tasks = {stage: prepared(component(stage)(**given), stage) for stage in graph}
    for stage, before in graph.items():
        tasks[stage].after(*(tasks[each] for each in before))
    prepared(component("--publish")(**given), "--publish").after(*(tasks[each] for each in stages.last(graph)))


if __name__ == "__main__":
    file = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).with_suffix(".yaml"))
    compiler.Compiler().compile(pipeline, file)
    settings = hashlib.sha256((ROOT / "runners/kubeflow.yaml").read_bytes()).hexdigest()
    Path(file).write_text(f"# Of runners/kubeflow.yaml: {settings}\n{Path(file).read_text()}")
