"""The stages of the committed dvc.lock, and which come before which.

A scheduler loads this file by its path: it needs PyYAML, and nothing else of Kiban.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml


def stages(root: Path) -> dict[str, list[str]]:
    """By stage, in the order of dvc.lock: those directly before it. A stage that never ran is not in the file.

    DVC rewrites the file in place, so that a reader of the working file could see half of it. Without a .git, as in a
    bundle of Airflow, nothing writes it.
    """
    there = yaml.load(_content(root, "dvc.yaml"), yaml.CSafeLoader)["stages"]
    locked: Mapping[str, Any] = yaml.load(_content(root, "dvc.lock"), yaml.CSafeLoader)["stages"]
    entries = {name: entry for name, entry in locked.items() if name.partition("@")[0] in there}  # it keeps old ones
    before = {name: {other for other in entries if _reads(entries[name], entries[other])} for name in entries}
    return {name: [each for each in entries if each in _nearest(name, before)] for name in entries}


def last(graph: Mapping[str, list[str]]) -> list[str]:
    """The stages that come before no other one."""
    return [stage for stage in graph if not any(stage in before for before in graph.values())]


def task(stage: str) -> str:
    """The name of a stage as schedulers allow it: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", stage)


def _content(root: Path, name: str) -> bytes:
    shown = ["git", "-C", str(root), "show", f"HEAD:./{name}"]
    try:
        return subprocess.run(shown, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):  # there is no git, or no .git
        return (root / name).read_bytes()


def _reads(entry: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a stage reads what the other one makes: that path, one in it, or one that it is in."""
    inputs = [PurePosixPath(each["path"]) for each in entry.get("deps", [])]
    outputs = [PurePosixPath(each["path"]) for each in other.get("outs", [])]
    return any(one.is_relative_to(two) or two.is_relative_to(one) for one in inputs for two in outputs)


def _nearest(name: str, before: Mapping[str, set[str]]) -> set[str]:
    """Those before a stage that come before no other stage which is before it."""
    return before[name] - {each for other in before[name] for each in _all(other, before)}


def _all(name: str, before: Mapping[str, set[str]]) -> Iterator[str]:
    for each in before[name]:
        yield each
        yield from _all(each, before)
