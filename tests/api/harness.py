"""A real server process with the tests' tiny task, and stubs to call it with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from seedbed.credentials import Credentials
from seedbed.v1 import (
    datasets_pb2,
    datasets_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    models_pb2_grpc,
    predictions_pb2_grpc,
    server_pb2_grpc,
    tasks_pb2_grpc,
)
from tests.conftest import ROOT, child_environment
from tests.executors.functions import CALLS

ENDED = (jobs_pb2.Job.SUCCEEDED, jobs_pb2.Job.FAILED, jobs_pb2.Job.CANCELLED)


OPTIONS = (("grpc.max_receive_message_length", 16 * 2**20),)


class Calls:
    """A channel with its stubs. `events` and the like are shortcuts for tests."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.tasks = tasks_pb2_grpc.TaskServiceStub(self.channel)
        self.datasets = datasets_pb2_grpc.DatasetServiceStub(self.channel)
        self.jobs = jobs_pb2_grpc.JobServiceStub(self.channel)
        self.models = models_pb2_grpc.ModelServiceStub(self.channel)
        self.predictions = predictions_pb2_grpc.PredictionServiceStub(self.channel)
        self.server = server_pb2_grpc.ServerServiceStub(self.channel)

    def dataset(self, path: Path, text: str = "a,b\n1,no\n2,yes\n", **fields: Any) -> str:
        """The name of a new dataset over a new file."""
        path.write_text(text)
        request = datasets_pb2.CreateDatasetRequest(
            dataset=datasets_pb2.Dataset(sources=[datasets_pb2.DataSource(uri=str(path))]), **fields
        )
        return self.datasets.CreateDataset(request).name

    def job(self, dataset: str, trials: int = 1, **options: Any) -> jobs_pb2.Job:
        """A new job of the task `tiny`."""
        return self.jobs.CreateJob(
            jobs_pb2.CreateJobRequest(job=wanted(dataset, trials, **options))
        )

    def events(self, name: str, after: int = 0) -> list[jobs_pb2.JobEvent]:
        """All events of a job until its end, heartbeats left out."""
        request = jobs_pb2.WatchJobRequest(name=name, after_sequence=after)
        return [e for e in self.jobs.WatchJob(request, timeout=30) if not e.HasField("heartbeat")]

    def until(self, name: str, kind: str, *, times: int = 1) -> jobs_pb2.JobEvent:
        """Watches a job until an event of a kind has come so many times."""
        stream = self.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name), timeout=30)
        for event in stream:
            times -= event.WhichOneof("event") == kind
            if times == 0:
                stream.cancel()
                return event
        raise AssertionError(f"no {kind} came")

    def finished(self, dataset: str, trials: int = 1, **options: Any) -> jobs_pb2.Job:
        """A job that has ended."""
        name = self.job(dataset, trials, **options).name
        self.events(name)
        return self.jobs.GetJob(jobs_pb2.GetJobRequest(name=name))


class Harness(Calls):
    """A running server, and calls of somebody to it."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        address: str,
        data_dir: Path,
        log: Path,
        credentials: Credentials,
    ) -> None:
        super().__init__(credentials.channel(address, OPTIONS))
        self.process = process
        self.address = address
        self.data_dir = data_dir
        self.log = log

    @contextmanager
    def calls(self, credentials: Credentials) -> Iterator[Calls]:
        """Calls with other credentials."""
        with credentials.channel(self.address, OPTIONS) as channel:
            yield Calls(channel)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and waits; the exit status."""
        self.channel.close()
        self.process.send_signal(number)
        return self.process.wait(20)


def wanted(dataset: str, trials: int = 1, **options: Any) -> jobs_pb2.Job:
    """A job as a request holds it."""
    job = jobs_pb2.Job(task="tiny", dataset=dataset, budget=jobs_pb2.Budget(trials=trials))
    job.options.update(options)
    return job


def environment(**settings: Any) -> dict[str, str]:
    """For a server process with the tests' driver and calls."""
    env = child_environment()
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(ROOT)])
    env["SEEDBED_DRIVER"] = "tests.executors.drivers:run_job"
    env["SEEDBED_CALLS"] = json.dumps(CALLS)
    env["SEEDBED_PRELOAD"] = '["tests.executors.light"]'
    env["SEEDBED_DEVICES"] = "cpu"
    return {**env, **{f"SEEDBED_{k.upper()}": str(v) for k, v in settings.items()}}


def command(data_dir: Path, *arguments: str, address: str = "127.0.0.1:0") -> list[str]:
    base = [sys.executable, "-m", "seedbed_server", "--address", address]
    return [*base, "--data-dir", str(data_dir), *arguments]


@contextmanager
def launch(
    data_dir: Path,
    *arguments: str,
    address: str = "127.0.0.1:0",
    credentials: Credentials | None = None,
    **settings: Any,
) -> Iterator[Harness]:
    """A server that is ended after the block, if it still runs."""
    log = data_dir.with_name(f"{data_dir.name}.log")
    with log.open("a") as stderr:
        process = subprocess.Popen(
            command(data_dir, *arguments, address=address),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment(**settings),
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert " serving on " in line, f"the server did not start: {log.read_text()}"
        where = line.partition(" serving on ")[2].partition(", data in ")[0]
        harness = Harness(process, where, data_dir, log, credentials or Credentials())
        yield harness
        harness.channel.close()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        process.stdout.close()


class Refusal:
    """An RpcError taken apart."""

    def __init__(self, error: grpc.RpcError) -> None:
        self.code: grpc.StatusCode = error.code()
        self.message: str = error.details() or ""
        self.reason = ""
        self.retry_seconds: float | None = None
        self.metadata: dict[str, str] = {}
        self.violations: dict[str, str] = {}
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            info = error_details_pb2.ErrorInfo()
            bad = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                assert info.domain == "seedbed.dev"
                self.reason, self.metadata = info.reason, dict(info.metadata)
            if detail.Unpack(bad):
                self.violations = {v.field: v.description for v in bad.field_violations}
            if detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()


def refused(call: Any, *arguments: Any) -> Refusal:
    """The error that a call ends with; fails where it succeeds."""
    try:
        result = call(*arguments, timeout=20)
        if hasattr(result, "__next__"):
            list(result)
    except grpc.RpcError as error:
        return Refusal(error)
    raise AssertionError("the call was expected to fail")
