"""`kiban compose`: composes params.yaml from conf/, and adopts an experiment into conf/."""

from pathlib import Path

import click
from pydantic import TypeAdapter

from kiban.config import composition
from kiban.config.params import Params
from kiban.core import files
from kiban.core.errors import KibanError
from kiban.core.paths import PARAMS
from kiban.core.settings import changed, load, parse
from kiban.core.text import plain


@click.command()
@click.argument("overrides", nargs=-1, metavar="[OVERRIDE]...")
@click.option("--check", is_flag=True, help="Write nothing; exit with status 1 if params.yaml is not the composition.")
@click.option(
    "--adopt",
    metavar="NAME",
    help="Write the present params.yaml, such as that of `dvc exp apply`, as conf/experiment/NAME.yaml, and make that "
    "the default.",
)
def compose(overrides: tuple[str, ...], check: bool, adopt: str | None) -> None:
    """Compose params.yaml from conf/, with Hydra overrides such as model=logistic or model.C=0.1.

    Prints each key that changes.

    \b
    Examples:
      kiban compose
      kiban compose model=logistic model.C=0.1
      kiban compose --adopt large_trees
    """
    if adopt is not None and (check or overrides):
        raise KibanError("--adopt takes params.yaml as it is: it allows neither overrides nor --check")
    if adopt is not None:
        path = composition.adopt(adopt)
        print(f"compose: {path} is the default now; run `dvc repro`, then commit")
        return
    content = composition.composed(Path(), list(overrides))
    params = parse(content, TypeAdapter(Params), "what is composed", "correct the override, or conf/")
    params.applies_to.check(params.dataset.name, "the overlay of conf/experiment")
    if check:
        if not PARAMS.exists() or PARAMS.read_bytes() != content:
            raise KibanError(f"{PARAMS} is not the composition of conf/: run `kiban compose`")
        return
    if not PARAMS.exists() or load(PARAMS.read_bytes()).get("model") != params.model:
        from kiban.train import estimator  # the import takes seconds

        estimator.check(params.model)
    before = load(PARAMS.read_bytes()) if PARAMS.exists() else {}
    files.write(PARAMS, content)
    if before:
        for key, (old, new) in changed(before, load(content)).items():
            print(f"{key}: {plain(old)} → {plain(new)}")
