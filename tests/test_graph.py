"""dvc.yaml against the code: deps against the real import closure, params against what each stage reads."""

import importlib
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml
from conftest import ROOT

from kiban import validation
from kiban.settings.base import Sections
from kiban.settings.dataset import Identity
from kiban.stages import prepare

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
IMPORTS = grimp.build_graph("kiban", exclude_type_checking_imports=True, cache_dir=None)
DATASET = "flights"

# What answers, what answers in bulk as it would, and what runs them; the library is for them, not they for it.
UPPER = ("kiban.stages", "kiban.serving", "kiban.scoring", "kiban.cli")


def resolved(text: str) -> str:
    return text.replace("${dataset.name}", DATASET)


def files_of(module: str) -> set[str]:
    """The file of a module, and of a template that it renders."""
    path = Path("src") / Path(*module.split("."))
    file = path.with_suffix(".py") if (ROOT / path.with_suffix(".py")).exists() else path / "__init__.py"
    template = path.with_suffix(".html.j2")
    return {file.as_posix(), *([template.as_posix()] if (ROOT / template).exists() else [])}


def closure(stage: str) -> set[str]:
    """The source files that a stage imports, itself among them, and what it imports by name."""
    by_name = {"prepare": {f"kiban.features.{DATASET}"}, "ingest": IMPORTS.find_children("kiban.sources")}
    roots = {f"kiban.stages.{stage}"} | by_name.get(stage, set())
    modules = roots.union(*(IMPORTS.find_upstream_modules(root) for root in roots))
    return {file for name in modules for file in files_of(name) if not file.endswith("__init__.py")}


def declared(stage: str) -> set[str]:
    """The source files that dvc.yaml names for a stage; a folder stands for all its modules."""
    paths = [ROOT / resolved(dep) for dep in GRAPH[stage]["deps"] if dep.startswith("src/")]
    files = {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return {file.relative_to(ROOT).as_posix() for file in files if file.name != "__init__.py"}


@pytest.mark.parametrize("stage", GRAPH)
def test_deps_are_what_the_stage_imports(stage: str) -> None:
    assert declared(stage) == closure(stage)


# Modules that no result rests on: they say what is wrong, find files, or bring in what a memo's key has by value.
NO_RESULT = {"kiban.errors", "kiban.files", "kiban.ledger", "kiban.memo"}


@pytest.mark.parametrize(
    ("code", "roots"),
    [
        (validation.CODE, {"kiban.validation", "kiban.expectations"}),
        # The modules of kiban.features, of which the key has all, aside.
        (prepare.CODE, {"kiban.stages.prepare", *IMPORTS.find_children("kiban.features")}),
    ],
)
def test_a_memo_follows_all_code_that_its_result_rests_on(code: tuple[str, ...], roots: set[str]) -> None:
    modules = roots.union(*(IMPORTS.find_upstream_modules(root) for root in roots))
    by_value = {module for module in modules if module.startswith(("kiban.settings", "kiban.features"))}
    assert set(code) == modules - by_value - NO_RESULT - {"kiban"}


def sections(model: type[Sections]) -> set[str]:
    """The keys of params.yaml that the type reads."""
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        keys |= {f"{name}.{key}" for key in Identity.model_fields} if field.annotation is Identity else {name}
    return keys


@pytest.mark.parametrize("stage", GRAPH)
def test_params_are_what_the_stage_reads(stage: str) -> None:
    params: list[Any] = GRAPH[stage].get("params", [])
    if {"params.yaml": None} in params:
        return  # the whole file
    module = importlib.import_module(f"kiban.stages.{stage}")
    assert set(params) == sections(module.Params)


def test_only_config_and_track_read_the_whole_of_params() -> None:
    whole = [stage for stage, of in GRAPH.items() if {"params.yaml": None} in of.get("params", [])]
    assert whole == ["config", "track"]


def test_no_stage_depends_on_serving_scoring_or_the_command_line() -> None:
    for stage in GRAPH:
        for dep in GRAPH[stage]["deps"]:
            assert not any(above in dep for above in ("serving", "scoring", "cli"))


def test_a_learning_rate_reaches_train_and_what_follows_only() -> None:
    reads_model = [stage for stage, of in GRAPH.items() if "model" in of.get("params", [])]
    assert reads_model == ["train"]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [(library, upper) for library in sorted(IMPORTS.find_children("kiban")) if library not in UPPER for upper in UPPER],
)
def test_the_library_does_not_import_what_stands_above_it(importer: str, imported: str) -> None:
    assert not IMPORTS.find_shortest_chains(importer, imported)


def test_the_contract_imports_only_the_error() -> None:
    assert IMPORTS.find_modules_directly_imported_by("kiban.contract") == {"kiban.errors"}
