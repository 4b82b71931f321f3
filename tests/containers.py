"""Containers for the tests of platforms: podman, and an image of the steps in the weather's repository."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import run

BASE = "docker.io/library/python:3.11-slim"
STEPS = "localhost/kiban-tests:steps"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PACKAGES = (
    *("ca-certificates", "python3", "python3-venv", "python3-pip"),
    *("libgomp1", "netbase", "tzdata", "git", "openssh-client"),
)
CONTAINERFILE = """\
FROM scratch
ADD base.tar /
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN ln -sf python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
ENV LANG=C.UTF-8 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]
"""
Podman = Callable[..., str]


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """Run podman, and say what it prints. There is the image BASE, from a registry or from Debian's packages."""
    if not shutil.which("podman") or not shutil.which("buildah"):
        pytest.skip("podman and buildah are not installed: apt-get install podman buildah runc mmdebstrap")
    folder = tmp_path_factory.mktemp("podman")
    settings = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
    if shutil.which("runc"):  # crun wants another version of cgroups than some machines have
        settings += '[engine]\nruntime = "runc"\n'
    (folder / "containers.conf").write_text(settings)
    os.environ["CONTAINERS_CONF"] = str(folder / "containers.conf")

    def podman(*words: str, status: int = 0) -> str:
        return run(folder, "podman", *words, status=status)

    if subprocess.run(["podman", "image", "exists", BASE]).returncode:
        pulled = subprocess.run(["podman", "pull", "-q", BASE], capture_output=True).returncode == 0
        if not pulled and not shutil.which("mmdebstrap"):
            pytest.skip(f"{BASE} cannot be had, and there is no mmdebstrap to make one of Debian's packages")
        if not pulled:
            run(
                folder,
                "mmdebstrap",
                "-q",
                "--variant=minbase",
                f"--include={','.join(PACKAGES)}",
                "bookworm",
                "base.tar",
            )
            (folder / "ca-certificates.crt").write_bytes(CERTIFICATES.read_bytes())  # a company's own among them
            (folder / "Containerfile").write_text(CONTAINERFILE)
            podman("build", "-q", "--isolation", "chroot", "-t", BASE, ".")
    return podman


@pytest.fixture(scope="session")
def steps_image(weather: Path, podman: Podman) -> str:
    """The image of the steps, of the weather's repository."""
    return build(weather / "ours", STEPS)


def build(project: Path, tag: str) -> str:
    run(project, "runners/image/build.sh", tag, ENGINE="podman", OPTIONS="-q --isolation chroot --network host")
    return tag
