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
@click.option("--absent", is_flag=True, help="Leave what is here as it is: bring only what this clone has no file of.")
def pull(patience: int, absent: bool) -> None:
    """Bring what dvc.lock names, from DVC's cache or its store, so that nothing runs that somebody has run.

    An output that is here and differs is replaced if the cache has saved it, so that nothing is lost. What cannot be
    brought is said in one line, and is no failure: the run makes it. `make repro` begins with `kiban pull --absent`.
    What data/erased.yaml names is removed from the cache.

    \b
    Examples:
      git pull && kiban pull
    """
    from kiban.core import tombstones
    from kiban.maintain import pull

    if tombstones.FILE.exists():
        from kiban.maintain import erase

        erase.remove_again(stores=False)  # another clone has erased them
    pulled = pull.pull(patience, "absent" if absent else "saved")
    if pulled.outputs:
        print(f"pull: {', '.join(pulled.outputs)}")
    if pulled.problem:
        print(f"pull: not all of dvc.lock is here: {pulled.problem}; the run makes it", file=sys.stderr)
