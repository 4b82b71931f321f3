"""`kiban merge`: merges a branch, and makes its results again."""

import click

from kiban.core.errors import KibanError


@click.command()
@click.argument("branch", required=False)
@click.option(
    "--take",
    "taken",
    type=(click.Choice(["ours", "theirs"]), str),
    multiple=True,
    metavar="ours|theirs BATCH",
    help="Whose snapshot of a batch counts that both sides changed: BATCH, or TABLE/BATCH. May be repeated.",
)
@click.option("--abort", is_flag=True, help="Give up a merge that is not finished: files and outputs are as before it.")
def merge(branch: str | None, taken: tuple[tuple[str, str], ...], abort: bool) -> None:
    """Merge BRANCH into the branch that is checked out, run what that changes, and commit.

    git merges conf/, contracts and code. The ledgers are merged by table and batch. dvc.lock, params.yaml and reports/
    are taken whole from one side, and made again by `kiban compose` and `dvc repro`. A merge that stopped, or that was
    killed, goes on with `kiban merge`.

    \b
    Examples:
      kiban merge origin/main
      kiban merge origin/main --take theirs flights/2013-02
      kiban merge --abort
    """
    from kiban.maintain import merge

    if not abort:
        merge.merge(branch, {batch: side for side, batch in taken})  # type: ignore[misc]
        return
    if branch or taken:
        raise KibanError("--abort gives up the merge that is going on: it takes neither a branch nor --take")
    merge.abort()
