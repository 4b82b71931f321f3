"""versions.yaml is what is locked and installed, or a run stops before it makes other bytes."""

import re
from pathlib import Path

import pytest
from slice import ROOT

from kiban.core import versions
from kiban.core.errors import KibanError
from kiban.maintain.versions import locked


def test_what_is_installed_is_what_the_file_says() -> None:
    versions.check_installed(versions.read((ROOT / "versions.yaml").read_bytes(), "versions.yaml"))


@pytest.mark.parametrize(("name", "installed"), [("numpy", r"[0-9.]+"), ("no-such-package", "no version")])
def test_another_version_stops_every_stage_and_names_the_set_up(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, installed: str
) -> None:
    lines = [line for line in Path("versions.yaml").read_text().splitlines() if not line.startswith(name)]
    Path("versions.yaml").write_text("\n".join([*lines, f'{name}: "1.0"']))
    for said in (
        f"{name} is installed in {installed}, and versions.yaml says 1.0: `make -B .venv/installed` sets up",
        "versions.yaml is missing",
    ):
        with pytest.raises(SystemExit) as ended:
            versions.run_stage(pytest.fail)
        assert ended.value.code == 1
        assert re.search(said, capsys.readouterr().err)
        Path("versions.yaml").unlink(missing_ok=True)


@pytest.mark.parametrize("content", [b"numpy: 1", b"[numpy]", b"numpy: [1]", b"<<<<<<< HEAD\nnumpy: '1'\n"])
def test_what_is_no_list_of_versions_is_one_line(content: bytes) -> None:
    with pytest.raises(KibanError, match=r"^versions\.yaml"):
        versions.read(content, "versions.yaml")


def test_the_versions_are_read_from_the_lock() -> None:
    lock = "numpy==2.4.6 \\\n    --hash=sha256:00\nuvloop==0.22 ; sys_platform != 'win32' \\\n    --hash=sha256:00\n"
    assert locked(["uvloop", "numpy"], lock) == {"numpy": "2.4.6", "uvloop": "0.22"}
    with pytest.raises(KibanError, match="no lock has pandas"):
        locked(["pandas"], lock)
