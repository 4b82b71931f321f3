"""params.yaml from conf/, and back: an overlay of conf/experiment/ from a params.yaml that differs."""

import re
import tempfile
from pathlib import Path

import yaml

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.core.paths import CONFIG, EXPERIMENTS, PARAMS
from kiban.core.settings import Nested, leaves, load


def composed(root: Path, overrides: list[str]) -> bytes:
    """The bytes of params.yaml as DVC composes it from `root`/conf; KibanError if it cannot be composed."""
    from dvc.utils.hydra import compose_and_dump  # the function that `dvc exp run` calls; imports take a second
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "params.yaml"
        try:
            compose_and_dump(output, str((root / "conf").resolve()), None, "config", str(root / "src"), overrides)
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
            raise KibanError(f"conf/ does not compose: {' '.join(str(error).split())}") from None
        content = output.read_bytes()
    load(content)  # or it would be written, and refused by every stage
    return content


def overlay(root: Path, wanted: Nested, comment: str) -> str:
    """The text of an overlay by which conf/ composes to `wanted`: groups first, then the values that still differ.

    Raises KibanError if nothing differs from conf/ without an overlay, or if `wanted` lacks a key that conf/ has, for
    an overlay cannot take one away.
    """
    plain = ["experiment=none"]
    defaults = _groups(root)
    if load(composed(root, plain)) == wanted:
        raise KibanError("params.yaml is what conf/ composes to without an overlay: there is nothing to adopt")
    chosen = {group: _nearest(root, group, default, wanted, plain) for group, default in defaults.items()}
    base = load(composed(root, [*plain, *(f"{group}={option}" for group, option in chosen.items())]))
    lacking = sorted(leaves(base).keys() - leaves(wanted).keys())
    if lacking:
        raise KibanError(f"params.yaml lacks {lacking[0]}, which conf/ has, and an overlay cannot take a key away")
    values = _differing(base, wanted)
    named = [
        f"  - override /{group}: {option}\n"
        for group, option in chosen.items()
        if option != defaults[group] or values.keys() & _sections(root, group, option)
    ]
    lines = ["# @package _global_\n", f"# {comment}\n", *(["defaults:\n", *named] if named else [])]
    return "".join(lines) + (yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if values else "")


def adopt(name: str) -> Path:
    """Keep params.yaml as conf/experiment/`name`.yaml, make that the default, and return its path.

    Raises KibanError if there is such a file, if no overlay composes to params.yaml, or if nothing is to be adopted.
    """
    check_name(name)
    if (EXPERIMENTS / f"{name}.yaml").exists():
        raise KibanError(f"{EXPERIMENTS / name}.yaml is there already: choose another name, or delete it")
    if not PARAMS.exists():
        raise KibanError(f"{PARAMS} is missing: bring an experiment with `dvc exp apply NAME`")
    wanted, config = load(PARAMS.read_bytes()), with_default(Path(), name)
    text = overlay(Path(), wanted, "Adopted from an experiment; say here why it won.")
    path = write_overlay(Path(), name, text, wanted)
    files.write(CONFIG, config)
    files.write(PARAMS, composed(Path(), []))
    return path


def check_name(name: str) -> None:
    """Raise KibanError if an overlay cannot be called so."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not isinstance(yaml.load(name, yaml.CSafeLoader), str):
        raise KibanError(
            f"{name!r} is no name for an overlay: small letters, digits and _, and no word like yes or null"
        )


def write_overlay(root: Path, name: str, text: str, wanted: Nested) -> Path:
    """Write an overlay, which must compose to `wanted`, whole or not at all; KibanError if that cannot be."""
    path = root / EXPERIMENTS / f"{name}.yaml"
    before = path.read_bytes() if path.exists() else None
    files.write(path, text.encode())
    try:
        same = load(composed(root, [f"experiment={name}"])) == wanted
    except KibanError:
        same = False
    if not same:
        if before is None:
            path.unlink()
        else:
            files.write(path, before)
        raise KibanError("no overlay was found that composes to params.yaml: change conf/ by hand")
    return path


def with_default(root: Path, name: str) -> bytes:
    """The content of conf/config.yaml that takes the overlay `name`; KibanError if it takes none now."""
    text, replaced = re.subn(r"(?m)^(\s*- experiment:) \S+", rf"\1 {name}", (root / CONFIG).read_text(encoding="utf-8"))
    if not replaced:
        raise KibanError(f"{CONFIG}: there is no line `- experiment: …` among the defaults")
    return text.encode()


def _groups(root: Path) -> dict[str, str]:
    """The groups that conf/config.yaml composes, with the option that it takes, the overlay aside."""
    entries = yaml.load((root / CONFIG).read_bytes(), yaml.CSafeLoader)["defaults"]
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return {group: option for group, option in pairs if group != "experiment"}


def _nearest(root: Path, group: str, default: str, wanted: Nested, plain: list[str]) -> str:
    """The option of a group that leaves the fewest differences from `wanted`."""
    options = sorted(path.stem for path in (root / "conf" / group).glob("*.yaml"))
    if len(options) < 2:
        return default
    aim = leaves(wanted)

    def distance(option: str) -> tuple[int, int, bool]:
        """Keys that an overlay would have to take away, then values that it would have to change."""
        values = leaves(load(composed(root, [*plain, f"{group}={option}"])))
        differing = sum(path not in values or values[path] != value for path, value in aim.items())
        return len(values.keys() - aim.keys()), differing, option != default

    return min(options, key=distance)


def _sections(root: Path, group: str, option: str) -> set[str]:
    """The sections of params.yaml that an option fills."""
    text = (root / "conf" / group / f"{option}.yaml").read_text(encoding="utf-8")
    if not text.startswith("# @package _global_"):
        return {group}
    return set(yaml.load(text, yaml.CSafeLoader)) - {"defaults"}


def _differing(base: Nested, wanted: Nested) -> Nested:
    """The part of `wanted` that is not so in `base`."""
    differing: Nested = {}
    for name, value in wanted.items():
        if isinstance(value, dict) and value and isinstance(base.get(name), dict):
            if inner := _differing(base[name], value):
                differing[name] = inner
        elif name not in base or base[name] != value:
            differing[name] = value
    return differing
