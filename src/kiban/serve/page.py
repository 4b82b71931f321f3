"""The page of the service: a form made from the contract, which sends requests to /predict."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kiban.servable.evaluation import Figures
from kiban.serve.model import Feature, Model
from kiban.tasks.metric import Metric


def render(model: Model, metrics: Sequence[Metric], keyed: bool) -> str:
    """The page as self-contained HTML. It shows `metrics`; `keyed` says whether it asks for an API key."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        model=model,
        metrics=metrics,
        worth=_worth(model),
        shown=_shown,
        required=[feature for feature in model.features if not feature.nullable],
        optional=groups([feature for feature in model.features if feature.nullable]),
        keys=model.keys,
        keyed=keyed,
        style=_read("page.css"),
        script=_read("page.js"),
        policy=f"default-src 'none'; style-src '{_hash('page.css')}'; script-src '{_hash('page.js')}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'",
    )


def _shown(figure: float | None) -> str:
    """A figure with three decimals, or three digits if it is small or large."""
    if figure is None:
        return "–"
    size = abs(figure)
    return (
        f"{figure:.3f}" if size == 0 or 0.01 <= size < 1000 else f"{figure:,.0f}" if size >= 1000 else f"{figure:.3g}"
    )


def _worth(model: Model) -> dict[str, Figures]:
    """The figures of the model on each split, and on the test rows without a group of features."""
    if model.evaluation is None:
        return {}
    without = {f"test, without {name.replace('_', ' ')}": figures for name, figures in model.evaluation.without.items()}
    return {**model.evaluation.splits, **without}


def groups(features: list[Feature]) -> dict[str, list[Feature]]:
    """The features by the first word of their names, such as weather; those whose word no other has are `others`."""
    words = [feature.name.partition("_")[0] for feature in features]
    by_word: dict[str, list[Feature]] = {}
    for feature, word in zip(features, words, strict=True):
        by_word.setdefault(word if words.count(word) > 1 else "others", []).append(feature)
    return by_word


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(name: str) -> str:
    """The hash of an inline style or script for the content security policy: the browser accepts no others."""
    return f"sha256-{b64encode(hashlib.sha256(_read(name).encode()).digest()).decode()}"
