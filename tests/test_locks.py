"""The locks name exact versions and no index; what few users need stands in none that all install."""

import re
import tomllib

import pytest
from slice import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CORE = set(re.findall(r"^CORE_EXTRAS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def test_every_extra_is_in_the_core_lock_or_has_its_own() -> None:
    locked = {name for path in LOCKS for name in re.findall(r"requirements\.(\w+)\.lock", path.name)}
    assert set(EXTRAS) >= CORE
    assert locked - {"serve"} == set(EXTRAS) - CORE


def test_the_databases_clients_are_in_the_core_lock() -> None:
    core = (ROOT / "requirements.lock").read_text()
    for extra in CORE:
        for requirement in EXTRAS[extra]:
            assert f"\n{re.split(r'[^a-z0-9-]', requirement)[0]}==" in core


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_hashes_and_names_no_index(path: object) -> None:
    lines = (ROOT / str(path)).read_text().splitlines()
    assert not [line for line in lines if "://" in line or "index-url" in line]
    pins = [number for number, line in enumerate(lines) if "==" in line]
    assert pins
    assert all(lines[number + 1].strip().startswith("--hash=sha256:") for number in pins)
