"""What a cycle takes: new and late batches, of which those that are wrong are kept out, through the whole pipeline."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.core.settings import Sections, read
from kiban.data import contract, verdict
from kiban.data.verdict import LIKE_EARLIER, Finding, Level
from kiban.ingest import ledger
from kiban.ingest.ledger import Ledger
from kiban.operate import tree
from kiban.operate.last_cycle import Cycle
from kiban.sources.settings import Dataset
from kiban.validate.settings import Validation

STAGES = ("prepare:", "train:", "evaluate:", "track:")
"""The lines of the pipeline that a cycle shows."""


class Params(Sections):
    dataset: Dataset
    validation: Validation


class Taken:
    """The batches that a cycle takes, and the ledger before and with them. `path` is that of the ledger."""

    def __init__(self, path: Path, before: Ledger) -> None:
        self.path = path
        self.before = before
        self.now = ledger.read(path)

    @property
    def changed(self) -> list[tuple[str, str]]:
        """The table and the batch of each snapshot that is new or another one."""
        return _changed(self.before, self.now)

    @property
    def batches(self) -> list[str]:
        return sorted({batch for _, batch in self.changed})

    def accept(self, batch: str, reason: str) -> None:
        for table, each in self.changed:
            if each == batch:
                self.now[table][batch] = self.now[table][batch].model_copy(update={"accepted": reason})

    def keep_out(self, batch: str) -> None:
        """Let every table have of a batch what it had before."""
        for table in self.now:
            if batch in self.before.get(table, {}):
                self.now[table][batch] = self.before[table][batch]
            else:
                self.now[table].pop(batch, None)

    def write(self) -> None:
        ledger.write(self.path, self.now)


def take(cycle: Cycle, now: datetime, accepted: Mapping[str, str], until: str | None) -> None:
    """Take new and late batches, run the pipeline, and keep out the batches that are not right."""
    params = read(Params)
    dataset = params.dataset
    path = paths.ledger(dataset.name)
    before = ledger.read(path)
    with cycle.step("ingest") as say:
        limit, clock = ["--until", until] if until else [], ["--now", f"{now:%Y-%m-%dT%H:%M:%S}"]
        problems = [_asked("ingest", "--new", *limit, *clock)]
        for table, batch in late(dataset, before):
            problems.append(_asked("ingest", "--refresh", batch, "--table", table, *clock))
        cycle.problems += [problem for problem in problems if problem]
        taken = Taken(path, before)
        say(", ".join(taken.batches) or "nothing new")
    for batch in sorted(accepted.keys() - set(taken.batches)):
        cycle.problems.append(f"--accept {batch}: the source has nothing new of it")
    if not taken.changed:
        return
    right = {*params.validation.history.accept}
    with cycle.step("validate") as say:
        for batch, reason in accepted.items():
            taken.accept(batch, reason)
        taken.write()
        _settle(cycle, taken, "raw", right, "validate_raw")
        cycle.taken = taken.batches
        say(f"taken: {', '.join(cycle.taken) or 'none'}; kept out: {', '.join(cycle.held_back) or 'none'}")
    if not cycle.taken:
        _as_it_was()
        return
    with cycle.step("pipeline") as say:
        said = _settle(cycle, taken, "prepared", right).splitlines()
        cycle.taken = taken.batches
        say("\n".join(line for line in said if line.startswith(STAGES)))
    if not cycle.taken:
        _as_it_was()


def _as_it_was() -> None:
    """Undo what a run has written about batches that are kept out."""
    git(Path(), "checkout", "--quiet", "--", ".")
    tree.dvc("checkout", "--force")


def _settle(cycle: Cycle, taken: Taken, level: Level, right: Collection[str], *stage: str) -> str:
    """Run the pipeline, up to a stage or to the end, until no batch that was taken is wrong at a level of the data, and
    return what it printed. Each time what is wrong is kept out.

    Raises KibanError if the run fails for another reason.
    """
    while True:
        said, problem = "", None
        try:
            said = tree.dvc("repro", *stage)
        except KibanError as error:
            problem = str(error)
        wrong = _wrong(taken, level, right)
        if problem and not wrong:
            raise KibanError(problem)
        if not wrong:
            return said
        for batch in _first(wrong):
            cycle.held_back[batch] = [_reason(finding) for finding in wrong[batch]]
            taken.keep_out(batch)
        taken.write()
        if not taken.changed:
            return said


def _asked(*arguments: str) -> str | None:
    """Run a command, and say why it failed, or None."""
    try:
        tree.kiban(*arguments)
    except KibanError as error:
        return str(error)
    return None


def late(dataset: Dataset, known: Ledger) -> list[tuple[str, str]]:
    """The batches that are taken anew, since their truth comes late: the last ones of a table, but those left out."""
    late = []
    for table, settings in dataset.tables.items():
        names = sorted(known.get(table, {}))[-settings.refresh_last :] if settings.refresh_last else []
        late += [(table, name) for name in names if not known[table][name].left_out]
    return late


def _changed(before: Ledger, after: Ledger) -> list[tuple[str, str]]:
    """The table and the batch of each snapshot that is new or another one."""
    return [
        (table, batch)
        for table, entries in after.items()
        for batch, entry in entries.items()
        if batch not in before.get(table, {}) or before[table][batch].sha256 != entry.sha256
    ]


def _wrong(taken: Taken, level: Level, right: Collection[str]) -> dict[str, list[Finding]]:
    """Why batches that were just taken are kept out: what the contract rejects, and what is unlike earlier batches.

    `right` has the SHA-256 of batches that conf/ says are right although they differ. A verdict that is not about what
    was taken says nothing.
    """
    known = verdict.read(level)
    names = set(taken.batches)
    if level == "raw":
        checked = {table: {**known.accepted.get(table, {}), **known.rejected.get(table, {})} for table in taken.now}
        if any(checked[table].get(batch) != taken.now[table][batch].sha256 for table, batch in taken.changed):
            return {}
    accepted = {
        batch
        for table, batch in taken.changed
        if taken.now[table][batch].accepted or taken.now[table][batch].sha256 in right
    }
    wrong: dict[str, list[Finding]] = {}
    for finding in known.findings:
        is_right = finding.batch in accepted and _is_unlike(finding)
        if finding.batch in names and not is_right and (finding.severity == "reject" or _is_unlike(finding)):
            wrong.setdefault(finding.batch, []).append(finding)
    return wrong


def _is_unlike(finding: Finding) -> bool:
    return finding.expectation.startswith(LIKE_EARLIER)


def _first(wrong: Mapping[str, list[Finding]]) -> list[str]:
    """The batches to keep out before the others are looked at again: those that are wrong by themselves, or else the
    first one that is unlike the ones before it, since later ones were compared with it."""
    alone = [batch for batch, findings in wrong.items() if not all(map(_is_unlike, findings))]
    return alone or [min(wrong)]


def _reason(finding: Finding) -> str:
    """Why a batch is kept out, in words; values of a personal column are not repeated."""
    tables = contract.read_raw(paths.raw_contract(read(Params).dataset.name))
    columns = tables[finding.table].columns if finding.table in tables else {}
    is_personal = finding.column in columns and columns[finding.column].personal
    column = f".{finding.column}" if finding.column else ""
    observed = "its values are personal" if is_personal else finding.observed or f"{finding.rows} rows"
    return f"{finding.table}{column}: {finding.expectation}: {observed}"
