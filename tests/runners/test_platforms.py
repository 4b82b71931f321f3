"""runners/NAME.yaml, and the files for schedulers that are written from it and the graph."""

from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.stub import ANY, Stubber
from clones import commit, run
from slice import ROOT, script

from kiban.core.errors import KibanError
from kiban.runners import platforms
from kiban.runners.stages import stages

GRAPH = {"first": [], "left@2013": ["first"], "right": ["first"], "last": ["left@2013", "right"]}
EVERY = {"argo", "azureml", "batch", "kubeflow", "sagemaker", "vertex"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the settings of all platforms, which a test may change."""
    (tmp_path / "runners").mkdir()
    for path in (ROOT / "runners").glob("*.yaml"):
        (tmp_path / "runners" / path.name).write_text(path.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(name: str, key: str, value: Any) -> None:
    path = Path("runners") / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), key: value}))


def documents(name: str, graph: dict[str, list[str]] = GRAPH) -> list[Any]:
    contents = platforms.written(name, graph).values()
    return [document for content in contents for document in yaml.safe_load_all(content)]


def test_every_file_is_what_the_settings_and_the_graph_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    graph = stages(ROOT)
    assert set(platforms.names()) == {*EVERY, "airflow"}
    for name in platforms.names():
        for path, content in platforms.written(name, graph).items():
            assert path.read_text() == content, f"run `make runners` for {path}"


def test_the_compiled_pipeline_has_the_stages_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is what its script gives needs Kubeflow's packages: tests/platforms/test_kubeflow.py."""
    monkeypatch.chdir(ROOT)
    platforms.check_pipeline(stages(ROOT))


def test_a_pipeline_of_other_settings_or_stages_is_named(here: Path) -> None:
    (here / "runners/kubeflow").mkdir()
    pipeline = here / "runners/kubeflow/pipeline.yaml"
    pipeline.write_text((ROOT / "runners/kubeflow/pipeline.yaml").read_text())
    platforms.check_pipeline(stages(ROOT))
    with pytest.raises(KibanError, match="pipeline.yaml has not the stages of dvc.lock: run `make kubeflow`"):
        platforms.check_pipeline(GRAPH)
    change("kubeflow", "image", "another")
    with pytest.raises(KibanError, match="is not of runners/kubeflow.yaml as it is: run `make kubeflow`"):
        platforms.check_pipeline(stages(ROOT))


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("argo", "imgae", "x", "runners/argo.yaml: imgae: unknown key; correct it, then run `make runners`"),
        ("argo", "schedule", "monthly", "runners/argo.yaml: schedule: give the five fields of cron, .*not 'monthly'"),
        ("argo", "timezone", "Mars/Olympus", "runners/argo.yaml: timezone: give a time zone, .*not 'Mars/Olympus'"),
        ("argo", "image", "x:1 # {{workflow.name}}", "runners/argo.yaml: image: "),
        ("argo", "secret", "Not_a_name", "runners/argo.yaml: secret: "),
        ("batch", "secrets", {"a b": "x"}, "runners/batch.yaml: secrets.a b"),
        ("kubeflow", "stages", {"trian": {"cpu": 8}}, "stages.trian: there is no such stage, but first, left@2013"),
        ("airflow", "stages", {"last": {"where": "folder"}}, "runners/airflow.yaml: stages.last.where"),
        ("vertex", "minutes", 0, "runners/vertex.yaml: minutes: "),
        (
            "airflow",
            "stages",
            {"last": {"where": "batch"}},
            "a stage is to run in batch, and there is no runners/batch",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_named(here: Path, name: str, key: str, value: Any, message: str) -> None:
    change(name, key, value)
    if name != "batch":
        Path("runners/batch.yaml").unlink()
    with pytest.raises(KibanError, match=message):
        platforms.written(name, GRAPH)


def test_one_folder_is_for_all_stages(here: Path) -> None:
    change("airflow", "where", "folder")
    platforms.written("airflow", GRAPH)
    change("airflow", "stages", {"last": {"where": "pod"}})
    with pytest.raises(KibanError, match="runners/airflow.yaml: .*where: folder is for all stages"):
        platforms.written("airflow", GRAPH)


def test_words_that_yaml_takes_for_others_stay_words(here: Path) -> None:
    change("argo", "name", "on")
    change("argo", "secret", "123")
    change("argo", "release", "no")
    for document in documents("argo"):
        assert document["metadata"]["name"] in ("on", "on-cycle")
    assert documents("argo")[0]["spec"]["templates"][1]["container"]["envFrom"] == [{"secretRef": {"name": "123"}}]


def test_no_value_is_read_as_syntax(here: Path) -> None:
    for name in ("sagemaker", "vertex", "azureml"):
        change(name, "environment", {"TEXT": '": {} # \\ \n- é'})
        assert '": {} # \\\\ \\n- é' in "".join(platforms.written(name, GRAPH).values())
        assert '": {} # \\ \n- é' in str([*map(values, documents(name))][-1])


def values(node: Any) -> Any:
    """What a document holds, as Python shows it without escapes."""
    if isinstance(node, dict):
        return "".join(map(values, node.values()))
    return "".join(map(values, node)) if isinstance(node, list) else str(node)


def test_a_stage_may_have_a_larger_machine(here: Path) -> None:
    change("argo", "stages", {"right": {"cpu": 0.5, "memory": 16}})
    template = documents("argo")[0]["spec"]["templates"][0]
    tasks = {each["name"]: each for each in template["dag"]["tasks"]}
    assert list(tasks) == ["first", "left-2013", "right", "last", "publish"]
    assert tasks["last"]["depends"] == "left-2013 && right"
    given = {each["name"]: each["value"] for each in tasks["right"]["arguments"]["parameters"]}
    assert given == {"stage": "right", "cpu": "0.5", "memory": "16Gi", "seconds": "7200"}


def test_stages_whose_names_become_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KibanError, match="there is no dvc.lock with stages yet: run `dvc repro`"):
        platforms.committed_graph()
    (tmp_path / "dvc.yaml").write_text("stages: {publish: {}}\n")
    (tmp_path / "dvc.lock").write_text("stages: {publish: {cmd: x}}\n")
    with pytest.raises(KibanError, match="are both called publish by schedulers"):
        platforms.committed_graph()
    (tmp_path / "dvc.yaml").write_text("stages: {a_b: {}, a: {}}\n")
    (tmp_path / "dvc.lock").write_text("stages: {a@b: {cmd: x}, a_b: {cmd: x}}\n")
    with pytest.raises(KibanError, match="the stages a@b and a_b are both called a-b by schedulers: rename one"):
        platforms.committed_graph()


def test_the_command_writes_checks_and_leaves_out_what_a_team_took_over(here: Path) -> None:
    for name in ("dvc.lock", "dvc.yaml", "params.yaml"):
        (here / name).write_text((ROOT / name).read_text())
    (here / "conf").mkdir()
    (here / "conf/config.yaml").touch()
    (here / "runners/kubeflow.yaml").unlink()  # whose pipeline another command writes
    run(here, "git", "init", "-q")
    commit(here, "a graph")
    assert "kiban runner" not in run(here, "kiban", "runner", "--write")
    assert (here / "runners/argo/workflows.yaml").read_text() == run(here, "kiban", "runner", "argo")
    run(here, "kiban", "runner", "--check")
    (here / "runners/argo/workflows.yaml").write_text("# ours\n")
    message = "error: runners/argo/workflows.yaml is not what runners/argo.yaml and dvc.lock give: run `make runners`\n"
    assert run(here, "kiban", "runner", "--check", status=1) == message
    (here / "runners/argo.yaml").unlink()
    run(here, "kiban", "runner", "--check")
    assert "there is no runners/argo.yaml" in run(here, "kiban", "runner", "argo", status=1)
    assert "NAME is one of airflow, argo, " in run(here, "kiban", "runner", "jenkins", status=2)


def test_aws_batch_is_given_a_job_for_each_stage_after_those_it_needs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms, "committed_graph", lambda: GRAPH)
    change("batch", "stages", {"right": {"memory": 16}})
    client = botocore.session.get_session().create_client(
        "batch",
        "eu-central-1",
        aws_access_key_id="key",
        aws_secret_access_key="",
    )
    asked = []
    client.meta.events.register("before-parameter-build.batch.SubmitJob", lambda params, **_: asked.append(params))
    with Stubber(client) as stub:  # it checks each request as botocore does
        for number in range(5):
            expected = {"jobName": ANY, "jobQueue": "kiban", "jobDefinition": "kiban", "dependsOn": ANY}
            expected |= {"timeout": ANY, "containerOverrides": ANY}
            stub.add_response("submit_job", {"jobName": "x", "jobId": str(number)}, expected)
        ids = script("runners/batch/submit.py").submit(client, "2026-11-02T00:00", {"KIBAN_NEW": "1"})
    assert ids == {"first": "0", "left@2013": "1", "right": "2", "last": "3", "--publish": "4"}
    assert [[each["jobId"] for each in request["dependsOn"]] for request in asked] == [
        [],
        ["0"],
        ["0"],
        ["1", "2"],
        ["3"],
    ]
    assert asked[1]["jobName"] == "kiban-2026-11-02T00-00-left-2013"
    overrides = [request["containerOverrides"] for request in asked]
    assert overrides[4]["command"] == ["kiban-clone", "kiban", "step", "--publish"]
    assert overrides[2]["resourceRequirements"][1] == {"type": "MEMORY", "value": "16384"}
    assert {"name": "KIBAN_NEW", "value": "1"} in overrides[0]["environment"]
