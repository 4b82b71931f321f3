"""`kiban push`: `dvc push` with a time limit, and a check of what the store has."""

import click

from kiban.core.errors import KibanError

TIMEOUT = 120  # seconds


@click.command()
@click.option("-r", "--remote", metavar="NAME", help="A remote other than the default.")
@click.option("--timeout", default=TIMEOUT, show_default=True, metavar="SECONDS", help="Time limit of the push.")
@click.option("--check", is_flag=True, help="Send nothing: exit status 1 if the store lacks what dvc.lock names.")
@click.argument("revisions", metavar="[REVISION]...", nargs=-1)
def push(remote: str | None, timeout: int, check: bool, revisions: tuple[str, ...]) -> None:
    """Send the data and models of this version to the DVC remote, and report what the store has not confirmed.

    The command may be repeated at any time: files that have arrived are not sent again. With --check, a store that
    cannot be asked is said, and is no failure; commits other than the working tree are named by REVISION.

    \b
    Examples:
      kiban push --timeout 600
      kiban push --check
      kiban push --check main
    """
    from kiban.core.git import commit_of
    from kiban.operate import push

    if not check:
        if revisions:
            raise click.UsageError("a REVISION is for --check: what is sent is what is checked out")
        pushed = push.push(remote, timeout)
        print(f"push: {pushed.files} files sent; the store has {', '.join(pushed.outputs)}")
        return
    for name in revisions or (None,):
        answer = push.check(commit_of(name) if name else None, remote, timeout)
        if answer.state == "not pushed":
            raise KibanError(answer.line)
        print(answer.line)
