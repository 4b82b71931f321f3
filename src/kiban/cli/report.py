"""`kiban report`: writes how a pull request changes the model, as Markdown."""

from pathlib import Path

import click

from kiban.cli.places import Place


@click.command()
@click.argument("base")
@click.argument("head", required=False)
@click.option(
    "--pictures",
    type=Place(file_okay=False, path_type=Path),
    help="Draw the plots of both versions in this folder, and show them in the report.",
)
@click.option("--stored", is_flag=True, help="Say first if the store lacks what the version names, or cannot be asked.")
def report(base: str, head: str | None, pictures: Path | None, stored: bool) -> None:
    """Compare the model of revision BASE with that of HEAD, or of the working tree, and print Markdown.

    Nothing is trained: results come from git, and predictions from DVC's cache or its remote.

    \b
    Examples:
      kiban report main --pictures report > report.md
    """
    from kiban.core.store import PATIENCE
    from kiban.operate import push
    from kiban.review.comparison import compare
    from kiban.review.report import cell, markdown
    from kiban.review.revision import Revision
    from kiban.track import plots

    before, after = Revision(base), Revision(head)
    comparison = compare(before, after)
    drawn: dict[str, Path] = {}
    if pictures:
        try:
            specifications = plots.specifications(Path(), *([base, head] if head else [base]))
            drawn = plots.draw(plots.before_and_after(specifications, base), pictures)
        except Exception as error:  # of DVC or the renderer: a report without pictures is still useful
            click.echo(f"warning: the report has no pictures: {error}", err=True)
    if stored and (answer := push.check(after.commit, None, PATIENCE)).state != "pushed":
        click.echo(f"> **{cell(answer.line)}**\n")
    addresses = {title: file.as_posix() for title, file in drawn.items()}
    click.echo(markdown(before, after, comparison, addresses), nl=False)
