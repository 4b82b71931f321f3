"""From a fitted pipeline to the folder that is served, and back."""

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from slice import ROOT, compose_here, prepared_rows, run_stage

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.paths import MODEL
from kiban.servable import columns, manifest, skops_file
from kiban.servable.columns import Columns
from kiban.servable.load import Servable, load
from kiban.train import export

FOLDER = paths.SERVABLE


@pytest.fixture
def servable(project: Path) -> Servable:
    return load()


@pytest.fixture
def test_columns(servable: Servable) -> Columns:
    return columns.from_arrow(prepared_rows("2013-03"), servable.contract.features())


def test_the_onnx_servable_answers_as_scikit_learn(servable: Servable, test_columns: Columns) -> None:
    model = skops_file.load(MODEL)
    expected = model.predict_proba(columns.frame(test_columns))[:, 1]
    np.testing.assert_allclose(servable.score(test_columns), expected, atol=export.LARGEST_DIFFERENCE)
    assert servable.manifest.format == "onnx"
    assert servable.manifest.parity is not None
    assert servable.manifest.parity.labels_flipped == 0


def test_unseen_levels_and_nulls_agree_too(servable: Servable, test_columns: Columns) -> None:
    features = servable.contract.features()
    nulls = {
        name: np.full_like(of, "" if features[name].type == "string" else np.nan) for name, of in test_columns.items()
    }
    odd = {name: nulls[name] if features[name].nullable else of for name, of in test_columns.items()}
    odd["dest"] = np.full_like(odd["dest"], "XXX")
    expected = skops_file.load(MODEL).predict_proba(columns.frame(odd))[:, 1]
    np.testing.assert_allclose(servable.score(odd), expected, atol=export.LARGEST_DIFFERENCE)


def test_labels_follow_the_threshold(servable: Servable) -> None:
    assert servable.labels(np.array([0.49, 0.5, 0.51])).tolist() == [False, True, True]


def test_the_id_is_the_manifests_hash_and_names_every_byte(servable: Servable) -> None:
    assert servable.model_id == hashlib.sha256((FOLDER / "manifest.json").read_bytes()).hexdigest()
    assert set(servable.manifest.files) == {"contract.yaml", "model.onnx", "reference.json"}
    assert list(servable.manifest.prepared) == ["2013-01", "2013-02"]
    assert servable.manifest.parameters["model"]["max_iter"] == 20


@pytest.mark.parametrize("model", ["logistic", "hist_gradient_boosting"])
def test_training_again_gives_the_same_bytes(project: Path, model: str) -> None:
    if model == "logistic":
        compose_here("model=logistic")
    hashes = []
    for _ in range(2):
        run_stage("train")
        files = [MODEL, *sorted(FOLDER.iterdir())]
        hashes.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert hashes[0] == hashes[1]


def test_what_onnx_cannot_say_is_served_by_scikit_learn(project: Path, test_columns: Columns) -> None:
    compose_here("model=dummy")
    run_stage("train")
    servable = load()
    assert (servable.manifest.format, servable.manifest.parity) == ("skops", None)
    target = prepared_rows("2013-01")["late"].to_numpy()
    assert np.unique(servable.score(test_columns)) == pytest.approx([target.mean()], abs=0.01)  # rows are repeated


def test_onnx_that_disagrees_is_not_served(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", -1.0)
    run_stage("train")
    assert "ONNX does not agree with scikit-learn" in capsys.readouterr().out
    assert load().manifest.format == "skops"
    assert not (FOLDER / "model.onnx").exists()


def test_an_estimator_of_other_types_is_refused_by_name(project: Path) -> None:
    before = (FOLDER / "manifest.json").read_bytes()
    compose_here(
        "model=logistic",
        "model._target_=sklearn.gaussian_process.GaussianProcessClassifier",
        "~model.C",
        "~model.max_iter",
    )
    with pytest.raises(KibanError, match=r"GaussianProcessClassifier holds types that are not trusted .*_gpc"):
        run_stage("train")
    assert (FOLDER / "manifest.json").read_bytes() == before


class Exploit:
    """Unpickled, it leaves a trace."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploited"),))


def flip_a_byte() -> None:
    content = bytearray((FOLDER / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (FOLDER / "model.onnx").write_bytes(content)


def put_a_pickle() -> None:
    (FOLDER / "model.onnx").write_bytes(pickle.dumps(Exploit()))


def name_in_manifest(name: str, form: str) -> None:
    """What an attacker would do who can write the manifest too."""
    described = json.loads((FOLDER / "manifest.json").read_text())
    described["files"].pop("model.onnx")
    described["files"][name] = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    described["format"] = form
    (FOLDER / "manifest.json").write_text(json.dumps(described))


def put_a_named_pickle_for_onnx() -> None:
    put_a_pickle()
    name_in_manifest("model.onnx", "onnx")


def put_a_named_pickle_for_skops() -> None:
    (FOLDER / "model.onnx").unlink()
    (FOLDER / "model.skops").write_bytes(pickle.dumps(Exploit()))
    name_in_manifest("model.skops", "skops")


def put_a_named_skops_of_foreign_types() -> None:
    (FOLDER / "model.onnx").unlink()
    (FOLDER / "model.skops").write_bytes(skops.io.dumps([Exploit()]))
    name_in_manifest("model.skops", "skops")


def put_an_impossible_threshold() -> None:
    described = json.loads((FOLDER / "manifest.json").read_text())
    (FOLDER / "manifest.json").write_text(json.dumps({**described, "threshold": 7.0}))


def put_a_folder_for_the_manifest() -> None:
    """What nobody can read, not even root."""
    (FOLDER / "manifest.json").unlink()
    (FOLDER / "manifest.json").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, r"model\.onnx differs from the file that the manifest names"),
        (put_a_pickle, r"model\.onnx differs from the file that the manifest names"),
        (put_a_named_pickle_for_onnx, r"model\.onnx is not an ONNX model"),
        (put_a_named_pickle_for_skops, r"model\.skops is not a skops file"),
        (put_a_named_skops_of_foreign_types, r"model\.skops holds types that are not trusted: .*Exploit"),
        (lambda: (FOLDER / "extra.pkl").touch(), r"extra\.pkl is not in the manifest"),
        (lambda: (FOLDER / "contract.yaml").unlink(), r"contract\.yaml is missing"),
        (lambda: (FOLDER / "manifest.json").unlink(), r"holds no servable"),
        (put_an_impossible_threshold, r"manifest\.json is not the manifest of a servable"),
        (put_a_folder_for_the_manifest, r"manifest\.json cannot be read by this account: Is a directory"),
        (lambda: (FOLDER / "manifest.json").write_text("{}"), r"manifest\.json is not the manifest of a servable"),
    ],
)
def test_a_damaged_servable_is_refused_without_running_it(
    project: Path, damage: Callable[[], None], message: str
) -> None:
    damage()
    with pytest.raises(KibanError, match=message) as raised:
        load()
    assert "\n" not in str(raised.value)
    assert not Path("exploited").exists()


def test_it_may_lie_in_a_volume_of_kubernetes_or_come_from_a_mac(project: Path, tmp_path: Path) -> None:
    """A ConfigMap's files are links into a hidden folder, which another link names."""
    volume = tmp_path / "volume"
    shutil.copytree(FOLDER, volume / "..2026_11_25")
    (volume / "..data").symlink_to("..2026_11_25")
    for file in FOLDER.iterdir():
        (volume / file.name).symlink_to(Path("..data") / file.name)
    (volume / "._model.onnx").touch()
    assert load(volume).model_id == load().model_id


def test_where_scikit_learn_is_not_installed_its_models_are_refused(project: Path) -> None:
    """As in a Bento, whose requirements have none."""
    put_a_named_skops_of_foreign_types()
    code = "import sys; sys.modules['sklearn'] = None; from kiban.servable.load import load; load()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "model.skops is served by scikit-learn, and sklearn" in done.stderr
    assert "is not installed here: add scikit-learn, pandas and skops" in done.stderr


def test_a_manifest_cannot_leave_its_model_unnamed(project: Path) -> None:
    (FOLDER / "model.onnx").unlink()
    described = json.loads((FOLDER / "manifest.json").read_text())
    del described["files"]["model.onnx"]
    (FOLDER / "manifest.json").write_text(json.dumps(described))
    with pytest.raises(KibanError, match=r"does not name model\.onnx"):
        load()


def test_skops_bytes_hold_no_time_and_no_memory_address(project: Path) -> None:
    content = MODEL.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(len(name) < 15 for name in archive.namelist())
    assert skops_file.dumps(skops_file.load(MODEL)) == content


def test_a_forest_is_stable_and_loads(project: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((200, 3))
    forest = [RandomForestClassifier(n_estimators=3, random_state=0).fit(rows, rows[:, 0] > 0.5) for _ in range(2)]
    first, second = (skops_file.dumps(model_in_pipeline(model)) for model in forest)
    assert first == second
    (tmp_path / "forest.skops").write_bytes(first)
    np.testing.assert_array_equal(skops_file.load(tmp_path / "forest.skops")[-1].predict(rows), forest[0].predict(rows))


def model_in_pipeline(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(model)


def test_loading_onnx_imports_no_scikit_learn_pandas_or_pipeline(project: Path) -> None:
    code = (
        "import sys; from kiban.servable.load import load; load();"
        "print([name for name in ('sklearn', 'pandas', 'mlflow', 'dvc', 'great_expectations', 'skops', 'pyarrow')"
        " if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("version", range(1, manifest.FORMAT + 1))
def test_servables_of_every_format_are_still_read(version: int) -> None:
    """One that was written in each format is kept."""
    servable = load(ROOT / "tests/servable/formats" / str(version))
    assert servable.manifest.format_version == version
    (score,) = servable.score(columns.from_records([servable.manifest.example], servable.contract.features()))
    # The data of the third was prepared with means in whole numbers.
    assert score == pytest.approx(0.35635677 if version == 3 else 0.35658854, abs=1e-6)


def test_every_format_is_kept() -> None:
    kept = {int(folder.name) for folder in (ROOT / "tests/servable/formats").iterdir()}
    assert kept == set(range(1, manifest.FORMAT + 1))


def test_a_servable_may_have_files_that_this_release_does_not_know(tmp_path: Path) -> None:
    content = with_manifest(tmp_path, lambda described: described["files"].update({"reference.json": sha256(b"{}")}))
    (content / "reference.json").write_bytes(b"{}")
    assert load(content)


def test_a_servable_of_a_later_format_is_refused(tmp_path: Path) -> None:
    later = with_manifest(tmp_path, lambda described: described.update(format_version=manifest.FORMAT + 1))
    with pytest.raises(KibanError, match=r"has format 4, but this release reads formats 1 to 3: use a later"):
        load(later)


def with_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """The kept servable of the current format with another manifest."""
    shutil.copytree(ROOT / "tests/servable/formats" / str(manifest.FORMAT), folder / "servable")
    path = folder / "servable" / manifest.FILE
    described = json.loads(path.read_bytes())
    edit(described)
    path.write_text(json.dumps(described))
    return folder / "servable"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
