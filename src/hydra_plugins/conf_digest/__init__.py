"""A Hydra plugin for `${conf_digest:}`: the digest of conf/ in the working directory or the nearest folder above it.

DVC loads it through `hydra.plugins_path` whenever it composes params.yaml.
"""

from pathlib import Path

from omegaconf import OmegaConf

from kiban.conf import digest


def _nearest_digest() -> str:
    here = Path.cwd()
    return digest(next(folder / "conf" for folder in (here, *here.parents) if (folder / "conf/config.yaml").exists()))


OmegaConf.register_new_resolver("conf_digest", _nearest_digest, replace=True)
