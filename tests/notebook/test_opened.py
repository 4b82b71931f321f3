"""`kiban.open` in a repository with a store, in a new clone of it, and in the history of this one."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest
from clones import commit, copy_to, environment, run, with_results
from servers import Store
from slice import ROOT

import kiban
from kiban.core import files
from kiban.core import store as objects
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.servable.load import load

LATE = Path("data/prepared/flights/2013-03.parquet")


@pytest.fixture(scope="module")
def repository(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a version in production, a commit after it, and an experiment. Not to be changed."""
    folder = copy_to(tmp_path_factory.mktemp("opened") / "ours")
    run(folder, "git", "init", "-q", "-b", "main")
    with_results(folder, evaluated)
    (folder / "reports/track.stamp").touch()
    run(folder, "dvc", "commit", "-q", "--force", "track")
    run(folder, "dvc", "remote", "add", "-d", "store", "s3://dvc/kiban")
    commit(folder, "a model")
    run(folder, "git", "init", "-q", "--bare", "../origin.git")
    run(folder, "git", "remote", "add", "origin", "../origin.git")
    (folder / "README.md").write_text("another README")
    commit(folder, "a README")
    run(folder, "dvc", "exp", "save", "-q", "-n", "tried")
    return folder


@pytest.fixture
def ours(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repository)
    return repository


@pytest.fixture
def theirs(repository: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new clone, without a file of data, after all was pushed."""
    run(repository, "dvc", "push", "-q", **store.environment)
    run(tmp_path, "git", "clone", "-q", str(repository), "theirs")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path / "theirs")
    yield tmp_path / "theirs"
    assert run(tmp_path / "theirs", "git", "status", "--porcelain") == ""
    assert not (tmp_path / "theirs" / LATE).exists()


def test_the_working_tree_is_what_is_opened_without_a_name(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ours / "docs")  # as in a notebook's folder
    now = kiban.open()
    raw = now.raw("flights", ["2013-01", "2013-02"])
    assert len(raw) == sum(len(now.raw("flights", [batch])) for batch in ("2013-01", "2013-02"))
    assert list(raw) == list(now.revision.contracts["flights"].columns)
    prepared, answers = now.prepared("2013-03"), now.predictions(arrow=True).filter(pc.field("split") == "test")
    assert len(prepared) == answers.num_rows
    model = now.model()
    assert model.id == load(ours / "models/servable").model_id == now.revision.evaluation.model_id
    predicted = model.predict(prepared.sample(frac=1, random_state=0)).sort_index()
    key = now.revision.contracts["prepared"].key
    scores = answers.to_pandas().set_index(key)["score"]
    assert predicted["probability"].tolist() == pytest.approx(scores.loc[prepared.set_index(key).index].tolist())
    assert now.metrics()["test"]["rows"] == answers.num_rows
    with pytest.raises(KibanError, match=r"the frame has no column 'distance', which the model requires"):
        model.predict(prepared.drop(columns="distance"))
    with pytest.raises(KibanError, match="the frame, row 1: .*carrier"):
        model.predict(prepared.assign(carrier=None))
    with pytest.raises(KibanError, match="the working tree has no batch '2013-09' of flights; it has 2013-01, 2013-02"):
        now.raw("flights", ["2013-09"])
    with pytest.raises(KibanError, match="the working tree has no table 'trains'; it has flights, planes, weather"):
        now.raw("trains")


def test_a_version_has_many_names(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = (run(ours, "git", "rev-parse", name).strip() for name in ("HEAD~1", "HEAD"))
    for name, value in environment().items():
        if name.startswith("GIT_"):
            monkeypatch.setenv(name, value)
    record = '{"kind": "version", "model_id": "m"}'
    for tag in ("flights@v0.1.0", "flights#prod#1", "before-the-summer"):
        subprocess.run(["git", "tag", "-a", tag, "-m", f"t\n\n{record}", first], check=True, cwd=ours)
    model = load(ours / "models/servable").model_id
    for name in (
        first,
        first[:9],
        "HEAD~1",
        "v0.1.0",
        "flights@v0.1.0",
        "prod",
        "before-the-summer",
        model[:12],
        model,
    ):
        assert kiban.open(name).commit == first, name
    assert kiban.open("main").commit == last
    tried = kiban.open("tried")
    assert tried.commit not in (first, last)
    assert tried.metrics() == kiban.open().metrics()
    for name in ("v7.0.0", "nobody", "--all", "", "f" * 64):
        with pytest.raises(KibanError, match="there is no revision"):
            kiban.open(name)


def test_what_is_not_here_comes_from_the_store(theirs: Path, repository: Path) -> None:
    before = kiban.open("HEAD~1")
    expected = parquet.read(repository / LATE)
    assert before.prepared(["2013-03"], arrow=True).equals(expected)
    brought = list(Path(".dvc/cache/files/md5").rglob("*"))
    assert sum(path.is_file() for path in brought) == 2  # the folder's list, and the one file
    shutil.rmtree(".dvc/cache")
    assert before.model().id == before.revision.evaluation.model_id
    assert before.raw("weather", arrow=True).num_rows == sum(
        each.rows for each in before.revision.batches["weather"].values()
    )
    assert before.predictions(arrow=True).num_rows
    elsewhere = kiban.open("HEAD~1", repo=str(repository))
    assert elsewhere.prepared(["2013-03"], arrow=True).equals(expected)
    with pytest.raises(KibanError, match="git cannot clone the repository: .*does not exist"):
        kiban.open(repo="/nowhere")


def test_what_cannot_be_had_is_one_sentence(
    theirs: Path, repository: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, digest = kiban.open("HEAD"), files.md5(repository / LATE)
    (store.folder / "dvc/kiban/files/md5" / digest[:2] / digest[2:]).unlink()
    store.restart()
    with pytest.raises(KibanError, match="it was never pushed to the store: run `kiban push` where it was made"):
        named.prepared(["2013-03"])
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises(KibanError, match="Unable to locate credentials; check the credentials in the environment"):
            named.prepared(["2013-02"])
    monkeypatch.setattr(objects, "PATIENCE", 5)
    store.freeze()
    with pytest.raises(KibanError, match="what HEAD names is not here: the store has made no progress for 5 s"):
        named.prepared(["2013-02"])


def test_importing_it_imports_no_other_module_of_it() -> None:
    code = "import kiban, sys; print(sorted(name for name in sys.modules if name.startswith('kiban')))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['kiban']"


def test_every_commit_of_this_repository_opens_or_says_why_not() -> None:
    commits = run(ROOT, "git", "rev-list", "HEAD").split()
    opened, reasons = 0, {}
    for each in commits:
        try:
            opened += kiban.open(each).metrics()["test"]["rows"] is not None
        except KibanError as error:
            reasons[each] = str(error)
    assert opened >= len(commits) * 0.9
    assert reasons
    assert not [reason for reason in reasons.values() if "\n" in reason]
