"""The cycle, which a scheduler calls: new data, validation, the pipeline, the monitor, and promotion when it is due.

It works in a worktree (tree.py), and each of its steps can be done again: what was pushed is found, and what was not is
made anew. A feed that is broken is not a world that has changed: a batch that the contract rejects, or that is unlike
the earlier ones, is kept out until a person corrects or accepts it, and until then nothing is promoted.
"""

import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from kiban.core import files, paths, turns
from kiban.core.errors import KibanError, one_line
from kiban.core.git import commit_of, git
from kiban.core.settings import Sections, read
from kiban.data import contract
from kiban.data.batches import base
from kiban.evaluate.settings import Gate
from kiban.ingest import ledger, take
from kiban.operate import alarms, archive, intake, monitor, monitor_page, promote, release, remote, rules, tree
from kiban.operate.last_cycle import Cycle
from kiban.operate.registry import Registry
from kiban.operate.rules import Promotion
from kiban.review.revision import Revision
from kiban.sources.kinds import open_source
from kiban.sources.settings import Dataset
from kiban.track import champion, delivery
from kiban.track.settings import Tracking

PAGE = "monitor.html"
PATIENCE = 300.0  # seconds that a cycle waits for a person who promotes or rolls back
DAYS_OF_A_MONTH = 30
BRINGING = paths.CACHE / "bringing"
"""It is there from when the clone has a commit until it has the data of it: a cycle may be killed in between."""
WAITING = "kiban-cycle"
"""The branch with the commit of a cycle where nobody pushes to main, or where main could not be moved."""


class Params(Sections):
    dataset: Dataset
    gate: Gate
    tracking: Tracking


def planned(now: datetime, until: str | None) -> str:
    """What a cycle would take, and whether it would promote, as lines. Nothing is changed."""
    dataset = read(Params).dataset
    recorded = ledger.read(paths.ledger(dataset.name))
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    lines = []
    for name in tables:
        source = open_source(dataset.tables[name].source)
        new = take.new_batches(source, name, dataset, recorded.get(name, {}), now, until)
        late = [batch for table, batch in intake.late(dataset, recorded) if table == name]
        lines.append(f"{name}: {', '.join(new) or 'nothing'} is new" + (f"; {', '.join(late)} anew" if late else ""))
    known = promote.up_to_date(now, is_dry=True)
    cycle, settings = Cycle(started=now), rules.read(dataset.name)
    reason = due(cycle, known, now, settings)
    lines.append(f"promotion of what is there: {f'due, {reason}' if reason else cycle.promotion}")
    return "\n".join(lines)


def run(now: datetime, accepted: Mapping[str, str], until: str | None) -> Cycle:
    """Run a cycle at the time `now`. `accepted` has the reasons for batches that are right although they differ.

    No batch after `until` is taken. The caller has made the paths of release folder and prediction log absolute. Raises
    KibanError if another cycle runs in this clone.
    """
    with turns.alone("cycle"):
        return _run(now, accepted, until)


def _run(now: datetime, accepted: Mapping[str, str], until: str | None) -> Cycle:
    overdue = _overdue(now)
    cycle = Cycle(started=now, overdue=overdue)
    clone, root = Path.cwd(), release.root()
    try:
        for _ in range(promote.TRIES):
            known = _up_to_date(now)
            branch = _branch()
            start = _start(branch)
            cycle = Cycle(started=now, overdue=overdue, hold=_held(known))
            with tree.at(start):
                _link_sources(clone)
                is_done = _turn(cycle, branch, now, accepted, until, root)
            if is_done:
                with cycle.step("bring the clone forward") as say:
                    say(_bring_forward(branch, cycle.commit or start))
                if champion.waiting(clone):
                    with cycle.step("tell MLflow") as say:
                        failure = delivery.deliver(clone, read(Params).tracking).failure
                        say(failure or f"the alias {champion.ALIAS} is set")
                break
        else:
            cycle.problems.append(f"somebody else moved {branch} {promote.TRIES} times meanwhile")
    except KibanError as error:
        cycle.problems.append(str(error))
    except subprocess.CalledProcessError as error:
        cycle.problems.append(f"git: {one_line(error.stderr or str(error))}")
    except OSError as error:
        cycle.problems.append(one_line(error))
    if cycle.problems and cycle.outcome not in ("promoted", "blocked"):
        cycle.outcome = "failed"
    cycle.ended = now + timedelta(seconds=sum(step.seconds for step in cycle.steps))
    cycle.write(root)
    return cycle


def _overdue(now: datetime) -> datetime | None:
    """When the next cycle is overdue, as the settings of this clone say; None if they cannot be read."""
    try:
        return now + timedelta(hours=rules.read(read(Params).dataset.name).cycle.overdue_hours)
    except KibanError:
        return None


def _up_to_date(now: datetime) -> Registry:
    """The registry, with the release that it names laid: a promotion may have been killed, or made elsewhere."""
    with promote.alone(PATIENCE):
        known = promote.up_to_date(now)
        promote.answer_with_prod(known)
        return known


def _held(known: Registry) -> str | None:
    """Why nothing is promoted, or None."""
    if known.hold is None:
        return None
    return (known.hold.record.reason if known.hold.record else "") or "no reason was given"


def _branch() -> str:
    """The branch that the cycle moves: origin's main, or the one that is checked out."""
    name = remote.main() or git(Path(), "branch", "--show-current").strip()
    if not name:
        raise KibanError(f"no branch is checked out, and {remote.ORIGIN} names none: `git switch main`")
    return name


def _tip(ref: str) -> str:
    """The commit of a branch, or an empty text if there is none."""
    return git(Path(), "for-each-ref", "--format=%(objectname)", ref).strip()


def _start(branch: str) -> str:
    """The newest commit of the branch, here and at origin. Raises KibanError if the two have gone apart."""
    here, there = _tip(f"refs/heads/{branch}"), _tip(f"refs/remotes/{remote.ORIGIN}/{branch}")
    if not here or not there:
        return here or there or commit_of("HEAD")
    common = git(Path(), "merge-base", here, there).strip()
    if common not in (here, there):
        raise KibanError(
            f"{branch} and {remote.ORIGIN}/{branch} have gone apart: `kiban merge {remote.ORIGIN}/{branch}`"
        )
    return there if common == here else here


def _link_sources(clone: Path) -> None:
    """Link what the sources name by a path and git does not know, such as a feed in a folder of the clone."""
    tables = read(Params).dataset.tables.values()
    options = [value for table in tables for value in table.source.options.values()]
    tree.link([value for value in options if isinstance(value, str)], clone)


def _turn(cycle: Cycle, branch: str, now: datetime, accepted: Mapping[str, str], until: str | None, root: Path) -> bool:
    """All steps in the worktree. False if somebody else moved the branch meanwhile."""
    settings = rules.read(read(Params).dataset.name)
    intake.take(cycle, now, accepted, until)
    with cycle.step("monitor") as say:
        try:
            say(_monitor(cycle, now, root, settings))
        except KibanError as error:  # the model that mends it must still come
            cycle.problems.append(f"the monitor: {error}")
    with cycle.step("commit") as say:
        cycle.commit = _commit(cycle)
        say(cycle.commit[:7] if cycle.commit else "nothing has changed")
    with promote.alone(PATIENCE):
        return _promote(cycle, promote.up_to_date(now), branch, now, settings)


def _monitor(cycle: Cycle, now: datetime, root: Path, settings: Promotion) -> str:
    """Look at the model in production, tell what has begun or ended, and say what was seen."""
    if release.current(root) is None:
        return "nothing is in production yet"
    params = read(Params)
    seen = monitor.look(now, root, params.gate, settings.monitor, params.dataset.timezone)
    present = seen.report.alarms
    cycle.problems += alarms.record(present, now, root / alarms.FILE.name)
    alarms.show(alarms.read(root / alarms.FILE.name))
    table = seen.model.servable.contract
    archive.keep(root / archive.NEWEST, seen.rows, seen.weeks, table)
    page = monitor_page.page(seen, params.dataset.name).encode()
    files.write(root / PAGE, page)
    if archive.is_behind(root / archive.NEWEST):
        archive.publish(root / archive.NEWEST, table)
        files.write(archive.FOLDER / PAGE, page)
        tree.dvc("add", str(archive.FOLDER))
    cycle.alarms = [f"{alarm.kind}, {alarm.subject}: {alarm.sentence}" for alarm in present]
    return f"{len(present)} alarms; {root / PAGE}"


def _commit(cycle: Cycle) -> str | None:
    """Commit what has changed, and return the commit; None if nothing has."""
    name = read(Params).dataset.name
    written = (paths.ledger(name), paths.LOCK, paths.PARAMS, paths.EVALUATION.parent, alarms.FOLDER)
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
        elif plan and settings.deliver == "pull_request" and not remote.has(commit_of("HEAD")):
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
    cycle.hold = _held(known)
    if cycle.hold:
        cycle.outcome, cycle.promotion = "held", f"a hold was set: {cycle.hold}; `kiban hold --end` ends it"
        return None
    if cycle.held_back:
        kept_out = ", ".join(cycle.held_back)
        cycle.outcome = "blocked"
        cycle.promotion = (
            f"{kept_out} is kept out: correct it at its source; if it is right, --accept takes one that differs"
        )
        return None
    if cycle.problems:
        cycle.outcome, cycle.promotion = "blocked", "something failed, see below: a batch may be missing"
        return None
    if known.prod is None:
        return "nothing is in production yet"
    records = [tag.record for tag in known.tags if tag.commit == known.prod.commit and tag.record]
    through = max((record.through for record in records), default="")
    new = sorted(name for name in Revision("HEAD").evaluation.by_batch if base(name) > through)
    months = (now - known.prod.at).days // DAYS_OF_A_MONTH
    if any(alarm.startswith("quality") for alarm in cycle.alarms):
        return "its quality is worse than promised"
    if len(new) >= settings.cycle.batches:
        return f"{len(new)} new batches, up to {new[-1]}"
    if months >= settings.cycle.months:
        return f"it is {months} months old"
    cycle.outcome = "not due" if cycle.commit else "nothing to do"
    cycle.promotion = f"{len(new)} new batches and {max(0, months)} months since the last promotion"
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
    if _tip(f"refs/heads/{branch}") == commit:
        if BRINGING.exists():
            _bring_data()
        return f"{branch} is at {commit[:7]}"
    if git(Path(), "branch", "--show-current").strip() != branch:
        if not remote.is_there():
            git(Path(), "branch", "--force", branch, commit)
        return f"{branch} is not checked out here"
    waiting = f"{WAITING} has the commit; `git merge --ff-only {WAITING}` takes it"
    if git(Path(), "status", "--porcelain", "--untracked-files=no"):
        git(Path(), "branch", "--force", WAITING, commit)
        return f"there are uncommitted changes here: {waiting}"
    BRINGING.touch()
    try:
        git(Path(), "merge", "--quiet", "--ff-only", commit)
    except subprocess.CalledProcessError as error:  # such as a file that git does not know, in the way of one it does
        BRINGING.unlink()
        git(Path(), "branch", "--force", WAITING, commit)
        return f"git does not merge it ({one_line(error.stderr)}): {waiting}"
    _bring_data()
    return f"{branch} is at {commit[:7]}"


def _bring_data() -> None:
    """Lay the data of the commit that is checked out, without force: what is in no cache is somebody's work."""
    try:
        tree.dvc("checkout")
    finally:  # but not if it is killed: a problem is told once
        BRINGING.unlink()
