"""The registry: annotated tags of git in GTO's form, such as flights@v1.2.0 and flights#prod#3.

`gto show` and `dvc artifacts get --stage prod` read the same tags. The message of a tag is a sentence, an empty line,
and a record as JSON. Both order tags by the time of the tagger, so a new tag is at least a second younger than all.
"""

import ast
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from semver import Version

from kiban.core.errors import KibanError, one_line
from kiban.core.git import git, prefix
from kiban.core.text import plain
from kiban.evaluate.gate import Judged
from kiban.servable.evaluation import Figures

PROD, HOLD = "prod", "hold"
FORM = re.compile(rf"@v(?P<version>[^#@]+)|#(?P<stage>{PROD}|{HOLD})(?P<ends>!?)(?:#(?P<number>[1-9]\d*))?")
FIELDS = ("refname:strip=2", "*objectname", "taggername", "taggerdate:unix", "contents:body", "objectname")


class Record(BaseModel):
    """What a tag says. A tag that was made by GTO itself has no record.

    `through` is the newest batch that the model was made or measured with, `trained_on` are those of training, and
    `metrics` are those of the test rows. `judged` is what the gate said, of a promotion. With `accepts_less` the
    service takes the model although it refuses what the one before answers. A rollback is a hold too.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)  # later releases may write more keys

    kind: Literal["version", "promotion", "rollback", "hold", "end of hold"]
    model_id: str
    reason: str = ""
    through: str = ""
    trained_on: tuple[str, ...] = ()
    metrics: Figures = {}
    judged: Judged | None = None
    accepts_less: bool = False


@dataclass(frozen=True)
class Tag:
    """An annotated tag of an artifact: that of a version, or of a `stage`, which `ends` may end.

    `number` is that of a stage's tag, or 0. `version` is that of the commit, or None if it has none.
    `object` is the hash of the tag itself.
    """

    name: str
    object: str
    commit: str
    by: str
    at: datetime
    version: Version | None
    stage: str | None
    ends: bool
    number: int
    record: Record | None

    @property
    def title(self) -> str:
        """The version, or the commit if that has none."""
        return f"v{self.version}" if self.version else self.commit[:7]


@dataclass(frozen=True)
class Registry:
    """The tags of an artifact, oldest first. `name` is that of the artifact in them."""

    name: str
    tags: tuple[Tag, ...]

    @cached_property
    def versions(self) -> Mapping[Version, Tag]:
        """The tags that register a version, by version, in the order of the versions."""
        named = {tag.version: tag for tag in self.tags if tag.version and not tag.stage}
        return {version: named[version] for version in sorted(named)}

    @cached_property
    def served(self) -> tuple[Tag, ...]:
        """The tags of what was in production, one after the other, without what was rolled back. The last is prod."""
        stack: list[Tag] = []
        for tag in self.tags:
            if tag.stage != PROD:
                continue
            if tag.ends:
                stack = [each for each in stack if each.commit != tag.commit]
                continue
            if tag.record and tag.record.kind == "rollback":
                earlier = [place for place, each in enumerate(stack[:-1]) if each.commit == tag.commit]
                stack = stack[: earlier[-1]] if earlier else stack
            if not stack or stack[-1].commit != tag.commit:  # who promotes it twice has nothing to go back to by that
                stack.append(tag)
        return tuple(stack)

    @property
    def prod(self) -> Tag | None:
        """The tag of what is in production."""
        return self.served[-1] if self.served else None

    @property
    def hold(self) -> Tag | None:
        """The hold, or the rollback, that nobody has ended: until then a cycle promotes nothing."""
        holds = [tag for tag in self.tags if tag.stage == HOLD or (tag.record and tag.record.kind == "rollback")]
        return holds[-1] if holds and not holds[-1].ends else None

    def version_of(self, model_id: str) -> Tag | None:
        """The tag of the version that is this model."""
        models = {tag.record.model_id: tag for tag in self.versions.values() if tag.record}
        return models.get(model_id)

    def stage_tag(self, stage: str, ends: bool = False, after: int = 0) -> str:
        """The name of the next tag of a stage, numbered above `after` and, as GTO does, above those of all stages."""
        number = max([after, *(tag.number for tag in self.tags)]) + 1
        return f"{self.name}#{stage}{'!' if ends else ''}#{number}"


def read(artifact: str, folder: Path = Path()) -> Registry:
    """The registry of an artifact of the project in `folder`. In a larger repository the tags bear the folder's path.

    A tag that is not annotated, or whose name is no version, is left out, as GTO does. Raises KibanError if git cannot
    be asked.
    """
    try:
        above = prefix(folder)
        # git writes each field as a literal of Python, so that a message may hold anything.
        form = f"[{', '.join(f'%({field})' for field in FIELDS)}]"
        lines = git(folder, "for-each-ref", "--python", f"--format={form}", "refs/tags").split("\n")
    except (OSError, subprocess.CalledProcessError):
        raise KibanError("git does not list the tags here: `kiban doctor` says what is wrong") from None
    name = f"{above.rstrip('/')}={artifact}" if above else artifact
    ours = [line.encode(errors="replace").decode() for line in lines if line.startswith((f"['{name}@", f"['{name}#"))]
    rows = [row for row in map(ast.literal_eval, ours) if row[1]]
    parsed = [(row, match) for row in rows if (match := FORM.fullmatch(row[0].removeprefix(name)))]
    of_commit = {row[1]: Version.parse(match["version"]) for row, match in parsed if _is_version(match["version"])}
    tags = [
        Tag(
            name=row[0],
            object=row[5],
            commit=row[1],
            by=row[2],
            at=datetime.fromtimestamp(int(row[3]), UTC),
            version=of_commit.get(row[1]),
            stage=match["stage"],
            ends=bool(match["ends"]),
            number=int(match["number"] or 0),
            record=_record(row[4]),
        )
        for row, match in parsed
        if match["stage"] or _is_version(match["version"])
    ]
    return Registry(name, tuple(sorted(tags, key=lambda tag: tag.at)))


def _is_version(text: str | None) -> bool:
    return text is not None and Version.is_valid(text)


def _record(body: str) -> Record | None:
    try:
        return Record.model_validate_json(body)
    except ValidationError:
        return None


def write(registry: Registry, name: str, commit: str, record: Record, now: datetime, folder: Path = Path()) -> str:
    """Tag a commit, and return the name.

    The tag's time is `now`, or a second after that of the newest tag, whatever the clock says.

    Raises KibanError if git refuses.
    """
    newest = max((tag.at for tag in registry.tags), default=now)
    at = max(int(now.timestamp()), int(newest.timestamp()) + 1)
    reason = f": {plain(record.reason)}" if record.reason else ""
    message = f"{record.kind} {name}, model {record.model_id[:12]}{reason}\n\n{record.model_dump_json(indent=1)}\n"
    try:
        git(
            folder,
            *("tag", "--annotate", "--cleanup=verbatim", "--file=-", name, commit),
            given=message,
            variables={"GIT_COMMITTER_DATE": f"@{at} +0000"},
        )
    except subprocess.CalledProcessError as error:
        raise KibanError(f"git does not make the tag {name}: {one_line(error.stderr)}") from None
    return name


def remove(names: Iterable[str], folder: Path = Path()) -> None:
    """Remove tags of this clone, which nobody else has."""
    for name in names:
        git(folder, "tag", "--delete", name)
