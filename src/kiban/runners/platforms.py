"""What a team decides about each platform that runs the graph, runners/NAME.yaml, and the files written from it."""

import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, model_validator

from kiban.core.errors import KibanError
from kiban.core.files import sha256
from kiban.core.settings import Settings, parse
from kiban.runners.stages import last, stages, task

FOLDER = Path("runners")
PUBLISH = "publish"
"""The name of the last task, which is no stage."""
PIPELINE = FOLDER / "kubeflow/pipeline.yaml"
TEMPLATES = Path(__file__).parent / "templates"
ADVICE = "correct it, then run `make runners`"

Word = Annotated[str, StringConstraints(pattern=r"^[^\s{}]+$")]
"""A text without blanks and without the braces that platforms fill."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=48)]
"""A name as all platforms allow it: that of Kubernetes (RFC 1123), with room for a suffix."""
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
Folder = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9_.-]*/?)*$")]


def _cron(text: str) -> str:
    if not re.fullmatch(r"[\d*/,-]+( [\d*/,A-Za-z-]+){4}", text):
        raise ValueError("give the five fields of cron, such as 0 5 2 * *")
    return text


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError("give a time zone, such as Europe/Berlin")
    return text


Cron = Annotated[str, AfterValidator(_cron)]
"""Minute, hour, day of the month, month and day of the week."""
Zone = Annotated[str, AfterValidator(_zone)]
Minutes = Annotated[int, Field(gt=0)]
GiB = Annotated[int, Field(gt=0)]
Processors = Annotated[float, Field(gt=0, strict=False)]


class Machine(Settings):
    """What a step asks for, and the minutes after which it is ended."""

    cpu: Processors
    memory: GiB
    minutes: Minutes


class Change(Settings):
    """What is other for one stage."""

    cpu: Processors | None = None
    memory: GiB | None = None
    minutes: Minutes | None = None


class Platform(Settings):
    """What every platform is told: its name for the model, the image of the steps, and where the project is in git."""

    name: Name
    image: Word
    repository: Word
    project: Folder = ""


class Sized(Platform):
    """A platform where each stage may have a machine of its own size."""

    machine: Machine
    stages: dict[str, Change] = {}

    def machine_of(self, stage: str) -> Machine:
        """The machine of a stage."""
        change = self.stages.get(stage, Change()).model_dump(exclude_none=True)
        return self.machine.model_copy(update=change)


class Airflow(Sized):
    where: Literal["folder", "clone", "pod", "batch", "sagemaker"]
    stages: dict[str, "Place"] = {}  # type: ignore[assignment]
    folder: Word
    namespace: Name
    secret: Name
    start: date
    schedule: Cron
    until: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_%-]*$")]
    cycle: Cron
    timezone: Zone
    retry_seconds: Annotated[int, Field(gt=0)]
    release: Word

    def places(self) -> set[str]:
        """Where the stages run."""
        return {self.where, *(place.where for place in self.stages.values() if place.where)}

    @model_validator(mode="after")
    def _one_folder(self) -> Self:
        if self.where == "folder" and any(place.where for place in self.stages.values()):
            raise ValueError("where: folder is for all stages: what a step needs is handed on by git otherwise")
        return self


class Place(Change):
    where: Literal["clone", "pod", "batch", "sagemaker"] | None = None


class Argo(Sized):
    secret: Name
    schedule: Cron
    cycle: Cron
    timezone: Zone
    release: Name


class Batch(Sized):
    queue: Word
    execution_role: Word
    job_role: Word
    secrets: dict[Variable, Word] = {}


class Kubeflow(Sized):
    secret: Name
    keys: list[Variable]
    runtime: Name


class SageMaker(Platform):
    role: Word
    instance: Word
    disk: GiB
    minutes: Minutes
    store: Word
    output: Word
    environment: dict[Variable, str] = {}


class Vertex(Platform):
    instance: Word
    minutes: Minutes
    account: Word
    environment: dict[Variable, str] = {}


class AzureMl(Platform):
    compute: Word
    minutes: Minutes
    environment: dict[Variable, str] = {}


PLATFORMS: dict[str, tuple[type[Platform], tuple[str, ...]]] = {
    "airflow": (Airflow, ()),  # its DAG file reads runners/airflow.yaml itself
    "argo": (Argo, ("argo/workflows.yaml",)),
    "azureml": (AzureMl, ("azureml/job.yaml",)),
    "batch": (Batch, ("batch/job-definition.yaml",)),
    "kubeflow": (Kubeflow, ("kubeflow/trainjob.yaml",)),
    "sagemaker": (SageMaker, ("sagemaker/training-job.yaml", "sagemaker/processing-job.yaml")),
    "vertex": (Vertex, ("vertex/custom-job.yaml",)),
}
"""By name: the type of runners/NAME.yaml, and the files in runners/ that are written from it."""


def names() -> list[str]:
    """The platforms that runners/ has a NAME.yaml of."""
    return [name for name in PLATFORMS if _settings_file(name).is_file()]


def written(name: str, graph: Mapping[str, list[str]]) -> dict[Path, str]:
    """By path: the content of the files of a platform, for the stages of `graph` with those directly before each.

    Raises KibanError if runners/NAME.yaml does not fit.
    """
    settings = read(name, graph)
    environment = Environment(  # noqa: S701  # what is filled in is `quoted`, or fits a pattern
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quoted": quoted, "task": task}
    values = {"settings": settings, "graph": graph, "last": last(graph)}
    return {FOLDER / path: environment.get_template(f"{path}.j2").render(values) for path in PLATFORMS[name][1]}


def read(name: str, graph: Mapping[str, list[str]]) -> Any:
    """The settings of a platform. Raises KibanError if they do not fit, or name a stage that the graph has not."""
    path = _settings_file(name)
    if not path.is_file():
        raise KibanError(f"there is no {path}, which says what the platform needs: take it from the release")
    settings = parse(path.read_bytes(), TypeAdapter(PLATFORMS[name][0]), str(path), ADVICE)
    if isinstance(settings, Sized) and (unknown := settings.stages.keys() - graph.keys()):
        raise KibanError(f"{path}: stages.{min(unknown)}: there is no such stage, but {', '.join(graph)}; {ADVICE}")
    for other in settings.places() & PLATFORMS.keys() if isinstance(settings, Airflow) else ():
        if not _settings_file(other).is_file():
            raise KibanError(f"{path}: a stage is to run in {other}, and there is no {_settings_file(other)}")
    return settings


def check_pipeline(graph: Mapping[str, list[str]]) -> None:
    """Raise KibanError if the compiled pipeline of Kubeflow is not of these stages, and of the settings as they are.

    To compile it needs packages of its own.
    """
    if not PIPELINE.is_file() or not _settings_file("kubeflow").is_file():
        return
    content = PIPELINE.read_text()
    if sha256(_settings_file("kubeflow")) not in content.partition("\n")[0]:
        raise KibanError(f"{PIPELINE} is not of {_settings_file('kubeflow')} as it is: run `make kubeflow`")
    tasks = next(iter(yaml.load_all(content, yaml.CSafeLoader)))["root"]["dag"]["tasks"]
    compiled = {name: set(each.get("dependentTasks", [])) for name, each in tasks.items()}
    if compiled != {task(stage): set(map(task, before)) for stage, before in {**graph, PUBLISH: last(graph)}.items()}:
        raise KibanError(f"{PIPELINE} has not the stages of dvc.lock: run `make kubeflow`")


def committed_graph() -> dict[str, list[str]]:
    """The stages of the committed dvc.lock, each with those directly before it.

    Raises KibanError if there is none yet, and if two stages have one name as schedulers allow it.
    """
    try:
        graph = stages(Path())
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        raise KibanError("there is no dvc.lock with stages yet: run `dvc repro`, and commit it") from None
    named = {PUBLISH: PUBLISH}
    for stage in graph:
        if other := named.get(task(stage)):
            raise KibanError(f"the stages {other} and {stage} are both called {task(stage)} by schedulers: rename one")
        named[task(stage)] = stage
    return graph


def quoted(value: object) -> str:
    """A value as YAML and JSON alike have it, in quotes, so that nothing in it is read as syntax."""
    return json.dumps(f"{value:g}" if isinstance(value, float) else str(value), ensure_ascii=False)


def _settings_file(name: str) -> Path:
    return FOLDER / f"{name}.yaml"
