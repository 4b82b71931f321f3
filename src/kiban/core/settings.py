"""Reading params.yaml, and other YAML, into typed settings."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kiban.core.errors import KibanError, one_line
from kiban.core.paths import PARAMS

UNSHOWN = "unshown"
"""The type of a validation error whose input is not shown."""

TAGGED = "~"
"""The beginning of the name of an alternative, in the place of a validation error; it is not shown."""

DIGEST = "conf_digest"
"""The key of params.yaml that holds the digest of the conf/ it is composed from. It does not change what runs."""

APPLIES_TO = "applies_to"
"""The key of params.yaml that says what an overlay is for. It does not change what runs."""

COMPOSE = "run `kiban compose`"

MOST_ALIASED = 10_000
"""The most nodes that aliases may add to a YAML file."""

Nested = dict[str, Any]
"""Settings as YAML holds them: nested mappings."""


class Settings(BaseModel):
    """A section of params.yaml: no unknown key, no missing value, no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Sections(BaseModel):
    """The sections that one stage reads. Other sections are ignored: the stage config checks the whole file."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


def read(kind: type[S], path: Path = PARAMS) -> S:
    """The settings of type `kind` in the YAML file at `path`.

    Raises KibanError, which names the first wrong key, if the file is missing or does not fit.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise KibanError(f"{path} is missing: {COMPOSE}") from None
    if path.name != PARAMS.name:
        return parse(content, TypeAdapter(kind), str(path), "correct it")
    advice = f"correct it under conf/, then {COMPOSE}"
    params = yaml_of(content, str(path), advice)
    _check_literal(params)
    return _validated(params, TypeAdapter(kind), str(path), advice)


def load(content: bytes) -> Nested:
    """The settings in the bytes of a params.yaml, without the digest. Raises KibanError if it is not a mapping."""
    params = yaml_of(content, str(PARAMS), COMPOSE)
    if not isinstance(params, dict):
        raise KibanError(f"{PARAMS} holds no settings: {COMPOSE}")
    _check_literal(params)
    return {name: value for name, value in params.items() if name != DIGEST}


def parse(content: bytes, kind: TypeAdapter[T], where: str, advice: str) -> T:
    """The YAML in `content` as a value of type `kind`.

    Raises KibanError if it does not fit. The message starts with `where`, names the first wrong key, and ends with
    `advice`.
    """
    return _validated(yaml_of(content, where, advice), kind, where, advice)


def _validated(value: Any, kind: TypeAdapter[T], where: str, advice: str) -> T:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise KibanError(f"{where}: {explain(error)}; {advice}") from None


def _check_literal(node: Any, key: str = "") -> None:
    """Raise KibanError if OmegaConf would resolve a key or a value: that could run code or read a secret."""
    if isinstance(node, str) and "${" in node:
        raise KibanError(f"{PARAMS}: {key or 'the whole file'}: it contains ${{, but nothing is resolved at run time")
    if isinstance(node, dict):
        for name, value in node.items():
            _check_literal(name, f"{key}.{name}".lstrip("."))
            _check_literal(value, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list | tuple | set):
        for index, value in enumerate(node):
            _check_literal(value, f"{key}.{index}")


def yaml_of(content: bytes, where: str, advice: str) -> Any:
    """The value in the bytes of a YAML file.

    Raises KibanError if they are not YAML. The message starts with `where` and ends with `advice`.
    """
    check_no_conflict(content, where)
    try:
        if b"*" in content:  # an alias, perhaps
            _check_aliases(yaml.compose(content, yaml.CSafeLoader), where, advice)
        return yaml.load(content, yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as error:
        raise KibanError(f"{where} is not YAML ({one_line(error)}): {advice}") from None


def check_no_conflict(content: bytes, where: str) -> None:
    """Raise KibanError, which names the line, if a merge or an update has left the markers of a conflict."""
    for number, line in enumerate(content.splitlines() if b"<<<<<<< " in content else (), 1):
        if line.startswith(b"<<<<<<< "):
            raise KibanError(
                f"{where}: line {number} begins a conflict of two versions: choose between them there, and remove the "
                "markers; if it is of a merge, `kiban merge` then ends it"
            )


def _check_aliases(root: yaml.Node | None, where: str, advice: str) -> None:
    """Raise KibanError if aliases make the content much larger than it is, or endless."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        """The number of nodes that `node` stands for."""
        if id(node) not in sizes:
            sizes[id(node)] = MOST_ALIASED  # a node that holds itself is as large as can be
            children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []
            children = node.value if isinstance(node, yaml.SequenceNode) else children
            sizes[id(node)] = 1 + sum(size(child) for child in children)
        return sizes[id(node)]

    if root is not None and size(root) - len(sizes) >= MOST_ALIASED:
        raise KibanError(f"{where}: its aliases stand for more than {MOST_ALIASED:,} values; {advice}")


def explain(error: ValidationError, show_input: bool = True) -> str:
    """The first of pydantic's errors as `key.of.the.value: what is wrong`.

    Without `show_input` the value is left out: it may be a secret that was written in the wrong place.
    """
    first, *others = error.errors()
    if first["type"] == "missing":  # a name beside it that is not known may be its own, misspelt
        beside = (each for each in others if each["loc"][:-1] == first["loc"][:-1])
        first = next((each for each in beside if each["type"] == "extra_forbidden"), first)
    key = ".".join(part for part in map(str, first["loc"]) if not part.startswith(TAGGED)) or "the whole file"
    match first["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "missing":
            return f"{key}: missing"
        case kind:
            shown = show_input and kind != UNSHOWN
            return f"{key}: {first['msg'].removeprefix('Value error, ')}" + (f", not {first['input']!r}" * shown)


def leaves(node: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested mappings by dotted key, such as model.max_iter; an empty mapping is a value."""
    return dict(_leaves(node, ""))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The pair [before, after] of each dotted key that differs, sorted.

    The digest of conf/, and what an overlay is for, are not considered.

    An absent value is None, though a key that only one side has does differ.
    """
    absent = object()
    asides = (DIGEST, APPLIES_TO)
    old, new = (leaves({name: value for name, value in side.items() if name not in asides}) for side in (before, after))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, absent) != new.get(key, absent))
    return {key: (old.get(key), new.get(key)) for key in keys}


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
