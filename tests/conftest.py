"""A real server for the tests that talk to one."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from tests.running_databases import PASSWORD, Cluster, postgresql_cluster
from tests.shared_databases import USER

# How long an example takes is a matter of the machine, not of what is tested.
settings.register_profile("seedbed", deadline=None)
settings.load_profile("seedbed")
# As in the server's workers: threads that wait sleep, so that tests side by side do not starve.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0


def child_environment() -> dict[str, str]:
    """The environment of a child process that must not know of another server."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SEEDBED_")}
    rooms = [str(ROOT / room) for room in ("client", "plugins", "server")]
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([*rooms, *([inherited] if inherited else [])])
    return environment


@dataclass
class RunningServer:
    """A server process. `address` is what a client connects to."""

    address: str
    data_dir: Path
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Ends the API process as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def _ready_address(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_SECONDS) else ""
    _, found, rest = line.partition(" serving on ")
    if not found:
        process.kill()
        process.wait()
        pytest.fail(f"the server did not start:\n{log.read_text()[-4000:]}")
    return rest.partition(", data in ")[0]


@contextmanager
def start_server(
    data_dir: Path, *arguments: str, address: str = "127.0.0.1:0"
) -> Iterator[RunningServer]:
    """`python -m seedbed_server` on a free port, ended by SIGTERM after the block."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "server.log"
    command = [sys.executable, "-m", "seedbed_server", "--address", address]
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir), *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=child_environment(),
            start_new_session=True,
        )
    try:
        yield RunningServer(_ready_address(process, log), data_dir, process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.fixture(scope="session")
def server_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the session's server may read data from."""
    return tmp_path_factory.mktemp("allowed")


@pytest.fixture(scope="session")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, server_root: Path
) -> Iterator[RunningServer]:
    """One server for all tests of the session that do not harm it."""
    data_dir = tmp_path_factory.mktemp("server")
    with start_server(data_dir, "--allow-root", str(server_root)) as running:
        yield running


@pytest.fixture(scope="session")
def server(running_server: RunningServer) -> str:
    """The address of the session's server."""
    return running_server.address


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for the tests that do not stop it, with a user for seedbed."""
    with postgresql_cluster() as running:
        with running.connect() as connection:
            connection.execute(f"CREATE USER {USER} PASSWORD '{PASSWORD}'")
        yield running
