"""Composing params.yaml from conf/, and the reverse: writing an overlay in conf/experiment/ for a given params.yaml."""

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.core.paths import CONFIG, EXPERIMENTS, PARAMS
from kiban.core.settings import APPLIES_TO, Nested, changed, check_no_conflict, leaves, load

LISTED = 3  # keys that are named in a sentence


def composed(root: Path, overrides: list[str]) -> bytes:
    """The bytes of params.yaml as DVC composes it from `root`/conf. Raises KibanError if conf/ does not compose."""
    for path in sorted((root / "conf").rglob("*.yaml")):
        check_no_conflict(path.read_bytes(), str(path))
    from dvc.utils.hydra import compose_and_dump  # the function that `dvc exp run` calls; imports take a second

    with tempfile.TemporaryDirectory() as folder, _composing():
        output = Path(folder) / "params.yaml"
        compose_and_dump(output, str((root / "conf").resolve()), None, "config", str(root / "src"), overrides)
        content = output.read_bytes()
    load(content)  # checks it here, because every stage would refuse it later
    return content


def choices(root: Path, overrides: list[str]) -> dict[str, str]:
    """The option of each group that Hydra takes with these overrides, without the group experiment.

    The files under conf/ do not tell: a dataset names the options of some groups. Raises KibanError like `composed`.
    """
    from dvc.utils.hydra import load_hydra_plugins
    from hydra import compose, initialize_config_dir

    load_hydra_plugins(str(root / "src"))
    with _composing(), initialize_config_dir(str((root / "conf").resolve()), version_base=None):
        config = compose("config", overrides, return_hydra_config=True)
    options: dict[str, str] = dict(config.hydra.runtime.choices)
    return {name: option for name, option in options.items() if not name.startswith("hydra/") and name != "experiment"}


@contextmanager
def _composing() -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into a KibanError."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise KibanError(f"conf/ does not compose: {' '.join(str(error).split())}") from None


def differing_keys(params: bytes, composition: bytes) -> list[str]:
    """The dotted keys in which two params.yaml differ, sorted, without the digest of conf/."""
    return list(changed(load(params), load(composition)))


def listed(keys: list[str]) -> str:
    """Keys for a sentence: the first few, and how many more there are."""
    return ", ".join(keys[:LISTED]) + (f" and {len(keys) - LISTED} more" if len(keys) > LISTED else "")


def overlay(root: Path, target: Nested, comment: str) -> str:
    """The text of an overlay with which conf/ composes to `target`: the options of groups, then the other values.

    It applies to the dataset of `target`, which must be the default one. Raises KibanError if it is not, if conf/
    composes to `target` without an overlay, or if `target` lacks a key that conf/ has: an overlay cannot remove a key.
    """
    plain = ["experiment=none"]
    defaults = choices(root, plain)
    without = load(composed(root, plain))
    dataset, default = target["dataset"]["name"], without["dataset"]["name"]
    if dataset != default:
        raise KibanError(f"params.yaml is of the dataset {dataset}, but {CONFIG} names {default}: name {dataset} there")
    target = _of_its_dataset(target)
    if _of_its_dataset(without) == target:
        raise KibanError("conf/ composes to this params.yaml without an overlay: there is nothing to adopt")
    chosen = {
        group: default if group == "dataset" else _nearest(root, group, default, target, plain)
        for group, default in defaults.items()
    }
    base = load(composed(root, [*plain, *(f"{group}={option}" for group, option in chosen.items())]))
    present = leaves(target)
    lacking = sorted(key for key in leaves(base) if not _is_replaced(key, present))
    if lacking:
        raise KibanError(f"params.yaml lacks {lacking[0]}, which conf/ has; an overlay cannot remove a key")
    values = _differing(base, target)
    named = [
        f"  - override /{group}: {option}\n"
        for group, option in chosen.items()
        if option != defaults[group] or values.keys() & _sections(root, group, option)
    ]
    lines = ["# @package _global_\n", f"# {comment}\n", *(["defaults:\n", *named] if named else [])]
    return "".join(lines) + (yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if values else "")


def _is_replaced(key: str, values: Collection[str]) -> bool:
    """Whether a value at `key` has another one in its place: a value, a mapping where it was none, or the reverse."""
    parts = key.split(".")
    parents = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return any(each in parents or each.startswith(f"{key}.") for each in values)


def _of_its_dataset(params: Nested) -> Nested:
    """`params` with the note that the overlay is for their dataset, whatever note they had."""
    return {**params, APPLIES_TO: {"dataset": params["dataset"]["name"], "task": None}}


def adopt(name: str) -> Path:
    """Write params.yaml as the overlay conf/experiment/`name`.yaml, make that the default, and return its path.

    Raises KibanError if the file exists, if no overlay composes to params.yaml, or if there is nothing to adopt.
    """
    check_name(name)
    if (EXPERIMENTS / f"{name}.yaml").exists():
        raise KibanError(f"{EXPERIMENTS / name}.yaml exists already: choose another name, or delete it")
    if not PARAMS.exists():
        raise KibanError(f"{PARAMS} is missing: bring an experiment with `dvc exp apply NAME`")
    target, config = load(PARAMS.read_bytes()), with_default(Path(), name)
    text = overlay(Path(), target, "Adopted from an experiment; say here why it won.")
    path = write_overlay(Path(), name, text, target)
    files.write(CONFIG, config)
    files.write(PARAMS, composed(Path(), []))
    return path


def check_name(name: str) -> None:
    """Raise KibanError if `name` cannot be the name of an overlay."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not isinstance(yaml.load(name, yaml.CSafeLoader), str):
        raise KibanError(
            f"{name!r} cannot name an overlay: use lower-case letters, digits and _, and no YAML word like yes or null"
        )


def write_overlay(root: Path, name: str, text: str, target: Nested) -> Path:
    """Write the overlay `text` and return its path.

    Raises KibanError if conf/ does not compose to `target` with it; the file is then as it was before.
    """
    path = root / EXPERIMENTS / f"{name}.yaml"
    previous = path.read_bytes() if path.exists() else None
    files.write(path, text.encode())
    try:
        composes = load(composed(root, [f"experiment={name}"])) == _of_its_dataset(target)
    except KibanError:
        composes = False
    if not composes:
        if previous is None:
            path.unlink()
        else:
            files.write(path, previous)
        raise KibanError("no overlay was found that composes to params.yaml: change conf/ by hand")
    return path


def with_default(root: Path, name: str) -> bytes:
    """The content of conf/config.yaml with the overlay `name` as its default.

    Raises KibanError if the file has no line for the overlay.
    """
    text, replaced = re.subn(r"(?m)^(\s*- experiment:) \S+", rf"\1 {name}", (root / CONFIG).read_text(encoding="utf-8"))
    if not replaced:
        raise KibanError(f"{CONFIG}: there is no line `- experiment: …` among the defaults")
    return text.encode()


def _nearest(root: Path, group: str, default: str, target: Nested, plain: list[str]) -> str:
    """The option of a group that leaves the fewest differences from `target`."""
    options = sorted(path.stem for path in (root / "conf" / group).glob("*.yaml"))
    if len(options) < 2:
        return default
    target_values = leaves(target)

    def distance(option: str) -> tuple[int, int, bool]:
        """The number of keys that an overlay would have to remove, then of values that it would have to change."""
        values = leaves(load(composed(root, [*plain, f"{group}={option}"])))
        differing = sum(path not in values or values[path] != value for path, value in target_values.items())
        return len(values.keys() - target_values.keys()), differing, option != default

    return min(options, key=distance)


def _sections(root: Path, group: str, option: str) -> set[str]:
    """The sections of params.yaml that an option of a group sets."""
    text = (root / "conf" / group / f"{option}.yaml").read_text(encoding="utf-8")
    if not text.startswith("# @package _global_"):
        return {group}
    return set(yaml.load(text, yaml.CSafeLoader)) - {"defaults"}


def _differing(base: Nested, target: Nested) -> Nested:
    """The values of `target` that `base` lacks or that differ from those of `base`."""
    differing: Nested = {}
    for name, value in target.items():
        if isinstance(value, dict) and value and isinstance(base.get(name), dict):
            if inner := _differing(base[name], value):
                differing[name] = inner
        elif name not in base or base[name] != value:
            differing[name] = value
    return differing
