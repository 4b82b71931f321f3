"""versions.yaml: the versions of the packages that shape bytes, of which each stage names its own in dvc.yaml."""

import importlib.metadata
from collections.abc import Callable

from pydantic import TypeAdapter

from kiban.core import paths
from kiban.core.errors import KibanError, exit_on_error
from kiban.core.settings import parse

BOOSTERS = {"lightgbm": "lightgbm", "xgboost": "xgboost-cpu"}
"""By module: the package of estimators that few need, which has a lock of its own extra."""
OPTIONAL = (*BOOSTERS.values(), "onnxmltools", "pyspark")


def read(content: bytes, where: str) -> dict[str, str]:
    """The version of each package. Raises KibanError, which starts with `where`, if the content is none of versions."""
    return parse(content, TypeAdapter(dict[str, str]), where, "run `make lock PACKAGE=NAME`, or `git checkout`")


def check_installed(versions: dict[str, str]) -> None:
    """Raise KibanError if another version of a package is installed: what runs would make other bytes.

    A package that is optional may be absent.
    """
    for name, version in versions.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in OPTIONAL:
                continue
            installed = "no version"
        if installed != version:
            raise KibanError(
                f"{name} is installed in {installed}, and {paths.VERSIONS} says {version}: `make -B .venv/installed` "
                "sets up what requirements.lock has"
            )


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage, with the packages that versions.yaml names: dvc.lock would say that these made its outputs."""

    def checked() -> None:
        if not paths.VERSIONS.exists():
            raise KibanError(f"{paths.VERSIONS} is missing: restore it with `git checkout`")
        check_installed(read(paths.VERSIONS.read_bytes(), str(paths.VERSIONS)))
        main()

    exit_on_error(checked)
