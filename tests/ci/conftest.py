"""The scripts of ci/."""

from types import ModuleType

import pytest
from slice import script


@pytest.fixture(scope="session")
def comment() -> ModuleType:
    return script("ci/comment.py")


@pytest.fixture(scope="session")
def deliver() -> ModuleType:
    return script("ci/deliver.py")
