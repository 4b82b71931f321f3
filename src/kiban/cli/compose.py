"""`kiban compose`: params.yaml from conf/, and a winning experiment into conf/."""

from pathlib import Path

import click

from kiban import files
from kiban.composition import composed, load, make_default, overlay, write_overlay
from kiban.errors import KibanError
from kiban.settings.base import PARAMS


@click.command()
@click.argument("overrides", nargs=-1, metavar="[OVERRIDE]...")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if params.yaml is not the composition.")
@click.option(
    "--adopt",
    metavar="NAME",
    help="Keep params.yaml, as `dvc exp apply` left it, as conf/experiment/NAME.yaml, and make that the default.",
)
def compose(overrides: tuple[str, ...], check: bool, adopt: str | None) -> None:
    """Compose params.yaml from conf/, with Hydra overrides such as model=logistic or model.C=0.1."""
    if adopt and (check or overrides):
        raise KibanError("--adopt takes params.yaml as it is: neither overrides nor --check go with it")
    if adopt:
        _adopt(adopt)
        return
    content = composed(Path(), list(overrides))
    if check:
        if not PARAMS.exists() or PARAMS.read_bytes() != content:
            raise KibanError(f"{PARAMS} is not the composition of conf/: run `kiban compose`")
        return
    files.write(PARAMS, content)


def _adopt(name: str) -> None:
    if not PARAMS.exists():
        raise KibanError(f"{PARAMS} is missing: bring an experiment with `dvc exp apply NAME`")
    wanted = load(PARAMS.read_bytes())
    path = write_overlay(
        Path(), name, overlay(Path(), wanted, "Adopted from an experiment; say here why it won."), wanted
    )
    make_default(Path(), name)
    files.write(PARAMS, composed(Path(), []))
    print(f"compose: {path} is the default now; `dvc repro`, then commit")
