"""git's hook that keeps a push of commits back whose data and models the store lacks: `make hooks` installs it."""

import shlex
import subprocess
from pathlib import Path

from kiban.core.errors import KibanError, exit_on_error
from kiban.core.files import whole
from kiban.core.git import git, prefix

NAME = "pre-push"
ALL = """#!/bin/sh
# Runs each program of pre-push.d with what git passes: kiban's, and the hook that was here before.
read_by_all=$(cat)
for hook in "$0.d"/*; do
    test ! -x "$hook" || printf '%s\\n' "$read_by_all" | "$hook" "$@" || exit 1
done
"""
OURS = """#!/bin/sh
# git passes a line for each reference: its name here, its commit, its name there, its commit there.
unset $(git rev-parse --local-env-vars)
cd {folder} && test -x .venv/bin/kiban || exit 0
set --
while read -r _ commit _ _; do
    case $commit in *[!0]*) git cat-file -e "$commit:./dvc.lock" 2> /dev/null && set -- "$@" "$commit" ;; esac
done
test $# = 0 || .venv/bin/kiban push --check --timeout 60 "$@" >&2
"""


def install(root: Path) -> Path:
    """Install the hook for the project in `root`, beside a hook that is there, and return its path.

    Raises KibanError if `root` is not in a git repository.
    """
    try:
        hook = root / git(root, "rev-parse", "--git-path", f"hooks/{NAME}").strip()
        name = prefix(root).strip("/").replace("/", "-") or "kiban"
    except (OSError, subprocess.CalledProcessError):
        raise KibanError("this is not a git repository: there is nothing to hook into") from None
    if git(root, "config", "--default", "", "--get", "core.hooksPath").strip():
        raise KibanError(
            f"core.hooksPath names the folder of hooks, which others may share: have its {NAME} run "
            "`.venv/bin/kiban push --check COMMIT` for each commit that is pushed"
        )
    others = hook.with_name(f"{NAME}.d")
    others.mkdir(parents=True, exist_ok=True)
    if hook.exists() and hook.read_text(encoding="utf-8", errors="replace") != ALL:
        before = next(path for number in range(1, 1000) if not (path := others / f"before-{number}").exists())
        if hook.is_symlink():  # it may be relative to the folder that it is in
            before.symlink_to(hook.resolve())
            hook.unlink()
        else:
            hook.rename(before)
    _write(others / name, OURS.format(folder=shlex.quote(str(root.resolve()))))
    _write(hook, ALL)
    return hook


def _write(path: Path, text: str) -> None:
    with whole(path) as beside:
        beside.write_text(text)
        beside.chmod(0o755)


def main() -> None:
    print(f"{install(Path())}: a push is kept back if the store lacks what its commits name")


if __name__ == "__main__":
    exit_on_error(main)
