"""`kiban pull`: brings what dvc.lock names and this clone lacks."""

import sys

import click

from kiban.core.store import PATIENCE


@click.command()
@click.option(
    "--patience",
    default=PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a store that makes no progress.",
)
def pull(patience: int) -> None:
    """Bring each output that dvc.lock names, and of which this clone has no file, from DVC's cache or its store.

    `make repro` begins with it, so that a colleague's clone runs nothing that somebody has run. What is here is left as
    it is. What cannot be brought is said in one line, and is no failure: the run makes it.

    \b
    Examples:
      kiban pull
    """
    from kiban.maintain import pull

    pulled = pull.pull(patience)
    if pulled.outputs:
        print(f"pull: {', '.join(pulled.outputs)}")
    if pulled.problem:
        print(f"pull: not all of dvc.lock is here: {pulled.problem}; the run makes it", file=sys.stderr)
