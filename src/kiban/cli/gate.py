"""`kiban gate`: whether a model is good enough to be merged."""

import click

from kiban.core.errors import KibanError
from kiban.core.text import plain


@click.command()
@click.argument("base")
@click.argument("head", required=False)
def gate(base: str, head: str | None) -> None:
    """Judge the model of HEAD, or of the working tree, by the gate of revision BASE. Exit status 1 if it fails.

    A branch may say why its model is to be merged all the same: `override` in conf/gate, with the id of the model and
    the reason.

    \b
    Examples:
      kiban gate main
      kiban gate main my-branch
    """
    from kiban.review import gate
    from kiban.review.revision import Revision

    judgement = gate.judged(Revision(base), Revision(head))
    text = f"gate {judgement.state}: {judgement.figures}"
    if not judgement.passed and judgement.override is None:
        raise KibanError(f"{text}; to merge it all the same, give model_id and reason in gate.override")
    print(f"{text}; {plain(judgement.override)}" if judgement.override and not judgement.passed else text)
