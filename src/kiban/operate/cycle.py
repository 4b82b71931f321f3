"""The cycle, which a scheduler calls: new data, validation, the pipeline, the monitor, and promotion when it is due.

It works in a worktree (tree.py), and each of its steps can be done again: what was pushed is found, and what was not is
made anew. A feed that is broken is not a world that has changed: a batch that the contract rejects, or that is unlike
the earlier ones, is kept out until a person corrects or accepts it, and until then nothing is promoted.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.core.git import commit_of, git
from kiban.core.settings import Sections, read
from kiban.data import contract, verdict
from kiban.data.batches import base
from kiban.data.verdict import LIKE_EARLIER, Finding
from kiban.evaluate.settings import Gate
from kiban.ingest import ledger, take
from kiban.ingest.ledger import Ledger
from kiban.operate import alarms, asked, monitor, monitor_page, promote, release, remote, rules, tree, truth
from kiban.operate.registry import Registry
from kiban.operate.rules import Promotion
from kiban.request import logged
from kiban.review.revision import Revision
from kiban.sources.settings import Dataset

STAGES = ("prepare:", "train:", "evaluate:", "track:")
"""The lines of the pipeline that a cycle shows."""

LAST = "last-cycle.json"
PAGE = "monitor.html"
FAILED, BAD_DATA, ALARM = 1, 3, 4
"""Exit statuses. Nothing to do, a promotion and a refusal are 0: schedulers try anything else again."""

WAITING = "kiban-cycle"
"""The branch with the commit of a cycle where nobody pushes to main, or where main could not be moved."""

Outcome = Literal["nothing to do", "not due", "refused", "promoted", "waiting", "held", "blocked", "failed"]


class Params(Sections):
    dataset: Dataset
    gate: Gate


class Step(BaseModel):
    """What was done, what came of it, and how long it took."""

    name: str
    said: str
    seconds: float


class Cycle(BaseModel):
    """A cycle. `taken` are the batches that are new or were corrected, `held_back` those that were kept out, and why.

    `commit` is what it put on main. `problems` are why it failed.
    """

    started: datetime
    ended: datetime | None = None
    outcome: Outcome = "nothing to do"
    promotion: str = ""
    hold: str | None = None
    taken: list[str] = []
    held_back: dict[str, list[str]] = {}
    alarms: list[str] = []
    problems: list[str] = []
    commit: str | None = None
    steps: list[Step] = []

    @property
    def status(self) -> int:
        """The exit status: the gravest of all that happened."""
        if self.problems:
            return FAILED
        if self.held_back:
            return BAD_DATA
        return ALARM if self.alarms else 0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """A step, whose result is given to the function in the context."""
        started, said = time.monotonic(), ""

        def say(text: str) -> None:
            nonlocal said
            said = text

        try:
            yield say
        finally:
            self.steps.append(Step(name=name, said=said, seconds=round(time.monotonic() - started, 2)))

    def write(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        files.write(root / LAST, (self.model_dump_json(indent=1) + "\n").encode())


def last(root: Path) -> Cycle | None:
    """The last cycle that ended, as the release folder has it, or None."""
    try:
        return Cycle.model_validate_json((root / LAST).read_bytes())
    except (OSError, ValueError):
        return None


def planned(now: datetime, until: str | None) -> str:
    """What a cycle would take, and whether it would promote, as lines. Nothing is changed."""
    dataset = read(Params).dataset
    recorded = ledger.read(paths.ledger(dataset.name))
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    lines = []
    for name in tables:
        new = take.new_batches(dataset, name, recorded, now, until)
        late = [batch for table, batch in _late(dataset, recorded) if table == name]
        lines.append(f"{name}: {', '.join(new) or 'nothing'} is new" + (f"; {', '.join(late)} anew" if late else ""))
    known = promote.up_to_date(now, is_dry=True)
    cycle = Cycle(started=now, hold=known.hold.record.reason if known.hold and known.hold.record else None)
    settings = rules.read(dataset.name)
    reason = due(cycle, known, now, settings)
    lines.append(f"promotion of what is there: {f'due, {reason}' if reason else cycle.promotion}")
    return "\n".join(lines)


def run(now: datetime, accepted: Mapping[str, str], until: str | None) -> Cycle:
    """Run a cycle at the time `now`. `accepted` has the reasons for batches that are right although they differ.

    No batch after `until` is taken. The caller keeps other cycles and promotions out, and has made the paths of release
    folder and prediction log absolute.
    """
    cycle = Cycle(started=now)
    root = release.root()
    try:
        for _ in range(promote.TRIES):
            known = promote.up_to_date(now)
            promote.answer_with_prod(known)
            branch = _branch()
            start = _start(branch)
            cycle = Cycle(started=now, hold=known.hold.record.reason if known.hold and known.hold.record else None)
            with tree.at(start):
                is_done = _turn(cycle, known, branch, now, accepted, until, root)
            if is_done:
                break
        else:
            cycle.problems.append(f"somebody else moved {branch} {promote.TRIES} times meanwhile")
        if cycle.commit:
            with cycle.step("bring the clone forward") as say:
                say(_bring_forward(branch, cycle.commit))
    except KibanError as error:
        cycle.problems.append(str(error))
    if cycle.problems:
        cycle.outcome = "failed"
    cycle.ended = now
    cycle.write(root)
    return cycle


def _branch() -> str:
    """The branch that the cycle moves: that of origin's HEAD, or the one that is checked out."""
    name = git(Path(), "for-each-ref", "--format=%(symref:lstrip=3)", f"refs/remotes/{remote.ORIGIN}/HEAD").strip()
    present = git(Path(), "branch", "--show-current").strip()
    if not name and not present:
        raise KibanError(f"no branch is checked out, and {remote.ORIGIN} names none: `git switch main`")
    return name or present


def _start(branch: str) -> str:
    """The newest commit of the branch, here and at origin. Raises KibanError if the two have gone apart."""
    here = git(Path(), "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").strip()
    there = git(Path(), "for-each-ref", "--format=%(objectname)", f"refs/remotes/{remote.ORIGIN}/{branch}").strip()
    if not here or not there:
        return here or there or commit_of("HEAD")
    common = git(Path(), "merge-base", here, there).strip()
    if common not in (here, there):
        raise KibanError(
            f"{branch} and {remote.ORIGIN}/{branch} have gone apart: `kiban merge {remote.ORIGIN}/{branch}`"
        )
    return there if common == here else here


def _turn(
    cycle: Cycle,
    known: Registry,
    branch: str,
    now: datetime,
    accepted: Mapping[str, str],
    until: str | None,
    root: Path,
) -> bool:
    """All steps in the worktree. False if somebody else moved the branch meanwhile."""
    dataset = read(Params).dataset
    settings = rules.read(dataset.name)
    _take(cycle, dataset, now, accepted, until)
    if cycle.taken:
        with cycle.step("pipeline") as say:
            said = tree.dvc("repro").splitlines()
            say("\n".join(line for line in said if line.startswith(STAGES)))
    _monitor(cycle, now, root, settings)
    with cycle.step("commit") as say:
        cycle.commit = _commit(cycle)
        say(cycle.commit[:7] if cycle.commit else "nothing has changed")
    return _promote(cycle, known, branch, now, settings)


def _take(cycle: Cycle, dataset: Dataset, now: datetime, accepted: Mapping[str, str], until: str | None) -> None:
    """Take new and late batches, and keep out those that are not right."""
    path = paths.ledger(dataset.name)
    before = ledger.read(path)
    with cycle.step("ingest") as say:
        limit = ["--until", until] if until else []
        problems = [_asked("ingest", "--new", *limit, "--now", f"{now:%Y-%m-%dT%H:%M:%S}")]
        for table, batch in _late(dataset, before):
            problems.append(_asked("ingest", "--refresh", batch, "--table", table))
        cycle.problems += [problem for problem in problems if problem]
        taken = ledger.read(path)
        changed = _changed(before, taken)
        say(", ".join(sorted({batch for _, batch in changed})) or "nothing new")
    if not changed:
        return
    with cycle.step("validate") as say:
        for table, batch in changed:
            if batch in accepted:
                taken[table][batch] = taken[table][batch].model_copy(update={"accepted": accepted[batch]})
        ledger.write(path, taken)
        while changed:
            problem = _asked_dvc("repro", "validate_raw")
            wrong = _wrong(changed, taken)
            if not wrong:
                if problem:
                    raise KibanError(problem)
                break
            for batch in _first(wrong):
                cycle.held_back[batch] = [_reason(finding) for finding in wrong[batch]]
                for table in taken:
                    if batch in before.get(table, {}):
                        taken[table][batch] = before[table][batch]
                    else:
                        taken[table].pop(batch, None)
            ledger.write(path, taken)
            changed = _changed(before, taken)
        cycle.taken = sorted({batch for _, batch in changed})
        if not changed:  # as it was: nothing of the batches that were kept out stays
            git(Path(), "checkout", "--quiet", "--", ".")
            tree.dvc("checkout", "--force")
        say(f"taken: {', '.join(cycle.taken) or 'none'}; kept out: {', '.join(cycle.held_back) or 'none'}")


def _asked(*arguments: str) -> str | None:
    """Run a command, and say why it failed, or None."""
    try:
        tree.kiban(*arguments)
    except KibanError as error:
        return str(error)
    return None


def _asked_dvc(*arguments: str) -> str | None:
    try:
        tree.dvc(*arguments)
    except KibanError as error:
        return str(error)
    return None


def _late(dataset: Dataset, known: Ledger) -> list[tuple[str, str]]:
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


def _wrong(changed: list[tuple[str, str]], taken: Ledger) -> dict[str, list[Finding]]:
    """Why batches that were just taken are kept out: what the contract rejects, and what is unlike earlier batches.

    Raises KibanError if the verdict is not about what was taken.
    """
    known = verdict.read("raw")
    for table, batch in changed:
        checked = {**known.accepted.get(table, {}), **known.rejected.get(table, {})}
        if checked.get(batch) != taken[table][batch].sha256:
            raise KibanError(f"{table} {batch} was not validated: run `dvc repro validate_raw` to see why")
    names = {batch for _, batch in changed}
    wrong: dict[str, list[Finding]] = {}
    for finding in known.findings:
        entry = taken.get(finding.table, {}).get(finding.batch)
        is_accepted = _is_unlike(finding) and entry is not None and entry.accepted is not None
        if finding.batch in names and not is_accepted and (finding.severity == "reject" or _is_unlike(finding)):
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
    column = f".{finding.column}" if finding.column else ""
    return f"{finding.table}{column}: {finding.expectation}: {finding.observed or f'{finding.rows} rows'}"


def _monitor(cycle: Cycle, now: datetime, root: Path, settings: Promotion) -> None:
    """Look at the model in production, and tell what has begun or ended."""
    if release.current(root) is None:
        return
    params = read(Params)
    with cycle.step("monitor") as say:
        model = monitor.champion(root)
        log = asked.read(logged.folder(Path()), model.servable.contract)
        zone = params.dataset.timezone
        known = truth.read(model.servable, model.promised, zone)
        report = monitor.monitor(now, model, log, known, params.gate, settings.monitor, zone)
        cycle.problems += alarms.record(report.alarms, now)
        cycle.alarms = [f"{alarm.kind}, {alarm.subject}: {alarm.sentence}" for alarm in report.alarms]
        asked_weeks = monitor.blocks(model, log, report, zone)
        shown = monitor_page.page(report, model.reference, asked_weeks, params.dataset.name)
        files.write(root / PAGE, shown.encode())
        say(f"{len(report.alarms)} alarms; {root / PAGE}")


def _commit(cycle: Cycle) -> str | None:
    """Commit what has changed, and return the commit; None if nothing has."""
    name = read(Params).dataset.name
    written = (paths.ledger(name), paths.LOCK, paths.PARAMS, paths.EVALUATION.parent, alarms.FILE)
    git(Path(), "add", "--", *(f"./{path}" for path in written if path.exists()))
    if not git(Path(), "diff", "--cached", "--name-only"):
        return None
    subject = f"Cycle: {', '.join(cycle.taken)} taken" if cycle.taken else "Cycle: alarms"
    kept_out = [f"{batch} is kept out: {reason}" for batch, reasons in cycle.held_back.items() for reason in reasons]
    git(Path(), "commit", "--quiet", "--no-verify", "--file=-", given="\n".join([subject, "", *kept_out]) + "\n")
    return commit_of("HEAD")


def _promote(cycle: Cycle, known: Registry, branch: str, now: datetime, settings: Promotion) -> bool:
    """Promote the model if that is due and the gate lets it, and push. False if somebody else was faster."""
    with cycle.step("promotion") as say:
        reason = due(cycle, known, now, settings)
        plan = promote.plan(None, known, None) if reason else None
        if plan and plan.judged.refusals:
            refusals = "; ".join(f"{rule.name} ({rule.figure})" for rule in plan.judged.refusals)
            cycle.outcome, cycle.promotion = "refused", f"{reason}; the gate refuses it: {refusals}"
        elif plan and settings.deliver == "pull_request":
            cycle.outcome = "waiting"
            cycle.promotion = f"{reason}; merge the branch {WAITING}, then `kiban promote`"
        elif plan:
            if not promote.promote(plan, False, now, branch):
                return False
            cycle.outcome, cycle.promotion = "promoted", f"v{plan.version}: {reason}"
        if cycle.commit and cycle.outcome != "promoted" and not _delivered(cycle.commit, branch, settings):
            return False
        say(cycle.promotion or cycle.outcome)
    return True


def due(cycle: Cycle, known: Registry, now: datetime, settings: Promotion) -> str | None:
    """Why a promotion is due, or None; then the cycle says why not."""
    if known.hold:
        cycle.outcome, cycle.promotion = "held", f"a hold was set: {cycle.hold}; `kiban hold --end` ends it"
        return None
    if cycle.held_back:
        kept_out = ", ".join(cycle.held_back)
        cycle.outcome = "blocked"
        cycle.promotion = f"{kept_out} is kept out: correct it at its source, or `kiban cycle --accept BATCH REASON`"
        return None
    if known.prod is None:
        return "nothing is in production yet"
    through = known.prod.record.through if known.prod.record else ""
    new = sorted(name for name in Revision("HEAD").evaluation.by_batch if base(name) > through)
    months = (now.year - known.prod.at.year) * 12 + now.month - known.prod.at.month
    if any(alarm.startswith("quality") for alarm in cycle.alarms):
        return "its quality is worse than promised"
    if len(new) >= settings.cycle.batches:
        return f"{len(new)} new batches, up to {new[-1]}"
    if months >= settings.cycle.months:
        return f"it is {months} months old"
    cycle.outcome = "not due" if cycle.commit else "nothing to do"
    cycle.promotion = f"{len(new)} new batches and {months} months since the last promotion"
    return None


def _delivered(commit: str, branch: str, settings: Promotion) -> bool:
    """Push what the cycle made to the store and to origin. False if somebody else was faster."""
    promote.check_stored(commit)
    if not remote.is_there():
        return True
    if settings.deliver == "pull_request":
        remote.put(WAITING)
        return True
    return remote.push([], branch) == "pushed"


def _bring_forward(branch: str, commit: str) -> str:
    """Move the branch of this clone to the commit, if nobody is at work on it; else a branch of its own has it."""
    present = git(Path(), "branch", "--show-current").strip()
    if present != branch:
        if not remote.is_there():
            git(Path(), "branch", "--force", branch, commit)
        return f"{branch} is not checked out here"
    if git(Path(), "status", "--porcelain", "--untracked-files=no"):
        git(Path(), "branch", "--force", WAITING, commit)
        return f"there are uncommitted changes here: {WAITING} has the commit; `git merge --ff-only {WAITING}` takes it"
    git(Path(), "merge", "--quiet", "--ff-only", commit)
    tree.dvc("checkout")  # without force: what is in no cache is somebody's work
    return f"{branch} is at {commit[:7]}"
