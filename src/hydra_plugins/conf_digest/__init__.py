"""A Hydra plugin, which DVC loads through `hydra.plugins_path` whenever it composes params.yaml.

`${conf_digest:}` is the digest of conf/ in the working directory or the nearest folder above it. `${oc.env:}` is
refused: the value of the variable, often a password, would be written to params.yaml and committed.
"""

from pathlib import Path
from typing import NoReturn

from omegaconf import OmegaConf

from kiban.config.digest import digest


def _nearest_digest() -> str:
    here = Path.cwd()
    return digest(next(folder / "conf" for folder in (here, *here.parents) if (folder / "conf/config.yaml").exists()))


def _refuse(variable: str, *_: object) -> NoReturn:
    raise ValueError(f"the value of {variable} would be written to params.yaml; give its name, as url_env does")


OmegaConf.register_new_resolver("oc.env", _refuse, replace=True)
OmegaConf.register_new_resolver("conf_digest", _nearest_digest, replace=True)
