"""The stage graph under a real Airflow 3: PostgreSQL, LocalExecutor, a Git bundle, and a fresh clone for each step."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from clones import environment, run
from seattle import check_same_bytes, lay
from servers import free_port_between, wait_for
from slice import ROOT

AIRFLOW = ROOT / ".venv/airflow/bin"
pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(not (AIRFLOW / "airflow").exists(), reason="Airflow is not installed: `make test-airflow`"),
]
OPERATORS = {  # by place of SETTINGS["where"]
    "clone": "BashOperator",
    "pod": "KubernetesPodOperator",
    "batch": "BatchOperator",
    "sagemaker": "SageMakerProcessingOperator",
}
KUBECONFIG = {
    "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "current-context": "none",
    "users": [{"name": "none", "user": {}}],
}
LOOK = """\
import json
import sys
from kubernetes.client import ApiClient
sys.path.insert(0, sys.argv[1])
import kiban

def plan(dag):
    return {task.task_id: [type(task).__name__, sorted(task.upstream_task_ids), task.retries] for task in dag.tasks}

looked = {"graph": plan(kiban.graph), "cycle": plan(kiban.cycle), "ends": {}}
tasks = {task.task_id: task for task in kiban.graph.tasks}
if "--operators" in sys.argv:
    pod = tasks["ingest"].build_pod_request_obj()
    looked["pod"] = ApiClient().sanitize_for_serialization(pod)
    looked["batch"] = tasks["prepare"].container_overrides
    looked["sagemaker"] = tasks["train"].config
import pendulum, types
given = {"run_id": "monday", "data_interval_start": pendulum.datetime(2026, 9, 30, 22)}  # October in Berlin
for kind, params in (("manual", {"new": True, "overrides": "a=1", "commit": "v1"}), ("scheduled", {"new": True}),
                     ("backfill", {"new": True, "until": "2026-03"}), ("asset_triggered", {"new": True}),
                     ("scheduled", {"new": False, "until": "x"})):
    params = {"until": "", "overrides": "", "commit": "", **params}
    rendered = dict(tasks["config"].env)
    tasks["config"]._do_render_template_fields(tasks["config"], ["env"], {**given, "params": params,
        "dag_run": types.SimpleNamespace(run_type=kind)}, kiban.graph.get_template_env(), set())
    looked.setdefault("env", []).append(tasks["config"].env)
    tasks["config"].env = rendered
(task,) = kiban.cycle.tasks
looked["params"] = list(kiban.graph.params)
task.bash_command = task.bash_command.replace("exec kiban cycle", "pwd > " + sys.argv[1] + "/cwd")
if kiban.WHERE == "folder":
    task.execute({})
    looked["cycle_in"] = open(sys.argv[1] + "/cwd").read().strip()
for status in (0, 1, 3, 4):
    operator = kiban.CycleOperator(task_id=f"end{status}", bash_command=f"exit {status}")
    try:
        operator.execute({})
        looked["ends"][status] = "success"
    except Exception as error:
        looked["ends"][status] = type(error).__name__
print("looked", json.dumps(looked))
"""


def configure(ours: Path, **changes: Any) -> None:
    """Change runners/airflow.yaml of a repository."""
    path = ours / "runners/airflow.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def variables(home: Path, **extra: str) -> dict[str, str]:
    """The environment of Airflow, in which there is no command of Kiban."""
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    kept = environment(PATH=f"{AIRFLOW}:/usr/local/bin:/usr/bin:/bin", TMPDIR=str(home / "tmp"))
    return {**kept, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **extra}


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What Airflow makes of the DAG file of a repository."""

    def looked(folder: Path, *options: str) -> dict[str, Any]:
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(KUBECONFIG))
        given = variables(tmp_path / "home", KUBECONFIG=str(tmp_path / "kubeconfig"))
        command = [AIRFLOW / "python", "-c", LOOK, folder / "runners/airflow", *options]
        done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("looked "))
        return json.loads(line.removeprefix("looked "))

    return looked


def test_airflow_reads_the_graph_and_a_place_for_each_stage(
    weather: Path, tmp_path: Path, look: Callable[..., dict[str, Any]]
) -> None:
    ours = tmp_path / "ours"
    run(tmp_path, "git", "clone", "-q", str(weather / "ours"), "ours")
    places = {"ingest": "pod", "prepare": "batch", "train": "sagemaker"}
    stages: dict[str, dict[str, Any]] = {stage: {"where": place} for stage, place in places.items()}
    stages["ingest"] |= {"cpu": 4, "memory": 16}
    configure(ours, stages=stages, until="%Y-%m", timezone="Europe/Berlin")
    looked = look(ours, "--operators")
    order = ["config", "ingest", "validate-raw", "prepare", "validate-prepared", "train", "evaluate", "track"]
    assert list(looked["graph"]) == [*order, "publish"]
    for task, (operator, before, retries) in looked["graph"].items():
        assert operator == OPERATORS[places.get(task, "clone")]
        assert before == (
            [*order, "publish"][:-1][[*order, "publish"].index(task) - 1 :][:1] if task != "config" else []
        )
        assert retries == 2
    assert looked["ends"] == {
        "0": "success",
        "1": "AirflowException",
        "3": "AirflowFailException",
        "4": "AirflowFailException",
    }
    asked = [[env[f"KIBAN_{name}"] for name in ("OVERRIDES", "COMMIT", "NEW", "UNTIL")] for env in looked["env"]]
    assert asked == [
        ["a=1", "v1", "1", ""],
        ["", "", "1", "2026-10"],
        ["", "", "1", "2026-03"],
        ["", "", "1", ""],
        ["", "", "", ""],
    ]
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **looked["pod"]}))
    run(tmp_path, "kubernetes-validate", "--quiet", "--strict", "pod.yaml")
    (container,) = looked["pod"]["spec"]["containers"]
    assert container["command"] == ["kiban-clone", "kiban", "step", "ingest"]
    assert container["resources"] == {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi"}}
    assert container["envFrom"] == [{"secretRef": {"name": "kiban"}}]
    request = {"jobName": "x", "jobQueue": "x", "jobDefinition": "x", "containerOverrides": looked["batch"]}
    for service, operation, asked in [
        ("batch", "SubmitJob", request),
        ("sagemaker", "CreateProcessingJob", looked["sagemaker"]),
    ]:
        shape = get_session().get_service_model(service).operation_model(operation).input_shape
        assert ParamValidator().validate(asked, shape).generate_report() == ""


def test_a_folder_of_one_machine_gives_the_same_bytes(
    moved: Path, feed: Path, origin: Path, tmp_path: Path, look: Callable[..., dict[str, Any]]
) -> None:
    ours = tmp_path / "folder"
    run(tmp_path, "git", "clone", "-q", str(origin), str(ours))
    (ours / ".venv/bin").mkdir(parents=True)
    (ours / ".venv/bin/activate").write_text(f"export PATH={ROOT}/.venv/bin:$PATH\n")
    configure(ours, where="folder", folder=str(ours))
    run(ours, "git", "commit", "-q", "-a", "-m", "settings of Airflow")
    run(ours, "git", "push", "-q", "origin", "main")
    lay(feed, "2012-07")
    home = tmp_path / "home"
    given = variables(home, AIRFLOW__CORE__DAGS_FOLDER=str(ours / "runners/airflow"))
    for words in (["db", "migrate"], ["dags", "test", "kiban"]):
        done = subprocess.run([AIRFLOW / "airflow", *words], env=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    looked = look(ours)
    assert set(looked["params"]) == {"new", "until"}
    assert looked["cycle_in"] == str(ours)
    (branch,) = run(origin, "git", "for-each-ref", "--format=%(refname:short)", "refs/heads/kiban-run-*").split()
    assert "2012-07" in run(origin, "git", "show", f"{branch}:data/weather.batches.yaml")
    run(moved, "git", "pull", "-q", str(origin), "main")
    check_same_bytes(moved, origin, branch)


@pytest.fixture
def airflow(postgres: sa.URL, origin: Path, tmp_path: Path) -> Iterator[tuple[httpx.Client, sa.Engine]]:
    """A running Airflow that reads its DAGs from the repository: its API and its database."""
    with sa.create_engine(postgres, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text("create database airflow"))
    port = free_port_between(28000, 30000, 3)
    address = f"http://127.0.0.1:{port}"
    url = postgres.set(drivername="postgresql+psycopg2", database="airflow").render_as_string(hide_password=False)
    kwargs = {"tracking_ref": "main", "repo_url": str(origin), "subdir": "runners/airflow", "refresh_interval": 10}
    bundle = {"name": "kiban", "classpath": "airflow.providers.git.bundles.git.GitDagBundle", "kwargs": kwargs}
    given = variables(
        tmp_path / "home",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=url,
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__CORE__PARALLELISM="2",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{address}/execution/",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__API__BASE_URL=address,
        AIRFLOW__API_AUTH__JWT_SECRET="of-the-tests-alone-" * 4,
        AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK="False",
        AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(port + 1),
        AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps([bundle]),
    )
    subprocess.run([AIRFLOW / "airflow", "db", "migrate"], env=given, check=True, capture_output=True)
    with contextlib.ExitStack() as stack:
        for words in [
            ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            ["scheduler"],
            ["dag-processor"],
        ]:
            stack.enter_context(running(given, tmp_path / f"{words[0]}.log", words))
        wait_for(port, 90)
        token = httpx.get(f"{address}/auth/token", timeout=30, follow_redirects=True).json()["access_token"]
        client = httpx.Client(base_url=f"{address}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=30)
        stack.enter_context(client)
        yield client, sa.create_engine(url.replace("psycopg2", "psycopg"))


@contextmanager
def running(given: dict[str, str], log: Path, words: list[str]) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen([AIRFLOW / "airflow", *words], env=given, stdout=file, stderr=file, process_group=0)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], Any], seconds: float) -> Any:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if value := condition():
            return value
        time.sleep(0.5)
    raise TimeoutError


def step_in(folder: Path, module: str) -> psutil.Process | None:
    """The process of `kiban step` whose stage runs that module, in a clone in the folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if module in process.cmdline() and Path(process.cwd()).is_relative_to(folder):
                above = [each for each in process.parents() if "step" in each.cmdline()]
                return above[0] if above else None
    return None


def states(database: sa.Engine) -> dict[str, tuple[str, int]]:
    with database.connect() as connection:
        rows = connection.execute(
            sa.text("select task_id, state, try_number from task_instance where dag_id = 'kiban'")
        )
        return {task: (state, tries) for task, state, tries in rows}


def test_a_scheduled_run_takes_new_data_and_a_killed_task_is_tried_again(
    moved: Path, feed: Path, origin: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    configure(moved, repository=str(origin), folder=str(ROOT), until="2012-07", retry_seconds=1)
    run(moved, "git", "commit", "-q", "-a", "-m", "settings of Airflow")
    run(moved, "git", "push", "-q", str(origin), "HEAD:main")
    lay(feed, "2012-07", "2012-08")
    client, database = request.getfixturevalue("airflow")
    wait_until(lambda: client.get("/dags/kiban").status_code == 200, 90)
    client.patch("/dags/kiban", json={"is_paused": False}).raise_for_status()

    killed = wait_until(lambda: step_in(tmp_path / "home/tmp", "kiban.train"), 240)
    for process in [*killed.children(recursive=True), killed]:
        process.kill()
    wait_until(lambda: states(database).get("publish", ("", 0))[0] in ("success", "failed", "upstream_failed"), 300)
    assert {task: tries for task, (_, tries) in states(database).items()} == {
        task: 2 if task == "train" else 1 for task in states(database)
    }
    assert {state for state, _ in states(database).values()} == {"success"}
    (branch,) = run(origin, "git", "for-each-ref", "--format=%(refname:short)", "refs/heads/kiban-run-*").split()
    assert branch.startswith("kiban-run-scheduled__")
    assert "2012-08" not in run(origin, "git", "show", f"{branch}:data/weather.batches.yaml")  # the run ends with July
    check_same_bytes(moved, origin, branch)
    assert not [*(tmp_path / "home/tmp").glob("tmp.*/.git")]  # no clone is left
