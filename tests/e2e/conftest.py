"""Servers for whole stories, some of them in odd circumstances."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import seedbed
from seedbed.errors import from_rpc_error
from seedbed.v1 import datasets_pb2, datasets_pb2_grpc
from tests.conftest import RunningServer, _ready_address, child_environment

ErrorT = TypeVar("ErrorT", bound=seedbed.SeedbedError)

SAMPLE = "sample://breast_cancer"
GOOD = "size,shape,y\n" + "".join(f"{i},{i % 7},{'yes' if i % 2 else 'no'}\n" for i in range(60))
# A search whose every trial takes a few seconds on `write_noise`.
SLOW: dict[str, object] = {"architecture": "tabm", "epochs": 40, "batch_size": 64}

# Without these even root cannot read a file that its mode forbids.
_OVERRIDES = "-dac_override,-dac_read_search"


@contextmanager
def serve(
    data_dir: Path,
    *arguments: str,
    prefix: Sequence[str] = (),
    python: str = sys.executable,
) -> Iterator[RunningServer]:
    """`prefix python -m seedbed_server` on a free port, ended by SIGTERM after the block."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.with_name(data_dir.name + ".log")
    command = [*prefix, python, "-m", "seedbed_server", "--address", "127.0.0.1:0"]
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir), "--devices", "cpu", *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=child_environment(),
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        yield RunningServer(_ready_address(process, log), data_dir, process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def children(server: RunningServer) -> set[int]:
    """The processes below a server that live."""
    found = psutil.Process(server.process.pid).children(recursive=True)
    living = set()
    for child in found:
        # One may end between the list and the look.
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                living.add(child.pid)
    return living


@dataclass(frozen=True)
class House:
    """A running server, a client of it, and the folder that it may read."""

    server: RunningServer
    client: seedbed.Client
    root: Path

    def register(self, uri: str) -> seedbed.Dataset:
        """A dataset that the server reads by itself; the client would upload a file that is here.

        Raises what the client would.
        """
        source = datasets_pb2.DataSource(uri=uri)
        request = datasets_pb2.CreateDatasetRequest(dataset=datasets_pb2.Dataset(sources=[source]))
        with grpc.insecure_channel(self.server.address) as channel:
            stub = datasets_pb2_grpc.DatasetServiceStub(channel)
            try:
                made = stub.CreateDataset(request, timeout=30)
            except grpc.RpcError as error:
                raise from_rpc_error(error, self.server.address) from None
        return self.client.dataset(made.name)

    def leftovers(self) -> dict[str, list[str]]:
        """All there is on the server, in rows and in files, that a failure must not add to."""
        data = self.server.data_dir
        return {
            "jobs": sorted(job.id for job in self.client.jobs()),
            "datasets": sorted(dataset.id for dataset in self.client.datasets()),
            "models": sorted(model.id for model in self.client.models()),
            "model folders": sorted(path.name for path in (data / "models").iterdir()),
            "uploads": sorted(p.name for p in (data / "uploads").iterdir() if p.name != ".partial"),
            "partial uploads": sorted(p.name for p in (data / "uploads/.partial").iterdir()),
            "scratch": sorted(path.name for path in (data / "cache/jobs").glob("*")),
        }


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server for the stories that leave it whole. A file's mode holds for it, even as root."""
    root = tmp_path_factory.mktemp("root")
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0 and shutil.which("setpriv"):
        prefix = ("setpriv", f"--bounding-set={_OVERRIDES}")
    data_dir = tmp_path_factory.mktemp("house") / "data"
    with (
        serve(data_dir, "--allow-root", str(root), prefix=prefix) as server,
        seedbed.connect(server.address) as client,
    ):
        yield House(server, client, root)


@pytest.fixture(scope="package")
def sample(house: House) -> seedbed.Dataset:
    """A table of numbers with a target of two classes."""
    return house.register(SAMPLE)


@pytest.fixture(scope="package")
def model(house: House, sample: seedbed.Dataset) -> seedbed.Model:
    """A model of the sample."""
    return house.client.train("tabular", sample, budget="1trials").model()


@pytest.fixture
def undisturbed(house: House) -> Iterator[None]:
    """After the test the server says that it is well, and works on nothing."""
    yield
    for job in house.client.jobs():
        if not job.state.ended:
            job.cancel()
    with grpc.insecure_channel(house.server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@contextmanager
def refused(
    house: House, kind: type[ErrorT], says: Sequence[str], field: str = ""
) -> Iterator[None]:
    """Expects the error of the block, with one violation (of `field`), the words in it, and
    nothing left of the attempt."""
    before = house.leftovers()
    with pytest.raises(kind) as caught:
        yield
    error = caught.value
    assert type(error) is kind
    assert [violation.field for violation in error.violations] == ([field] if field else [])
    for words in says:
        assert words in str(error)
    assert "Traceback" not in str(error)
    assert house.leftovers() == before


def any_row(model: seedbed.Model) -> dict[str, object]:
    """A row for a model that predicts from numbers."""
    return {column.name: 1.0 for column in model.info.inputs}


def write_noise(path: Path, rows: int = 4000) -> Path:
    """A table that takes a network a tenth of a second an epoch: columns `a`, `b`, `c`, `y`."""
    rng = random.Random(0)
    lines = (
        f"{rng.gauss(0, 1):.3f},{rng.gauss(0, 1):.3f},{rng.choice('xyz')},{rng.choice('uv')}"
        for _ in range(rows)
    )
    path.write_text("a,b,c,y\n" + "\n".join(lines) + "\n")
    return path
