"""Merging a branch: git merges conf/, code and contracts; ledgers are merged by batch; results are made again.

How far a merge has come is read from git, so that one that stopped or was killed goes on when it is called again.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kiban.core import files, paths
from kiban.core.errors import KibanError, one_line
from kiban.core.git import commit_of, content, git, merging, prefix
from kiban.core.store import PATIENCE, saved
from kiban.ingest import ledger
from kiban.ingest.ledger import Ledger
from kiban.maintain import ledgers
from kiban.maintain.ledgers import Side
from kiban.maintain.pull import pull

MADE = (str(paths.LOCK), str(paths.PARAMS), "reports")
"""What a run makes and git keeps: whole of one side, until the run makes it anew."""
SEARCHES = f":(exclude){paths.TUNING}"
"""What git leaves out of these, after their names: the tables of searches, which it merges itself."""
AGAIN = "then run `kiban merge` again; `kiban merge --abort` gives the merge up"


def merge(branch: str | None, chosen: Mapping[str, Side]) -> None:
    """Merge `branch`, or go on with the merge that is not finished, to its commit.

    `chosen` names the side that counts for a batch that both changed. Raises KibanError, which says what to do, if a
    person has to decide, or if a step fails.
    """
    _git("rev-parse", "--git-dir")  # or this is no repository
    theirs = merging(Path())
    if theirs is None:
        if branch is None:
            raise KibanError("no merge is going on: name the BRANCH to merge")
        theirs = commit_of(branch)
        if _base(theirs) == theirs:
            print(f"merge: {branch} is merged already")
            return
        if changes := _git("status", "--porcelain", "--untracked-files=no").splitlines():
            raise KibanError(f"{changes[0][3:]} is changed and not committed: commit it, or restore it, then merge")
        _check_names(chosen, theirs)
        for path in _ledgers(theirs):  # what is refused is refused before anything is changed
            _replaced(path, _merged(path, theirs, chosen), theirs)
        _start(branch)
    elif branch is not None and commit_of(branch) != theirs:
        raise KibanError(f"the merge of {theirs[:7]} is not finished: `kiban merge` goes on with it, or --abort")
    if foreign := _foreign():
        raise KibanError(f"{foreign[0]} is changed and not staged: `git add` it for this merge, or restore it, {AGAIN}")
    print(f"merge: {', '.join(MADE)} are {_take_made(theirs)}")
    for path in _ledgers(theirs):
        _lay(path, _merged(path, theirs, chosen), theirs)
    if conflicts := [path for path in _conflicts() if not _is_made_in_a_sibling(path)]:
        raise KibanError(f"{', '.join(conflicts)}: choose between the two sides there, `git add` it, {AGAIN}")
    _run("kiban", "compose")
    _run("dvc", "repro")
    _commit()


def abort() -> None:
    """Give up the merge that is not finished: files and outputs are those of the commit that is checked out again.

    What was changed and is no part of the merge stays. Raises KibanError if no merge is going on, or if git would have
    to overwrite such a change.
    """
    _git("rev-parse", "--git-dir")
    theirs = merging(Path())
    if theirs is None:
        raise KibanError("no merge is going on: there is nothing to give up")
    other_snapshots = [file for path in _ledgers(theirs) for file in _different(path, _ledger(path, "HEAD"), theirs)]
    for file in other_snapshots:
        file.unlink()
    _git("restore", "--", *(name for name in MADE if _git("ls-files", "--", name)), SEARCHES)
    _git("merge", "--abort")
    _git("clean", "--quiet", "--force", "-d", "--", str(paths.PLOTS))
    if problem := pull(PATIENCE, "any").problem:
        print(f"merge: not all outputs are here: {problem}; `dvc repro` makes them")
    # It makes data/raw what the ledger says. With --quiet, DVC would be silent about what failed too.
    done = subprocess.run(["dvc", "repro", "ingest"], check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, end="", file=sys.stderr)
        raise KibanError("the merge is given up, and data/raw is not yet as before, see above: run `dvc repro`")
    print("merge: given up; files and outputs are as before")


def _start(branch: str) -> None:
    try:
        git(Path(), "merge", "--no-commit", "--no-ff", branch)
    except subprocess.CalledProcessError as error:  # with conflicts too
        if merging(Path()) is None:
            raise KibanError(f"git does not merge {branch}: {one_line(error.stderr or error.stdout)}") from None


def _take_made(theirs: str) -> str:
    """Take all that a run makes from one side, and return whose it is: theirs, if they alone ran anything."""
    before, ours, other = (content(commit, paths.LOCK) for commit in (_base(theirs), "HEAD", theirs))
    is_theirs = before == ours != other
    source = theirs if is_theirs else "HEAD"
    for name in MADE:
        if _git("ls-tree", "--name-only", source, "--", name):
            _git("restore", f"--source={source}", "--staged", "--worktree", "--", name, SEARCHES)
    if problem := pull(PATIENCE, "any").problem:
        print(f"merge: not all outputs are here: {problem}; the run makes them")
    return "the other side's, which alone had changed them" if is_theirs else "this side's, until the run makes them"


def _ledgers(theirs: str) -> list[Path]:
    """The ledgers of both sides and of their base."""
    listings = [_git("ls-tree", "--name-only", commit, "--", "data/") for commit in (_base(theirs), "HEAD", theirs)]
    names = {name for listing in listings for name in listing.splitlines()}
    return [Path(name) for name in sorted(names) if name.endswith(paths.LEDGER_SUFFIX)]


def _merged(path: Path, theirs: str, chosen: Mapping[str, Side]) -> Ledger:
    """The ledger of both sides. Raises KibanError if both changed a batch, and none of them was chosen."""
    base, ours, other = (_ledger(path, commit) for commit in (_base(theirs), "HEAD", theirs))
    merged, refused = ledgers.merged(base, ours, other, chosen)
    if refused and merging(Path()) and str(path) not in _unmerged():  # it was decided before a stop
        decided = ledger.read(path)
        sides = ledgers.sides(refused, decided, other)
        merged, refused = ledgers.merged(base, ours, other, sides)
    if refused:
        raise KibanError(
            f"{path}: both sides changed {', '.join(refused)}: give `--take ours {refused[0]}`, or theirs, to say "
            "whose snapshot counts"
        )
    return merged


def _ledger(path: Path, commit: str) -> Ledger:
    return ledger.parse_ledger((content(commit, path) or "").encode(), f"{path} of {commit[:7]}")


def _different(path: Path, wanted: Ledger, theirs: str) -> list[Path]:
    """The snapshots in data/raw that are not those that are `wanted`, of the batches in which both sides differ."""
    dataset = path.name.removesuffix(paths.LEDGER_SUFFIX)
    sides = [_ledger(path, commit) for commit in ("HEAD", theirs)]
    batches = {(table, batch) for side in sides for table, entries in side.items() for batch in entries}
    different = []
    for table, batch in sorted(batches):
        mine, other, entry = (side.get(table, {}).get(batch) for side in (*sides, wanted))
        file = paths.raw_file(dataset, table, batch)
        if mine != other and file.exists() and (entry is None or not files.is_file(file, entry.sha256)):
            different.append(file)
    return different


def _replaced(path: Path, wanted: Ledger, theirs: str) -> list[Path]:
    """What `_different` finds. Raises KibanError if DVC's cache has not saved one of these snapshots."""
    digests = {file: files.md5(file) for file in _different(path, wanted, theirs)}
    there = saved(digests.values())
    for file, digest in digests.items():
        if digest not in there:
            raise KibanError(f"{file} would be replaced, and DVC has not saved it: run `dvc repro`, commit, {AGAIN}")
    return list(digests)


def _lay(path: Path, merged: Ledger, theirs: str) -> None:
    """Write the ledger of both sides, and remove the snapshots that it replaces. The stage ingest brings the others."""
    for file in _replaced(path, merged, theirs):
        file.unlink()
    if merged:
        ledger.write(path, merged)
        _git("add", "--", str(path))
    else:  # a side has removed the dataset
        _git("rm", "--quiet", "--force", "--ignore-unmatch", "--", str(path))


def _unmerged() -> list[str]:
    """The paths that git could not merge, from here."""
    root = prefix(Path())
    listing = _git("diff", "-z", "--name-only", "--diff-filter=U")
    return [name.removeprefix(root) for name in listing.split("\0") if name]


def _conflicts() -> list[str]:
    """The paths that git could not merge, and those that were added with the markers of a conflict in them."""
    try:
        git(Path(), "diff", "--cached", "--check", "HEAD")
        report = ""
    except subprocess.CalledProcessError as error:
        report = error.stdout
    root = Path(_git("rev-parse", "--show-toplevel").strip())
    reported = re.findall(r"(?m)^(.+):\d+: leftover conflict marker", report)
    # A line of seven = alone may be the rule under a heading.
    marked = [name for name in reported if b"\n<<<<<<< " in b"\n" + (root / name).read_bytes()]
    return list(dict.fromkeys([*_unmerged(), *marked]))


def _check_names(chosen: Mapping[str, Side], theirs: str) -> None:
    """Raise KibanError if a side was chosen for a batch that both sides did not change."""
    refused: set[str] = set()
    for path in _ledgers(theirs):
        base, ours, other = (_ledger(path, commit) for commit in (_base(theirs), "HEAD", theirs))
        refused |= set(ledgers.merged(base, ours, other, {})[1])
    for name in chosen:
        if not any(name in (each, each.partition("/")[2]) for each in refused):
            both = f"they changed {', '.join(sorted(refused))}" if refused else "they changed none"
            raise KibanError(f"--take: both sides did not change the batch {name}: {both}")


def _foreign() -> list[str]:
    """The paths that differ from what is staged, and are not of this merge: git merges beside such changes."""
    root = prefix(Path())
    listing = _git("diff", "-z", "--name-only").split("\0")
    changed = {name.removeprefix(root) for name in listing if name} - set(_unmerged())
    made = {name.removeprefix(root) for name in _git("diff", "-z", "--name-only", "--", *MADE, SEARCHES).split("\0")}
    ours = {str(path) for path in Path("data").glob(f"*{paths.LEDGER_SUFFIX}")}
    return sorted(name for name in changed - made - ours if Path(name).name != ".gitignore")


def _is_made_in_a_sibling(path: str) -> bool:
    """Whether a run in another folder of the repository makes the file: `kiban merge` is for that folder to end."""
    root = Path(_git("rev-parse", "--show-toplevel").strip())
    return any(
        (root / folder / "dvc.yaml").exists() and _is_made(PurePosixPath(path).relative_to(folder))
        for folder in PurePosixPath(path).parents
    )


def _is_made(path: PurePosixPath) -> bool:
    """Whether a merge makes the file of a project: by a run, or by batch."""
    is_search = path.is_relative_to(paths.TUNING)
    return (path.parts[0] in MADE and not is_search) or path.name.endswith(paths.LEDGER_SUFFIX)


def _commit() -> None:
    _git("add", "--all", "--", *(name for name in MADE if Path(name).exists()), SEARCHES)
    _git("add", "--update", "--", ".")  # what the run has changed: nothing else was
    if elsewhere := _unmerged():
        raise KibanError(f"{elsewhere[0]} is made by a run in its own folder: run `kiban merge` there, which commits")
    _git("commit", "--quiet", "--no-edit", "--cleanup=strip")
    print(f"merge: committed as {_git('rev-parse', '--short', 'HEAD').strip()}; `kiban report HEAD^1` compares")


def _base(theirs: str) -> str:
    return _git("merge-base", "HEAD", theirs).strip()


def _git(*arguments: str) -> str:
    """The output of git. Raises KibanError with git's message if it fails."""
    try:
        return git(Path(), *arguments)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise KibanError(f"`git {arguments[0]}` failed: {one_line(said)}; mend that, {AGAIN}") from None


def _run(*command: str) -> None:
    """Run a command of the user's. Raises KibanError if it fails; it has said why."""
    if subprocess.run(command, check=False).returncode:
        raise KibanError(f"`{' '.join(command[:2])}` failed, see above: mend that, {AGAIN}")
