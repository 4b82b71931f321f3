"""`kiban lineage`: shows the origin of a model, found by the id that an answer has."""

from typing import TYPE_CHECKING

import click

from kiban.cli.tables import show
from kiban.core.text import plain

if TYPE_CHECKING:
    from kiban.review.lineage import Lineage


@click.command()
@click.argument("model_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lineage(model_id: str, as_json: bool) -> None:
    """Show the origin of a model: commit, data, parameters, metrics, validation. MODEL_ID may be its first 7 digits.

    \b
    Examples:
      kiban lineage 4334f33
    """
    import json

    from kiban.review import lineage

    model = lineage.lineage(model_id)
    if as_json:
        print(json.dumps(lineage.as_json(model), indent=1, ensure_ascii=False))
    else:
        _print(model)


def _print(model: "Lineage") -> None:
    from kiban.core.settings import leaves
    from kiban.tasks.own import every_metric

    commit = model.commit
    print(f"model   {model.model_id}")
    if commit:
        print(
            f"commit  {commit.hash[:12]}, {commit.at[:16].replace('T', ' ')}, "
            f"{plain(commit.author)}: {plain(commit.subject)}"
        )
    else:
        print("commit  none yet: only the working tree has this model")
    print("\nparameters")
    for key, value in leaves(model.parameters).items():
        print(f"  {plain(key)}: {plain(value)}")
    print("\nvalidation")
    for level, verdict in model.verdicts.items():
        print(f"  {level:<11} {verdict.in_words() if verdict else 'not here: `dvc fetch --all-commits` brings it'}")
    reported = list(dict.fromkeys(name for figures in model.metrics.values() for name in figures))
    names = [name for name in reported if name == "rows" or name in every_metric()]
    rows = [
        [split, *("-" if figures.get(name) is None else f"{figures[name]:,}" for name in names)]
        for split, figures in model.metrics.items()
    ]
    print()
    show("metrics", ["split", *(name.replace("_", " ") for name in names)], rows)
    batches = sorted({batch for table in model.batches.values() for batch in table})
    rows = [[batch, *_digests(model, batch), ", ".join(model.split.of(batch)) or "-"] for batch in batches]
    show("data, by the first digits of their SHA-256", ["batch", *model.batches, "split"], rows)


def _digests(model: "Lineage", batch: str) -> list[str]:
    return [table[batch].sha256[:12] if batch in table else "-" for table in model.batches.values()]
