"""Promotion and rollback: tags that say which model is in production, and the release that a service answers with."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from semver import Version

from kiban.core import paths, turns
from kiban.core.errors import KibanError
from kiban.core.git import commit_of, git
from kiban.evaluate.gate import Judged
from kiban.operate import challenge, push, registry, release, remote, rules, versions
from kiban.operate.registry import HOLD, PROD, Record, Registry, Tag
from kiban.operate.remote import UnreachableError
from kiban.operate.rules import Promotion
from kiban.request import replaces
from kiban.review.revision import Revision
from kiban.servable.load import load
from kiban.serve.released import CURRENT, SERVABLE, Release
from kiban.track import champion
from kiban.track.champion import Champion

BY_PROMOTION = "a person has promoted a model"
"""The reason of the end of a hold that a promotion brings."""

WAIT = 10.0
"""Seconds that a rollback or a hold waits for origin before it goes on without."""
TRIES = 3
"""Times that a promotion begins anew because somebody else was faster."""
STORE_SECONDS = 300


@dataclass(frozen=True)
class Plan:
    """What a promotion will do. `registered` is the tag of the version if it has one already."""

    candidate: Revision
    record: Record
    version: Version
    registered: Tag | None
    judged: Judged


def alone(seconds: float = 0) -> AbstractContextManager[None]:
    """Keep out other promotions in this clone, and those of other clones into the same release folder.

    Raises KibanError, when it is entered, if one still runs after `seconds`.
    """
    return turns.alone("promotion", (paths.CACHE, release.root()), seconds)


def up_to_date(now: datetime, is_dry: bool = False, seconds: float = remote.SECONDS) -> Registry:
    """The registry, with what origin has and this clone lacks; what origin lacks is pushed, but with `is_dry`.

    A rollback or a hold that was made while origin was out of reach, and whose name another tag has got there, gets a
    new name. A promotion that was killed before it was pushed is none. Raises UnreachableError if origin does not
    answer within `seconds`. Without an origin the registry is the one of this clone.
    """
    dataset = Revision("HEAD").dataset
    here = registry.read(dataset)
    if not remote.is_there():
        return here
    there = {
        name: digest
        for name, digest in remote.tags(seconds).items()
        if name.startswith((f"{here.name}@", f"{here.name}#"))
    }
    new = there.keys() - {tag.name for tag in here.tags}
    clashing = [tag for tag in here.tags if there.get(tag.name, tag.object) != tag.object]
    if is_dry:
        remote.fetch(new, [], seconds)
        return registry.read(dataset)
    highest = max((int(number) for name in there if (number := name.rpartition("#")[2]).isdecimal()), default=0)
    for tag in clashing:
        if tag.stage and tag.record and not _needs_origin(tag):
            present = registry.read(dataset)
            registry.write(present, present.stage_tag(tag.stage, tag.ends, highest), tag.commit, tag.record, now)
    remote.fetch(new, [tag.name for tag in clashing], seconds)
    lacking = [tag for tag in registry.read(dataset).tags if tag.name not in there]
    is_new = not there  # origin has just been added: it has none of what was promoted before
    registry.remove(tag.name for tag in lacking if _needs_origin(tag) and not is_new)
    try:
        if kept := [tag.name for tag in lacking if is_new or not _needs_origin(tag)]:
            remote.push(kept, None)
    except KibanError as error:
        print(f"{error}: this clone alone knows {', '.join(kept)}")
    return registry.read(dataset)


def _needs_origin(tag: Tag) -> bool:
    """Whether it is made with origin alone, as a promotion is, and a rollback or a hold is not."""
    record = tag.record
    is_by_promotion = record is not None and record.kind == "end of hold" and record.reason == BY_PROMOTION
    return record is not None and (record.kind in ("version", "promotion") or is_by_promotion)


def plan(asked: str | None, known: Registry, override: str | None) -> Plan | None:
    """What it takes to promote the model of a version, or of HEAD; None if it is in production already.

    Raises KibanError if there is no such version, or if a file that is needed is in neither cache nor store.
    """
    candidate = _candidate(asked, known)
    record = versions.described(candidate)
    champion = Revision(known.prod.commit) if known.prod else None
    if champion and champion.evaluation.model_id == record.model_id:
        return None
    registered = known.version_of(record.model_id)
    if registered and registered.commit != candidate.commit:
        candidate = Revision(registered.commit)
    judged = challenge.judge(candidate, champion, Revision(versions.rules_of(candidate.commit or "HEAD")))
    if override:
        judged = judged.model_copy(update={"override": override})
    version = registered.version if registered else None
    return Plan(candidate, record, version or versions.next_version(known, candidate), registered, judged)


def _candidate(asked: str | None, known: Registry) -> Revision:
    if asked is None:
        _check_committed()
        return Revision(commit_of("HEAD"))
    return Revision(version_tag(asked, known).commit)


def version_tag(asked: str, known: Registry) -> Tag:
    """The tag of a version. Raises KibanError if there is none."""
    number = asked.removeprefix("v")
    tag = known.versions.get(Version.parse(number)) if Version.is_valid(number) else None
    if tag is None:
        last = ", ".join(f"v{version}" for version in list(known.versions)[-3:]) or "none yet"
        raise KibanError(f"there is no version {asked} (the last are {last}): `kiban versions` lists them")
    return tag


def _check_committed() -> None:
    """Raise KibanError if the working tree has another model than HEAD."""
    if Revision(None).evaluation.model_id != Revision("HEAD").evaluation.model_id:
        raise KibanError("the model of the working tree is in no commit: commit dvc.lock, params.yaml, reports/")


def register(now: datetime) -> str:
    """Give the model of HEAD a version, or say which one it has, as a line. The store has the model then.

    Raises KibanError as `plan` does, and if store or origin do not take it.
    """
    known = up_to_date(now)
    candidate = _candidate(None, known)
    record = versions.described(candidate)
    if tag := known.version_of(record.model_id):
        return f"model {record.model_id[:12]} is {tag.title} already"
    version = versions.next_version(known, candidate)
    commit = candidate.commit or ""
    branch = _branch_to_push(commit, rules.read(candidate.dataset))
    check_stored(commit)
    name = registry.write(known, f"{known.name}@v{version}", commit, record, now)
    if not _pushed([name], branch):
        raise KibanError("somebody else has registered a version at the same time: try again")
    return f"model {record.model_id[:12]} is {name}"


def fetch(asked: str, root: Path, now: datetime) -> Release:
    """Lay a version, or what is in production, into the release folder `root`, and let it answer.

    Raises KibanError if there is no such version, or if a file of it is in neither cache nor store.
    """
    known = up_to_date(now)
    tag = known.prod if asked == PROD else version_tag(asked, known)
    if tag is None:
        raise KibanError("nothing is in production yet: `kiban promote` comes first")
    laid = _release_of(tag)
    release.write(root, laid)
    release.turn(root, laid, rules.read(Revision("HEAD").dataset).keep)
    return laid


def answer_with_prod(known: Registry) -> None:
    """Lay what is in production, if the service has another release: a promotion was killed, or made elsewhere."""
    present = release.current(release.root())
    if known.prod and (present is None or present.commit != known.prod.commit):
        laid = _release_of(known.prod)
        _prepare(laid)
        _answer_with(laid, rules.read(Revision("HEAD").dataset))


def _release_of(tag: Tag, accepts_less: bool = False) -> Release:
    model_id = tag.record.model_id if tag.record else Revision(tag.commit).evaluation.model_id
    is_told = tag.record is not None and tag.record.accepts_less
    return Release(version=tag.title, model_id=model_id, commit=tag.commit, accepts_less=accepts_less or is_told)


def promote(plan: Plan, accepts_less: bool, now: datetime, branch: str | None = None) -> bool:
    """Carry a plan out: check store and service, tag, push, and lay the release. False if somebody else was faster.

    HEAD goes to the `branch` of origin with the tags; to the one that is checked out if None. It ends a hold. Raises
    KibanError if the store lacks the model, if the service would refuse it, or if origin cannot be reached.
    """
    commit, dataset, record = plan.candidate.commit or "", plan.candidate.dataset, plan.record
    settings = rules.read(dataset)
    to_push = (None if remote.has(commit_of("HEAD")) else branch) if branch else _branch_to_push(commit, settings)
    check_stored(commit)
    laid = Release(version=f"v{plan.version}", model_id=record.model_id, commit=commit, accepts_less=accepts_less)
    _prepare(laid)
    known = registry.read(dataset)
    made = []
    if plan.registered is None:
        made.append(registry.write(known, f"{known.name}@v{plan.version}", commit, record, now))
    further = {
        "kind": "promotion",
        "judged": plan.judged,
        "reason": plan.judged.override or "",
        "accepts_less": accepts_less,
    }
    made.append(_mark(dataset, PROD, commit, record.model_copy(update=further), now))
    if known.hold:
        made.append(
            _mark(dataset, HOLD, commit, Record(kind="end of hold", model_id=record.model_id, reason=BY_PROMOTION), now)
        )
    is_done = _pushed(made, to_push)
    if is_done:
        _answer_with(laid, settings)
    return is_done


def _pushed(made: list[str], branch: str | None) -> bool:
    """Whether origin, if there is one, took the tags and the branch. Those that it did not take are removed."""
    try:
        is_done = not remote.is_there() or remote.push(made, branch) == "pushed"
    except BaseException:  # also if a person ends it
        registry.remove(made)
        raise
    if not is_done:
        registry.remove(made)
    return is_done


def roll_back(asked: str | None, reason: str, accepts_less: bool, now: datetime) -> None:
    """Go back to the model that was in production before, or to an earlier version of those, which is a hold too.

    Neither store nor network is needed for a release that is still on this machine. A rollback that was killed before
    it laid the release is ended first. Raises KibanError if there is nothing to go back to, or if the service would
    refuse it.
    """
    with _shared(now) as known:
        dataset = Revision("HEAD").dataset
        if _is_unfinished(known) and asked in (None, known.prod.title if known.prod else ""):
            print("rollback: the one that was begun before is ended")
            answer_with_prod(known)
            return
        laid = _release_of(_earlier(known, asked), accepts_less)
        _prepare(laid)
        record = Record(kind="rollback", model_id=laid.model_id, reason=reason, accepts_less=accepts_less)
        _mark(dataset, PROD, laid.commit, record, now)
        _answer_with(laid, rules.read(dataset))


def _is_unfinished(known: Registry) -> bool:
    """Whether the last rollback has not laid its release."""
    present = release.current(release.root())
    is_rollback = known.prod is not None and known.prod.record is not None and known.prod.record.kind == "rollback"
    return is_rollback and present is not None and known.prod is not None and present.commit != known.prod.commit


def hold(reason: str | None, now: datetime) -> None:
    """Set a hold for a reason, or end it without one. Raises KibanError if there is none, or nothing in production."""
    with _shared(now) as known:
        if known.prod is None:
            raise KibanError("nothing is in production yet, so there is nothing to hold: `kiban promote` comes first")
        if reason is None and known.hold is None:
            raise KibanError("there is no hold to end: `kiban versions` says what is in production")
        model_id = known.prod.record.model_id if known.prod.record else ""
        record = Record(kind="hold" if reason else "end of hold", model_id=model_id, reason=reason or "")
        _mark(Revision("HEAD").dataset, HOLD, known.prod.commit, record, now)


@contextmanager
def _shared(now: datetime) -> Iterator[Registry]:
    """The registry, whose new tags are pushed when the context ends; if origin is out of reach, by a later command."""
    try:
        known, is_reached = up_to_date(now, seconds=WAIT), True
    except UnreachableError as error:
        print(f"{error}: the tags are pushed by the next command that reaches it")
        known, is_reached = registry.read(Revision("HEAD").dataset), False
    try:
        yield known
    finally:
        if is_reached:
            try:
                up_to_date(now)
            except UnreachableError as error:
                print(f"{error}: the tags are pushed by the next command that reaches it")


def _mark(dataset: str, stage: str, commit: str, record: Record, now: datetime) -> str:
    """Tag a commit for a stage, and return the name of the tag."""
    known = registry.read(dataset)
    return registry.write(known, known.stage_tag(stage, record.kind == "end of hold"), commit, record, now)


def _earlier(known: Registry, asked: str | None) -> Tag:
    """The tag of what was in production before. Raises KibanError if nothing was, or not the version asked for."""
    before = list(known.served[:-1])
    if not before:
        raise KibanError("there is nothing to go back to: `kiban versions` lists what was in production")
    if asked is None:
        return before[-1]
    of_version = [tag for tag in before if tag.title == f"v{asked.removeprefix('v')}"]
    if not of_version:
        names = ", ".join(dict.fromkeys(tag.title for tag in reversed(before)))
        raise KibanError(f"{asked} was not in production before, {names} were: `kiban promote {asked}` takes it")
    return of_version[-1]


def _branch_to_push(commit: str, settings: Promotion) -> str | None:
    """The branch that goes to origin with the tags, or None if origin has the commit.

    Raises KibanError if the commit may not be pushed, or cannot be.
    """
    if not remote.is_there() or remote.has(commit):
        return None
    if settings.deliver == "pull_request":
        raise KibanError(f"no branch of {remote.ORIGIN} has the commit {commit[:7]}: merge its pull request first")
    branch = git(Path(), "branch", "--show-current").strip()
    if not branch or commit not in git(Path(), "rev-list", "HEAD").split():
        raise KibanError(f"the branch that is checked out lacks the commit {commit[:7]}: `git switch` to one with it")
    theirs = f"{remote.ORIGIN}/{branch}"
    if git(Path(), "branch", "--remotes", "--list", theirs) and git(Path(), "rev-list", f"HEAD..{theirs}").split():
        raise KibanError(f"{theirs} has commits that are not here: `kiban merge {theirs}`")
    return branch


def check_stored(commit: str) -> None:
    """Push what the store lacks. Raises KibanError if it lacks something then, or cannot be asked."""
    answer = push.check(commit, None, STORE_SECONDS)
    if answer.state == "not pushed" and commit == commit_of("HEAD"):
        push.push(None, STORE_SECONDS)
        answer = push.check(commit, None, STORE_SECONDS)
    if answer.state == "pushed":
        return
    if push.NO_REMOTE not in answer.sentence:
        raise KibanError(answer.line)
    print(f"promote: {push.NO_REMOTE}; the release is on this machine alone")


def _prepare(laid: Release) -> None:
    """Write a release beside the present one. Raises KibanError if the service would refuse it."""
    root = release.root()
    release.write(root, laid)
    present = root / CURRENT / SERVABLE
    if laid.accepts_less or not present.exists():
        return
    try:
        answering = load(present)
    except KibanError as error:  # it may be the very reason to go to another one
        print(f"release: the present model cannot be read ({error}): what it answers is not compared")
        return
    if reasons := replaces.problems(answering, load(root / laid.name / SERVABLE)):
        raise KibanError(
            f"{laid.version} refuses what the present model answers: {'; '.join(reasons)}. --accept-less takes it"
        )


def _answer_with(laid: Release, settings: Promotion) -> None:
    root = release.root()
    name = Revision("HEAD").dataset
    if prod := registry.read(name).prod:
        told = Champion(name=name, model_id=laid.model_id, version=laid.version, at=prod.at.isoformat())
        with contextlib.suppress(OSError):  # MLflow is never in the way
            champion.put(Path(), told)
    release.turn(root, laid, settings.keep)
    print(f"release: {root / CURRENT} is {laid.name}; {release.await_workers(root, laid)}")
