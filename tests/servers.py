"""Real servers for the tests, on loopback, each in a folder of its own: S3, PostgreSQL, MLflow, and the service."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa
from clones import empty_runs, environment

KEY, SECRET = "kiban-test-key", "kiban-test-secret"


def free_port_between(first: int, last: int, room: int = 1) -> int:
    """A port of which the next `room` are free too; to be sought below 32768, where the system takes none by itself."""
    for port in range(first + os.getpid() % 1000, last, room):
        if all(_is_free(port + offset) for offset in range(room)):
            return port
    raise OSError("no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_for(port: int, seconds: float = 30) -> None:
    """Wait until something listens at the port."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens at port {port}")


@dataclass
class Store:
    """An S3 server with a bucket `dvc`, which can be killed and started again on what it has kept."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "dvc").mkdir(parents=True, exist_ok=True)
        command = ["rclone", "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEY},{SECRET}"]
        command += ["--vfs-cache-mode", "off", "--config", "/dev/null", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """It lists what is in its folder now, and not what it remembers."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """It accepts connections, and never answers."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    running = Store(tmp_path / "s3", free_port_between(20000, 24000))
    running.start()
    yield running
    running.kill()


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres, which Debian leaves off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def _postgres(programs: Path) -> Iterator[sa.URL]:
    # Not in pytest's folder: PostgreSQL does not run as root, and only root may enter that.
    folder = Path(tempfile.mkdtemp(prefix="kiban-postgres-", dir="/tmp"))
    account = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    if account:
        shutil.chown(folder, "nobody", "nogroup")
    (folder / "password").write_text(SECRET)
    (folder / "password").chmod(0o644)
    port = free_port_between(24000, 28000)
    run: Callable[[list[str]], subprocess.Popen[bytes]] = lambda command: subprocess.Popen(  # noqa: E731
        command,
        cwd=folder,
        env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account,  # type: ignore[call-overload]
    )
    data = str(folder / "data")
    password = ["--pwfile", "password", "-A", "scram-sha-256"]
    made = run([str(programs / "initdb"), "-D", data, "-U", "kiban", "-E", "UTF8", "--no-sync", *password])
    assert made.wait(60) == 0
    server = run([str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"])
    try:
        wait_for(port)
        yield sa.URL.create("postgresql+psycopg", "kiban", SECRET, "127.0.0.1", port, "postgres")
    finally:
        server.send_signal(signal.SIGINT)  # ends its sessions too
        server.wait(30)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with _postgres(programs) as url:
        yield url


@dataclass
class MlflowServer:
    """`mlflow server` on sqlite, which can be killed and started again on what it has kept."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / "mlflow.db").exists():
            shutil.copy(empty_runs(), self.folder)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        wait_for(self.port, 120)
        while True:  # it listens before it can answer
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.uri}/health", timeout=60).is_success:
                    return

    def kill(self) -> None:
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"), free_port_between(28000, 32000))
    server.start()
    yield server
    server.kill()


@contextmanager
def serving(folder: Path, *command: str, **extra: str) -> Iterator[httpx.Client]:
    """A client of the service that `command` starts in `folder`, once it is ready; its log must have no traceback."""
    port = free_port_between(12000, 16000)
    # A home for each: a server removes the counters of others that it finds in its own.
    home = tempfile.mkdtemp(prefix="kiban-bentoml-")
    variables = environment(**{"BENTOML_HOME": home, "TMPDIR": home, "BENTOML_DO_NOT_TRACK": "True", **extra})
    log = folder / f"serve-{port}.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=folder, env=variables, stdout=output, stderr=output
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(600):
                assert server.poll() is None, log.read_text()
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            yield client
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)
    assert "Traceback" not in log.read_text()


def process_of(client: httpx.Client) -> psutil.Process:
    """The server that the client of `serving` asks, a child of this process."""
    (server,) = (each for each in psutil.Process().children() if str(client.base_url.port) in each.cmdline())
    return server


def output_of(client: httpx.Client, folder: Path) -> Path:
    """The file with what the server in the folder has said."""
    return folder / f"serve-{client.base_url.port}.log"
