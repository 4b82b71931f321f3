"""The locks name exact versions and no index; what few users need stands in none that all install."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from clones import run
from slice import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CORE = set(re.findall(r"^CORE_EXTRAS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())
OWN = set(re.findall(r"^PLATFORMS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())
"""Those of environments of their own, which are never installed beside the core's."""
PINNED = re.compile(r"(?m)^([a-z0-9.-]+)==([^ ;]+)")
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def test_every_extra_is_in_the_core_lock_or_has_its_own() -> None:
    locked = {name for path in LOCKS for name in re.findall(r"requirements\.(\w+)\.lock", path.name)}
    assert set(EXTRAS) >= CORE
    assert locked - {"serve"} == (set(EXTRAS) - CORE) | OWN


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


@pytest.mark.parametrize(
    ("configured", "kept", "asked", "installed"),
    [
        ("", "", "", []),
        ("s3://bucket/path", "", "", []),
        ("gs://bucket/path", "", "", ["gs"]),
        ("azure://container/path", "ssh\n", "", ["azure", "ssh"]),
        ("", "gs\n", "ssh", ["gs", "ssh"]),
    ],
)
def test_the_stores_of_the_remotes_and_those_asked_for_are_installed(
    tmp_path: Path, configured: str, kept: str, asked: str, installed: list[str]
) -> None:
    for path in [ROOT / "Makefile", ROOT / "pyproject.toml", *LOCKS]:
        shutil.copy(path, tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(f"['remote \"store\"']\n    url = {configured}\n" if configured else "")
    if kept:
        (tmp_path / ".store").write_text(kept)
    plan = run(tmp_path, "make", "-n", ".venv/installed", *([f"STORE={asked}"] if asked else []))
    (line,) = re.findall(r"for store in (.*?); do", plan)
    assert line.split() == installed
    assert (tmp_path / ".store").exists() == bool(kept)


def test_another_version_of_what_shapes_bytes_is_in_no_lock() -> None:
    core = set(PINNED.findall((ROOT / "requirements.lock").read_text()))
    names = {name for name, _ in core}
    for path in LOCKS:
        if path.name.split(".")[1] in OWN:
            continue
        assert {pin for pin in PINNED.findall(path.read_text()) if pin[0] in names} <= core, path
