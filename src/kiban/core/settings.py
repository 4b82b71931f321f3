"""Reading params.yaml into typed settings."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kiban.core.errors import KibanError

PARAMS = Path("params.yaml")
UNSHOWN = "unshown"
"""The type of an error of which the input is not shown."""


class Settings(BaseModel):
    """A section of params.yaml: no unknown key, no missing value, no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Sections(BaseModel):
    """The sections that one stage reads; the config stage has checked that there are no others."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


S = TypeVar("S", bound=BaseModel)


def read(kind: type[S], path: Path = PARAMS) -> S:
    """The settings of `kind` in the YAML file at `path`; KibanError naming the first key that is wrong."""
    try:
        content = yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except FileNotFoundError:
        raise KibanError(f"{path} is missing: run `kiban compose`") from None
    except yaml.YAMLError as error:
        raise KibanError(f"{path} is not YAML ({' '.join(str(error).split())}): run `kiban compose`") from None
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        advice = "; correct it under conf/, then run `kiban compose`" if path == PARAMS else ""
        raise KibanError(f"{path}: {explain(error)}{advice}") from None


def explain(error: ValidationError) -> str:
    """The first of pydantic's findings as `key.of.the.value: what is wrong`."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the whole file"
    match first["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "missing":
            return f"{key}: missing"
        case type if type == UNSHOWN:
            return f"{key}: {first['msg']}"
        case _:
            return f"{key}: {first['msg'].removeprefix('Value error, ')}, not {first['input']!r}"


DIGEST = "conf_digest"
"""The key of params.yaml that says of which conf/ it is composed, and nothing of what runs."""


Nested = dict[str, Any]


def load(content: bytes) -> Nested:
    """The settings in the bytes of a params.yaml, without the digest; KibanError if it holds none."""
    try:
        params = yaml.load(content, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise KibanError(f"params.yaml is not YAML ({' '.join(str(error).split())}): run `kiban compose`") from None
    if not isinstance(params, dict):
        raise KibanError("params.yaml holds no settings: run `kiban compose`")
    return {name: value for name, value in params.items() if name != DIGEST}


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of nested mappings, with the keys that lead to them."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from leaves(value, (*path, str(name)))
    else:
        yield path, node
