"""The scripts of ci/, which no package has."""

import importlib.util
from types import ModuleType

import pytest
from slice import ROOT


def script(name: str) -> ModuleType:
    """The module in ci/NAME.py."""
    specification = importlib.util.spec_from_file_location(name, ROOT / f"ci/{name}.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def comment() -> ModuleType:
    return script("comment")


@pytest.fixture(scope="session")
def deliver() -> ModuleType:
    return script("deliver")
