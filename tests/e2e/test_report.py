"""`kiban report` on real branches of a real repository, and in a clone that has only git and the store."""

import re
import resource
from pathlib import Path

import pytest
from clones import commit, run, with_installed
from servers import SECRET
from slice import PICTURES, SLICE

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def branches(small: Path) -> Path:
    """A repository with a branch off main, worse; both pushed to a store."""
    run(small, "git", "branch", "-M", "main")
    run(small, "kiban", "compose", *SLICE, "model.max_iter=100", "model.min_samples_leaf=200")
    run(small, "dvc", "repro")
    run(small, "dvc", "remote", "add", "-d", "store", str(small.with_name(f"{small.name}-store")))
    commit(small, "the first model")
    run(small, "kiban", "push")

    run(small, "git", "checkout", "-q", "-b", "worse")
    run(small, "kiban", "compose", *SLICE, "model=dummy")
    run(small, "dvc", "repro")
    commit(small, "whatever is asked, the base rate")
    run(small, "kiban", "push")
    back_to_main(small)
    return small


@pytest.fixture(scope="module")
def comment(branches: Path) -> str:
    """Another branch, which is not pushed to the store."""
    branch_off_main(branches, "comment")
    code = branches / "src/kiban/train/estimator.py"
    code.write_text(code.read_text() + "\n# Only a comment.\n")
    run(branches, "dvc", "repro")
    commit(branches, "a comment")
    back_to_main(branches)
    return "comment"


@pytest.fixture(scope="module")
def data(branches: Path) -> str:
    """Another branch, pushed to the store."""
    branch_off_main(branches, "data")
    january = branches / "incoming/flights-2013-01.csv"
    january.write_text("\n".join(january.read_text().splitlines()[:-100]) + "\n")
    run(branches, "kiban", "ingest", "--refresh", "2013-01")
    run(branches, "dvc", "repro")
    commit(branches, "a hundred flights fewer")
    run(branches, "kiban", "push")
    back_to_main(branches)
    return "data"


def back_to_main(repository: Path) -> None:
    run(repository, "git", "checkout", "-q", "main")
    run(repository, "dvc", "checkout", "-q", "--force")


def branch_off_main(repository: Path, name: str) -> None:
    back_to_main(repository)
    run(repository, "git", "checkout", "-q", "-b", name)


@pytest.fixture(scope="module")
def elsewhere(branches: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new clone, which has nothing of DVC's cache."""
    return cloned(branches, tmp_path_factory.mktemp("elsewhere") / "clone")


def cloned(branches: Path, folder: Path) -> Path:
    run(branches, "git", "clone", "-q", "-b", "main", str(branches), str(folder))
    return folder


def test_a_worse_model_is_called_worse(branches: Path) -> None:
    text = run(branches, "kiban", "report", "main", "worse")
    assert text.startswith("## Model: worse; gate ")
    change, low, high = re.search(r"\*\*(.\d\.\d+)\*\*, 95 % interval (.\d\.\d+) to (.\d\.\d+)", text).groups()  # type: ignore[union-attr]
    assert all(value.startswith("−") for value in (change, low, high))
    assert (
        "| `model._target_` | sklearn.ensemble.HistGradientBoostingClassifier | sklearn.dummy.DummyClassifier |" in text
    )
    assert "(day, 6 of them)" in text
    assert "ROC AUC, 2013-03" in text
    assert text.count("3 batches accepted, 0 rejected") == 2
    assert "### Data\n\nThe same.\n" in text


@pytest.mark.long
def test_seen_from_the_other_side_it_is_better(branches: Path) -> None:
    assert run(branches, "kiban", "report", "worse", "main").startswith("## Model: better; gate ")


@pytest.mark.long
def test_a_comment_leaves_the_model_unchanged(branches: Path, comment: str) -> None:
    text = run(branches, "kiban", "report", "main", comment)
    assert text.startswith("## Model: unchanged; gate ")
    assert "### Parameters\n\nThe same.\n" in text


@pytest.mark.long
def test_changed_data_is_told_by_batch_and_rows(branches: Path, data: str) -> None:
    text = run(branches, "kiban", "report", "main", data)
    assert re.match(r"## Model: (no clear difference|better|worse); gate (not )?passed\n", text)
    assert "batch 2013-01 changed: 0 rows added, 100 removed, 0 changed" in text
    assert "<details><summary>prepared: columns that moved, most first</summary>" in text


def test_from_the_store_alone_in_half_a_minute_with_pictures(branches: Path, elsewhere: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = run(elsewhere, "kiban", "report", "origin/main", "origin/worse", "--pictures", "pictures")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor, for other tests run beside this one.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 30
    assert text.startswith("## Model: worse; gate ")
    assert "3 batches accepted" in text
    shown = re.findall(r"!\[.*?\]\((pictures/.*?\.png)\)", text.split("<!-- pictures -->")[1])
    assert len(shown) == len(PICTURES)
    assert all((elsewhere / file).read_bytes().startswith(PNG) for file in shown)
    assert run(elsewhere, "git", "status", "--porcelain") == ""


@pytest.mark.long
def test_the_same_report_again(branches: Path) -> None:
    first, second = (run(branches, "kiban", "report", "main", "worse") for _ in range(2))
    assert first == second


@pytest.mark.long
def test_without_predictions_the_report_tells_what_git_knows(
    branches: Path, comment: str, data: str, tmp_path: Path
) -> None:
    elsewhere = cloned(branches, tmp_path / "clone")
    store = branches.with_name(f"{branches.name}-store")
    store.rename(store.with_suffix(".away"))
    text = run(elsewhere, "kiban", "report", "origin/main", f"origin/{data}")
    unchanged = run(elsewhere, "kiban", "report", "origin/main", f"origin/{comment}")
    store.with_suffix(".away").rename(store)
    assert text.startswith("## Model: not comparable; gate ")
    assert r"the predictions of origin/main are not here: \`dvc pull\`" in text
    assert "| test, each version on its own rows | before | after |" in text
    assert re.search(r"\| ROC AUC \| 0\.\d+ \| 0\.\d+ \|", text)
    assert "Not known: data/" in text
    assert "| raw | not here | not here |" in text
    assert unchanged.startswith("## Model: unchanged; gate ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuchbranch"], "there is no revision 'nosuchbranch'"),
        (["main", "--output=x"], "No such option"),
        (["main", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"], "there is no revision"),
    ],
)
def test_what_is_no_version_is_one_line(branches: Path, arguments: list[str], said: str) -> None:
    output = run(branches, "kiban", "report", *arguments, status=2 if said.startswith("No such option") else 1)
    assert said in output
    assert "Traceback" not in output


def test_make_report_is_what_the_workflow_posts(branches: Path, tmp_path: Path) -> None:
    """tests/ci has the requests themselves."""
    summary = tmp_path / "summary.md"
    with_installed(branches)
    run(branches, "git", "checkout", "-q", "worse")
    run(branches, "dvc", "checkout", "-q", "--force")
    run(branches, "make", "report", GITHUB_STEP_SUMMARY=str(summary))
    text = (branches / "report/report.md").read_text()
    assert text.startswith("## Model: worse; gate ")
    assert "→ `the working tree`" in text
    assert summary.read_text() == text.split("<!-- pictures -->")[0]
    links = re.findall(r"\]\((.*?)\)", text)
    assert len(links) == len(PICTURES)
    assert all((branches / "report" / link).read_bytes().startswith(PNG) for link in links)
    github = {"GITHUB_REPOSITORY": "a/b", "GITHUB_API_URL": "http://127.0.0.1:1", "GH_TOKEN": SECRET}
    pictures = "https://example.org/1"
    output = run(branches, "make", "comment", NUMBER="7", PICTURES=pictures, status=2, **github)
    assert "error: GET http://127.0.0.1:1/repos/a/b/issues/7/comments?" in output
    assert SECRET not in output
    posted = (branches / "report/comment.md").read_text()
    assert posted == f"{summary.read_text()}\nPictures, before and after: {pictures}\n"
    output = run(branches, "make", "comment", NUMBER="7; touch injected", status=2, **github)
    assert "is not the number of a pull request" in output
    assert not (branches / "injected").exists()
    assert run(branches, "git", "status", "--porcelain") == ""
    back_to_main(branches)


@pytest.mark.long
def test_make_report_says_if_the_branch_could_not_be_reproduced(branches: Path) -> None:
    with_installed(branches)
    run(branches, "make", "report", BASE="worse", REPRODUCED="failure")
    text = (branches / "report/report.md").read_text()
    assert text.startswith("> **`make reproduce` failed**: these are the results that the branch holds")
    assert "\n\n## Model: " in text
    run(branches, "make", "report", BASE="nosuchbranch", status=2)
    output = run(branches, "make", "comment", status=2)
    assert "error: there is no report" in output


@pytest.mark.long
def test_make_report_compares_with_where_the_branch_left_its_base(branches: Path) -> None:
    """What came to main later is not this branch's doing."""
    with_installed(branches)
    run(branches, "make", "report", BASE="worse")
    merge_base = run(branches, "git", "merge-base", "worse", "HEAD").strip()
    assert f"`{merge_base} ({merge_base[:7]})`" in (branches / "report/report.md").read_text()


@pytest.mark.long
def test_predictions_of_another_model_in_the_working_tree_are_not_taken_for_its_own(branches: Path) -> None:
    """The branch was checked out by git, and not by DVC."""
    run(branches, "git", "checkout", "-q", "worse")
    text = run(branches, "kiban", "report", "main")
    run(branches, "git", "checkout", "-q", "main")
    assert text.startswith("## Model: not comparable; gate ")
    assert "\n\nthe predictions of the working tree are not here" in text


def test_make_reproduce_wants_the_results_committed(branches: Path) -> None:
    with_installed(branches)
    run(branches, "make", "reproduce")
    code = branches / "src/kiban/train/estimator.py"
    code.write_text(code.read_text() + "\n# Not run before it was committed.\n")
    commit(branches, "results of other code")
    output = run(branches, "make", "reproduce", status=2)
    assert "error: dvc.lock is not what this code and data give: run 'dvc repro'" in output
    run(branches, "git", "checkout", "-q", ".")
    run(branches, "git", "reset", "-q", "--hard", "HEAD~1")


@pytest.mark.long
def test_make_reproduce_says_when_data_cannot_be_had(branches: Path, tmp_path: Path) -> None:
    elsewhere = cloned(branches, tmp_path / "clone")
    with_installed(elsewhere)
    run(elsewhere, "dvc", "remote", "add", "--local", "-d", "dead", "s3://nosuch/bucket")
    run(elsewhere, "dvc", "remote", "modify", "--local", "dead", "endpointurl", "http://127.0.0.1:1")
    output = run(elsewhere, "make", "reproduce", status=2, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY=SECRET)
    assert "is the store there, and are its keys in the environment? A pull request from a fork gets none." in output
