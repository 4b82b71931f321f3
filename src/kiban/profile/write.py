"""The files that `kiban init` writes, as text. A file names its own digest, so that an edited one is known."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data.contract import ROW_HASH, Table
from kiban.data.split import ByNewest, ByRow
from kiban.profile.models import Choice, Tried
from kiban.profile.roles import Use

GLOBAL = "# @package _global_\n"
MARK = "# By `kiban init` ("
MARK_END = "): edit it freely; a second init does not overwrite an edited file.\n"
WIDTH = 116


class _OneLine(yaml.CSafeDumper):
    """Writes a text with line ends in quotes, on one line."""


def _quoted(dumper: yaml.CSafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_OneLine.add_representer(str, _quoted)


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.dump(
        value, Dumper=_OneLine, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 30
    )
    return text.removesuffix("\n...\n").rstrip("\n")


def block(value: Any) -> str:
    """A value as YAML in lines."""
    return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=WIDTH)


def marked(text: str) -> bytes:
    """The text with a line that has its digest."""
    head, body = (GLOBAL, text.removeprefix(GLOBAL)) if text.startswith(GLOBAL) else ("", text)
    return f"{head}{MARK}{_digest(body)}{MARK_END}{body}".encode()


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:12]


def is_edited(content: bytes) -> bool:
    """Whether a person has edited a file since `kiban init` wrote it, or wrote it themselves."""
    text = content.decode(errors="replace").replace("\r\n", "\n")
    begin, mark, rest = text.partition(MARK)
    digest, _, body = rest.partition(MARK_END)
    return not mark or begin not in ("", GLOBAL) or digest != _digest(body)


def check(texts: Mapping[Path, bytes], force: bool) -> None:
    """Raise KibanError if a file would be overwritten that a person has edited, unless with `force`, or one that is not
    by `kiban init` at all: others may use it.
    """
    changed = {path: path.read_bytes() for path, text in texts.items() if path.exists() and path.read_bytes() != text}
    others = [str(path) for path, content in changed.items() if MARK.encode() not in content]
    if others:
        raise KibanError(f"{', '.join(others)}: there already, and not by `kiban init`: give the table another --name")
    edited = [str(path) for path, content in changed.items() if is_edited(content)]
    if edited and not force:
        raise KibanError(f"{', '.join(edited)}: edited since, and not overwritten; --force does so")


def write(texts: Mapping[Path, bytes]) -> None:
    """Write each file, whole or not at all. A file that has these bytes is not touched."""
    for path, content in texts.items():
        if not path.exists() or path.read_bytes() != content:
            files.write(path, content)


def contract(name: str, table: Table, uses: Mapping[str, Use], reasons: Mapping[str, str]) -> str:
    """The raw contract: a line for each column, with what should be known of it.

    `reasons` are of columns without a use, such as the target.
    """
    lines = [f"{name}:", f"  description: {flow(table.description)}"]
    if table.key != [ROW_HASH]:
        lines.append(f"  key: {flow(table.key)}")
    if table.time:
        lines.append(f"  time: {flow(table.time)}")
    if written := table.written.model_dump(exclude_defaults=True):
        lines.append(f"  written: {flow(written)}")
    lines.append("  columns: # fill in the units")
    columns = {each: column for each, column in table.columns.items() if each != ROW_HASH or table.key != [ROW_HASH]}
    for each, column in columns.items():
        settings: dict[str, Any] = {"type": column.type, "role": column.role}
        settings |= column.model_dump(exclude_defaults=True, exclude={"type", "role", "description"})
        settings |= {"unit": None} if column.type in ("integer", "number") else {}
        settings["description"] = column.description
        comment = _comment(uses.get(each)) or reasons.get(each)
        lines.append(f"    {flow(each)}: {flow(settings)}" + (f" # {' '.join(comment.split())}" if comment else ""))
    return "\n".join(lines) + "\n"


def _comment(use: Use | None) -> str | None:
    if use is None or use.reason is None:
        return use.note if use else None
    return f"left out: {use.reason}; `role: feature` takes it back"


def dataset(name: str, options: Mapping[str, str], timezone: str, source: Mapping[str, Any]) -> str:
    """The dataset: the options of the groups, and the source of its table."""
    overrides = "".join(f"  - override /{group}: {option}\n" for group, option in options.items())
    section = {"name": name, "timezone": timezone, "tables": {name: {"source": dict(source)}}}
    return f"{GLOBAL}defaults:\n{overrides}{block({'dataset': section})}"


def model(tried: Tried, choice: Choice) -> str:
    """A model, with the skill of all that were tried as a comment."""
    figures = ", ".join(f"{each} {skill:.3f}" for each, skill in choice.skill.items())
    comment = f"# Skill on folds of {choice.rows:,} training rows (1 is right, 0 the baseline): {figures}.\n"
    return GLOBAL + comment + block({"model": tried[0], "preprocessing": tried[1].model_dump()})


def split(split: ByRow | ByNewest) -> str:
    if isinstance(split, ByNewest):
        return (
            f"# Batches, counted from the newest: the windows move as batches are taken.\n{block(split.model_dump())}"
        )
    return f"# Rows with the same {' and '.join(split.by)} stay together.\n{block(split.model_dump())}"


def gate(cluster: str) -> str:
    """The floor, with clusters of rows that are not independent."""
    settings = {"metric": "skill", "split": "test", "threshold": 0.0, "minimum_change": 0.005, "cluster": cluster}
    return f"# Better than the baseline; the rows of one {cluster} are not independent.\n{block(settings)}"


def search(name: str, metric: str, rows: int, space: Mapping[str, Any]) -> str:
    """A search of the boosted trees, whose ranges suit the number of rows."""
    head = {"applies_to": {"dataset": name}, "overrides": [f"model={name}_trees"], "metric": metric}
    settings = {**head, "trials": 40, "folds": 4, "seed": 0}
    lines = "".join(f"  {key}: {flow(value)}\n" for key, value in space.items())
    return f"# What `kiban tune {name}` searches, for {rows:,} training rows.\n{block(settings)}space:\n{lines}"
