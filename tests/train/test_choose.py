"""Features that a model leaves out are no part of a request, and choosing them is a parameter."""

from pathlib import Path

import pytest
from http_cases import client_of
from slice import KNOWN_FLIGHT, compose_here, run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.servable.load import load
from kiban.serve.model import Served
from kiban.serve.settings import Serving


class Params(Sections):
    serving: Serving


def test_a_feature_that_is_left_out_is_not_asked_for(project: Path) -> None:
    compose_here("model.features.without=[state_*,plane_type]", "model.min_samples_leaf=50", "model.max_iter=20")
    run_stage("train")
    run_stage("evaluate")
    servable = load()
    features = servable.contract.features()
    assert "plane_type" not in features
    assert not [name for name in features if name.startswith("state_")]
    client = client_of(Served(servable, read(Params).serving, paths.EVALUATION))
    assert client.post("/predict", json={"records": [KNOWN_FLIGHT]}).status_code == 200
    refused = client.post("/predict", json={"records": [{**KNOWN_FLIGHT, "plane_type": None}]})
    assert refused.status_code == 422
    whole = client.post("/invocations", json={"records": [{**KNOWN_FLIGHT, "plane_type": None}]})
    assert whole.status_code == 200


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.features.without=[gate]", "model.features.without: 'gate' matches no feature"),
        ("model.features.without=['*']", "model.features.without: no feature is left"),
        ("+model.features.with=[carrier]", "model.features.with: unknown key"),
        ("model.min_samples_leaf=1000000", "it gives one answer for all training rows"),
    ],
)
def test_what_leaves_nothing_to_learn_from_is_said(project: Path, override: str, said: str) -> None:
    before = load().model_id
    compose_here(override)
    with pytest.raises(KibanError, match=said.replace("*", r"\*")):
        run_stage("train")
    assert load().model_id == before
