"""`kiban clean`: what grows in a repository, and what of it may go."""

import click

from kiban.cli.tables import show


@click.command()
@click.option("--yes", is_flag=True, help="Remove what may go. Without it, only say what would.")
def clean(yes: bool) -> None:
    """Say how large each place is that grows, and remove what nothing names any more.

    What a commit, a branch, a tag, a stash, a kept experiment or the working tree names stays. So remove experiments
    first, with `dvc exp remove`: then their objects go from DVC's cache, and their runs and models from MLflow's local
    store.

    \b
    Examples:
      kiban clean
      kiban clean --yes
    """
    from kiban.maintain import clean

    plan = clean.plan()
    rows = [[place.name, _in_words(place.bytes), _in_words(place.leaving), place.what] for place in plan.places]
    show("", ["place", "size", "may go", "what"], rows)
    leaving = sum(place.leaving for place in plan.places)
    if not yes:
        print(
            f"clean: {_in_words(leaving)} may go: `kiban clean --yes` removes it" if leaving else "clean: all is named"
        )
        return
    clean.carry_out(plan)
    print(f"clean: {_in_words(leaving)} removed")


def _in_words(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size) if size else "-"
