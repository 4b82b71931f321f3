"""dvc.yaml against the code: deps against the real import closure, params against what each stage reads."""

import importlib.metadata
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml
from slice import ROOT, stage_module

from kiban.core import versions
from kiban.core.settings import Sections
from kiban.data.settings import Featured, Identity
from kiban.maintain.versions import LOCKS, locked

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
IMPORTS = grimp.build_graph("kiban", exclude_type_checking_imports=True, cache_dir=None)
DATASET = "flights"


def resolved(text: str) -> str:
    return text.replace("${dataset.name}", DATASET).replace("${dataset.features}", f"{DATASET}.py")


def file_of(module: str) -> str:
    return (Path("src") / Path(*module.split("."))).with_suffix(".py").as_posix()


def closure(stage: str) -> set[str]:
    """The source files that a stage imports, itself among them, and what it imports by name."""
    by_name = {"prepare": {f"kiban.features.{DATASET}"}, "ingest": IMPORTS.find_children("kiban.sources")}
    roots = {stage_module(stage).__name__} | by_name.get(stage, set())
    modules = roots.union(*(IMPORTS.find_upstream_modules(root) for root in roots))
    return {file_of(name) for name in modules if (ROOT / file_of(name)).exists()}  # a room's __init__ is a docstring


def declared(stage: str) -> set[str]:
    """The source files that dvc.yaml names for a stage; a folder stands for all its modules."""
    paths = [ROOT / resolved(dep) for dep in GRAPH[stage]["deps"] if dep.startswith("src/")]
    files = {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return {file.relative_to(ROOT).as_posix() for file in files if file.name != "__init__.py"}


@pytest.mark.parametrize("stage", GRAPH)
def test_deps_cover_what_the_stage_imports(stage: str) -> None:
    assert closure(stage) <= declared(stage)


# What a stage is rerun for without need, since dvc.yaml names its room: beside modules of core/ and data/, only these.
BEYOND = {
    "validate_raw": {"validate/prepared.py"},
    "validate_prepared": {"validate/raw.py"},
    "train": {"servable/evaluation.py", "tasks/applies_to.py", "tasks/own.py"},
    "evaluate": {"evaluate/gate.py", "servable/reference.py", "tasks/applies_to.py"},
    "track": {
        *("servable/columns.py", "servable/load.py", "servable/reference.py"),
        *("tasks/applies_to.py", "track/plots_page.py"),
    },
}


@pytest.mark.parametrize("stage", GRAPH)
def test_little_is_declared_beyond_what_the_stage_imports(stage: str) -> None:
    beyond = {file.removeprefix("src/kiban/") for file in declared(stage) - closure(stage)}
    assert {file for file in beyond if not file.startswith(("core/", "data/"))} == BEYOND.get(stage, set())


def test_what_a_task_answers_reruns_no_stage() -> None:
    """The words of an answer stand in request/."""
    assert not [file for stage in GRAPH for file in declared(stage) if "/request/" in file]


def test_a_room_is_an_empty_package() -> None:
    """Or its code would be imported, and not be seen, with every module in it."""
    for path in (ROOT / "src/kiban").glob("*/__init__.py"):
        if path.parent.name != "cli":
            assert path.read_text().count('"""') == 2, path
            assert "import" not in path.read_text().rpartition('"""')[2]


def sections(model: type[Sections]) -> set[str]:
    """The keys of params.yaml that the type reads."""
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        keys |= {f"{name}.{key}" for key in kind.model_fields} if kind in (Identity, Featured) else {name}
    return keys


def whole() -> list[str]:
    """The stages that depend on all of params.yaml, as a file."""
    return [stage for stage, entry in GRAPH.items() if "params.yaml" in entry["deps"]]


@pytest.mark.parametrize("stage", GRAPH)
def test_params_are_what_the_stage_reads(stage: str) -> None:
    params: list[Any] = GRAPH[stage].get("params", [])
    if stage in whole():
        assert not params
    else:
        assert {name for name in params if isinstance(name, str)} == sections(stage_module(stage).Params)


SHAPES_NO_BYTES = {  # of an output: what reads settings, shows progress, locks files, and speaks to DVC and MLflow
    *("click", "dvc", "dvc-data", "filelock", "fsspec", "hydra-core", "mlflow-skinny", "omegaconf", "pydantic"),
    *("pydantic-core", "pyyaml", "rich", "threadpoolctl", "vl-convert-python"),
}
CLIENTS = {"ingest": {"adbc-driver-postgresql", "numpy", "sqlalchemy"}}  # a snapshot is kept, whatever has taken it
# What a package of the closure computes or compiles with, and what is not installed here.
UNDERNEATH = {
    "train": {"scipy", *versions.OPTIONAL},
    "prepare": {"sqlglot", "pyspark"},
}
WITH_PACKAGES = grimp.build_graph(
    "kiban", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
)
DISTRIBUTIONS = importlib.metadata.packages_distributions()


@pytest.mark.parametrize("stage", sorted(set(GRAPH) - {"config", "track"}))
def test_a_stage_names_the_packages_that_shape_its_bytes(stage: str) -> None:
    """The stages config and track write a constant text."""
    (named,) = [entry["versions.yaml"] for entry in GRAPH[stage]["params"] if isinstance(entry, dict)]
    modules = closure(stage)
    packages = {
        DISTRIBUTIONS[package.partition(".")[0]][0].lower().replace("_", "-")
        for name in WITH_PACKAGES.modules
        if name.startswith("kiban.") and file_of(name) in modules
        for package in WITH_PACKAGES.find_modules_directly_imported_by(name)
        if package.partition(".")[0] in DISTRIBUTIONS and not package.startswith("kiban")
    }
    assert set(named) == packages - SHAPES_NO_BYTES - CLIENTS.get(stage, set()) | UNDERNEATH.get(stage, set())
    assert named == sorted(named)


def test_versions_yaml_is_what_is_locked() -> None:
    entries = [each for stage in GRAPH.values() for each in stage.get("params", []) if isinstance(each, dict)]
    names = {name for entry in entries for name in entry["versions.yaml"]}
    content = (ROOT / "versions.yaml").read_bytes()
    expected = locked(list(names), "".join((ROOT / name).read_text() for name in LOCKS))
    assert versions.read(content, "versions.yaml") == expected


def test_only_config_and_track_read_the_whole_of_params() -> None:
    assert whole() == ["config", "track"]


def test_a_learning_rate_reaches_train_and_what_follows_only() -> None:
    reads_model = [stage for stage, entry in GRAPH.items() if "model" in entry.get("params", [])]
    assert reads_model == ["train"]


def test_the_graph_fits_a_screen() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 215


def test_the_readme_draws_the_stages_in_their_order() -> None:
    drawn = (ROOT / "README.md").read_text().split("```mermaid\nflowchart LR\n")[1].split("```")[0]
    assert drawn.strip().split(" --> ") == list(GRAPH)
