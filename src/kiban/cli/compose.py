"""`kiban compose`: params.yaml from conf/."""

import tempfile
from pathlib import Path

import click

from kiban import files
from kiban.errors import KibanError
from kiban.settings.base import PARAMS


def composed(root: Path, overrides: list[str]) -> bytes:
    """The bytes of params.yaml as DVC composes it from `root`/conf; KibanError if it cannot be composed."""
    from dvc.utils.hydra import compose_and_dump  # the function that `dvc exp run` calls; imports take a second
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "params.yaml"
        try:
            compose_and_dump(output, str((root / "conf").resolve()), None, "config", str(root / "src"), overrides)
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            raise KibanError(f"conf/ does not compose: {' '.join(str(error).split())}") from None
        return output.read_bytes()


@click.command()
@click.argument("overrides", nargs=-1, metavar="[OVERRIDE]...")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if params.yaml is not the composition.")
def compose(overrides: tuple[str, ...], check: bool) -> None:
    """Compose params.yaml from conf/, with Hydra overrides such as model=logistic or model.C=0.1."""
    content = composed(Path(), list(overrides))
    if check:
        if not PARAMS.exists() or PARAMS.read_bytes() != content:
            raise KibanError(f"{PARAMS} is not the composition of conf/: run `kiban compose`")
        return
    files.write(PARAMS, content)
