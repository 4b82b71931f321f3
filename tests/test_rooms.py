"""The rooms of src/kiban and the arrows between them: who may import whom. docs/architecture.md shows them."""

import importlib
import subprocess
import sys

import grimp
import pytest

IMPORTS = grimp.build_graph("kiban", cache_dir=None)  # what only types need counts too

LIBRARY = ("core", "data", "tasks", "sources", "features", "servable")
MAY_USE: dict[str, tuple[str, ...]] = {  # of the library
    "core": (),
    "data": ("core",),
    "tasks": ("core", "data"),
    "sources": ("core", "data"),
    "features": ("core", "data"),
    "servable": ("core", "data", "tasks"),
}
STAGES = ("config", "ingest", "validate", "prepare", "train", "evaluate", "track")
ABOVE = (
    "request",
    "serve",
    "score",
    "review",
    "tune",
    "profile",
    "operate",
    "notebook",
    "maintain",
    "runners",
    "cli",
)  # may use those before
NEVER = {("score", "serve")}  # what answers, and what answers in bulk, share request/ only


def room(module: str) -> str:
    return module.split(".")[1]


def allowed(importer: str, imported: str) -> bool:
    one, other = room(importer), room(imported)
    if one == other:
        return True
    if importer.endswith(".settings"):
        return other in ("core", "data", "tasks")
    if one in LIBRARY:
        return other in MAY_USE[one]
    if other in LIBRARY:
        return True
    if one in STAGES:
        is_settings = one == "config" and imported.endswith(".settings")
        return is_settings or imported == "kiban.ingest.ledger"
    if (one, other) in NEVER or other not in (*STAGES, *ABOVE):
        return False
    return other in STAGES or ABOVE.index(other) < ABOVE.index(one)


MODULES = sorted(module for module in IMPORTS.modules if module.count(".") > 1)
ARROWS = sorted(
    (importer, imported)
    for importer in MODULES
    for imported in IMPORTS.find_modules_directly_imported_by(importer)
    if imported.count(".") > 1
)


def test_every_room_has_its_place() -> None:
    assert {room(module) for module in MODULES} <= {*LIBRARY, *STAGES, *ABOVE}


@pytest.mark.parametrize(("importer", "imported"), ARROWS, ids=lambda module: str(module).removeprefix("kiban."))
def test_imports_follow_the_arrows(importer: str, imported: str) -> None:
    assert allowed(importer, imported)


def test_no_rooms_import_each_other_in_a_circle() -> None:
    """The settings of the rooms aside, which config reads."""
    arrows = {(room(one), room(other)) for one, other in ARROWS if not other.endswith(".settings")}
    arrows = {(one, other) for one, other in arrows if one != other}
    left = {each for arrow in arrows for each in arrow}
    while free := {each for each in left if not any(one == each and other in left for one, other in arrows)}:
        left -= free
    assert not left


def test_a_contract_is_read_without_any_other_room_but_core() -> None:
    assert IMPORTS.find_modules_directly_imported_by("kiban.data.contract") <= {
        "kiban.core.errors",
        "kiban.core.paths",
        "kiban.core.settings",
        "kiban.data.batches",
        "kiban.data.written",
    }


@pytest.mark.parametrize("command", ["score", "ingest", "report"])
def test_the_command_line_imports_what_a_command_needs_only_when_it_runs(command: str) -> None:
    """`kiban --help` takes a fraction of a second."""
    importlib.import_module(f"kiban.cli.{command}")
    heavy = ("pandas", "pyarrow", "sklearn", "mlflow", "dvc", "hydra", "great_expectations", "ibis")
    code = f"import sys, kiban.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
