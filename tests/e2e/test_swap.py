"""Other models laid into the folder of a service that answers sixteen callers."""

import itertools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from callers import Answered, callers
from clones import served_with
from servers import output_of, process_of, serving
from slice import KNOWN_FLIGHT

from kiban.servable import manifest, skops_file
from kiban.servable.load import load

WATCH = 0.2  # seconds


@pytest.fixture(scope="module")
def folder(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose service has two workers that look often."""
    return served_with(evaluated, tmp_path_factory.mktemp("swap") / "clone", workers=2, watch_seconds=WATCH)


def point(link: Path, target: Path) -> None:
    """Have the link lead to the target, in one step."""
    beside = link.with_name("beside")
    beside.symlink_to(target)
    beside.replace(link)


def lay(target: Path, source: Path) -> None:
    """Replace what a folder holds one file after the other, as `dvc checkout` does."""
    for file in target.iterdir():
        file.unlink()
    for file in source.iterdir():
        shutil.copy(file, target / file.name)


def altered(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change a file of a servable."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None


def signed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change a file of a servable, and have its manifest say so."""

    def spoil(folder: Path) -> None:
        altered(name, change)(folder)
        content = json.loads((folder / manifest.FILE).read_bytes())
        content["files"][name] = manifest.sha256(folder / name)
        (folder / manifest.FILE).write_text(json.dumps(content))

    return spoil


def requiring_the_aircraft(contract: bytes) -> bytes:
    content = yaml.safe_load(contract)
    content["columns"]["plane_seats"]["nullable"] = False
    return yaml.safe_dump(content, sort_keys=False).encode()


def crashing(folder: Path) -> None:
    """scikit-learn's model, with a tree of which every row goes on to a node that is not there."""
    model = skops_file.load(folder.parent / "model.skops")
    for (predictor,) in model[-1]._predictors:
        predictor.nodes["left"][0] = predictor.nodes["right"][0] = 2**32 - 1
    (folder / "model.onnx").unlink()
    (folder / "model.skops").write_bytes(skops_file.dumps(model))
    content = json.loads((folder / manifest.FILE).read_bytes())
    content["format"] = "skops"
    del content["files"]["model.onnx"]
    content["files"]["model.skops"] = manifest.sha256(folder / "model.skops")
    (folder / manifest.FILE).write_text(json.dumps(content))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (
        altered("model.onnx", lambda content: content[:-100]),
        "model.onnx differs from the file that the manifest",
    ),
    "incomplete": (lambda folder: (folder / "contract.yaml").unlink(), "contract.yaml is missing"),
    "no manifest": (altered("manifest.json", lambda _: b"{"), "manifest.json is not the manifest of a servable"),
    "no model": (signed("model.onnx", lambda content: content[:1000]), "model.onnx is not an ONNX model"),
    "crashing": (crashing, "the model crashed the process that tried it"),
    "incompatible": (signed("contract.yaml", requiring_the_aircraft), "it requires plane_seats"),
}


SWAPS = 20


@pytest.mark.long
def test_swaps_and_broken_models_lose_no_request(folder: Path, models: list[Path], tmp_path: Path) -> None:
    ids = [load(model).model_id for model in models]
    link, in_place = tmp_path / "current", tmp_path / "in place"
    shutil.copytree(models[0], in_place)
    link.symlink_to(in_place)
    shutil.copy(models[0].parent / "model.skops", tmp_path)
    broken = {name: shutil.copytree(models[0], tmp_path / name) for name in BROKEN}
    for name, (spoil, _) in BROKEN.items():
        spoil(broken[name])
    where = {"KIBAN_SERVABLE": str(link), "KIBAN_ANY_MODEL": "1"}  # no commit has either of them
    periods: list[tuple[float, float, str]] = []  # from when to when only this model may have been asked
    with serving(folder, "bentoml", "serve", **where) as client, callers(client.base_url) as answered:
        log = output_of(client, folder)
        for number in range(SWAPS):
            laid = time.monotonic()
            if number < SWAPS / 2:
                point(link, models[(number + 1) % 2])
            else:
                point(link, in_place)
                lay(in_place, models[(number + 1) % 2])
            taken = until(lambda: log.read_text().count("answers from now on"), 2 * (number + 1))
            periods.append((laid, taken, ids[(number + 1) % 2]))
        last = ids[SWAPS % 2]
        for number, (name, (_, reason)) in enumerate(BROKEN.items(), start=1):
            point(link, broken[name])
            until(lambda: log.read_text().count("the servable is refused"), 2 * number)
            assert reason in log.read_text()
            refused = time.monotonic()
            until(lambda moment=refused: len(answered.since(moment)), 1)
            assert answered.since(refused) == {last}
        time.sleep(0.5)
        counted = client.get("/metrics").text
    assert not answered.failed
    assert len(answered.calls) > 25 * SWAPS
    assert f'kiban_swaps_total{{outcome="taken"}} {2 * SWAPS}.0' in counted  # both workers'
    assert 'kiban_swaps_total{outcome="refused"} 12.0' in counted
    assert max(taken - laid for laid, taken, _ in periods) < 10  # a second on a quiet machine
    check_that_each_was_current(answered, periods, ids[0])
    of_model = {
        model_id: {prediction for *_, given, prediction in answered.calls if given == model_id} for model_id in ids
    }
    assert all(len(predictions) == 1 for predictions in of_model.values())
    assert of_model[ids[0]] != of_model[ids[1]]


@pytest.mark.long
def test_a_worker_in_the_place_of_a_dead_one_begins_with_what_was_accepted(
    folder: Path, models: list[Path], tmp_path: Path
) -> None:
    ids = [load(model).model_id for model in models]
    link, temporary = tmp_path / "current", tmp_path / "tmp"
    temporary.mkdir()
    link.symlink_to(models[0])
    where = {"KIBAN_SERVABLE": str(link), "KIBAN_ANY_MODEL": "1", "TMPDIR": str(temporary)}
    with serving(folder, "bentoml", "serve", **where) as client:
        log = output_of(client, folder)
        point(link, models[1])
        until(lambda: log.read_text().count("answers from now on"), 2)
        for number, name in enumerate(("no model", "incompatible"), start=1):
            broken = shutil.copytree(models[0], tmp_path / name)
            BROKEN[name][0](broken)
            point(link, broken)
            until(lambda: log.read_text().count("the servable is refused"), 4 * number - 2)
            workers = [each for each in process_of(client).children() if "--worker-id" in each.cmdline()]
            for worker in workers:
                worker.kill()
            until(lambda: log.read_text().count("the servable is refused"), 4 * number)  # by the new ones
            answers = [client.post("/predict", json={"records": [KNOWN_FLIGHT]}) for _ in range(20)]
            assert {answer.json()["model_id"] for answer in answers} == {ids[1]}
        # The model, a link to it, and the keys that models took.
        assert [len(list(each.iterdir())) for each in temporary.glob("kiban-accepted-*")] == [3]
    assert not list(temporary.glob("kiban-accepted-*"))


def until(count: Callable[[], int], reached: int) -> float:
    """The moment in which the count is reached."""
    ends = time.monotonic() + 30
    while count() < reached:
        assert time.monotonic() < ends
        time.sleep(0.02)
    return time.monotonic()


def check_that_each_was_current(answered: Answered, periods: list[tuple[float, float, str]], first: str) -> None:
    """A model answers from when it was laid until all workers have taken the next, and at no other time."""
    allowed = [(0.0, periods[0][1], first)]
    for (laid, _, model_id), following in itertools.zip_longest(periods, periods[1:]):
        allowed.append((laid, following[1] if following else float("inf"), model_id))
    for sent, got, _, given, _ in answered.calls:
        assert any(given == model_id and got > begins and sent < ends for begins, ends, model_id in allowed)


def test_a_model_is_taken_when_it_was_evaluated(folder: Path, models: list[Path]) -> None:
    """As when `dvc repro` runs where the service runs: train writes the model, evaluate its report."""
    report = folder / "reports/evaluation.json"
    content = report.read_bytes()
    of_old, of_new = load(folder / "models/servable").model_id, load(models[1]).model_id
    try:
        with serving(folder, "bentoml", "serve") as client:
            assert client.get("/model").json()["evaluation"]
            lay(folder / "models/servable", models[1])
            log = output_of(client, folder)
            until(lambda: log.read_text().count("is named by no reports/evaluation.json"), 2)
            assert client.get("/model").json()["model_id"] == of_old
            report.write_text(json.dumps({**json.loads(content), "model_id": of_new}, indent=1))
            assert eventually(lambda: client.get("/model").json()["model_id"] == of_new)
            assert client.get("/model").json()["evaluation"]
            assert of_new in client.get("/openapi.json").text
            assert of_new[:12] in client.get("/").text
    finally:
        report.write_bytes(content)
        lay(folder / "models/servable", models[0])


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within ten seconds, and then for each of twenty times: both workers are asked."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        if all(holds() for _ in range(20)):
            return True
    return False
