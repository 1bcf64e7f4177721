"""Traces from the caller to the trial, sent to a real collector."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

import seedbed
from seedbed.v1 import datasets_pb2, jobs_pb2
from seedbed_server.errors import StartupError
from seedbed_server.telemetry import tracing
from tests.api.harness import Harness, launch, refused, wanted
from tests.conftest import child_environment, start_server
from tests.telemetry.collector import Collector, Span, collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
TRACEPARENT = (("traceparent", f"00-{TRACE}-{CALLER}-01"), ("tracestate", "vendor=opaque"))


def traced_job(server: Harness, folder: Path, trials: int = 2, **options: object) -> jobs_pb2.Job:
    """A job that a caller with a trace of its own has created, and that has ended."""
    dataset = server.dataset(folder / "secret-name.csv")
    request = jobs_pb2.CreateJobRequest(job=wanted(dataset, trials, **options))
    name = server.jobs.CreateJob(request, metadata=TRACEPARENT).name
    server.events(name)
    return server.jobs.GetJob(jobs_pb2.GetJobRequest(name=name))


def inside(collector: Collector, parent: Span) -> set[str]:
    return {span.name for span in collector.spans if span.parent == parent.id}


def test_the_callers_trace_goes_on_through_the_job_to_its_trials(tmp_path: Path) -> None:
    with (
        collecting() as collector,
        launch(
            tmp_path / "data",
            *("--allow-root", str(tmp_path), "--traces-endpoint", collector.url),
        ) as server,
    ):
        job = traced_job(server, tmp_path)
        assert job.state == jobs_pb2.Job.SUCCEEDED
        (attempt,) = collector.wait_for("job")
        (call,) = collector.wait_for("seedbed.v1.JobService/CreateJob")
        assert (call.trace, call.parent) == (TRACE, CALLER)
        assert call.attributes["rpc.response.status_code"] == "OK"
        assert call.resource["service.name"] == "seedbed"
        assert call.resource["process.pid"] == server.process.pid
        assert (attempt.trace, attempt.parent) == (TRACE, call.id)
        assert attempt.resource["process.pid"] != server.process.pid
        assert attempt.attributes == {
            "seedbed.job.id": job.name.rpartition("/")[2],
            "seedbed.job.attempt": 1,
            "seedbed.task": "tiny",
            "seedbed.device": "cpu",
            "seedbed.job.outcome": "SUCCEEDED",
        }
        assert inside(collector, call) == {"job.queued", "job"}
        assert inside(collector, attempt) == {"job.searching", "job.finishing"}
        (searching,) = collector.named("job.searching")
        first, second = sorted(collector.named("trial"), key=lambda span: span.start)
        assert {first.parent, second.parent} == {searching.id}
        assert second.attributes == {
            "seedbed.job.id": job.name.rpartition("/")[2],
            "seedbed.job.attempt": 1,
            "seedbed.trial.number": 1,
            "seedbed.trial.architecture": "line",
            "seedbed.trial.baseline": False,
            "seedbed.trial.origin": "",
            "seedbed.trial.resumed": False,
            "seedbed.trial.outcome": "COMPLETE",
            "seedbed.trial.score": pytest.approx(0.61),
            "seedbed.trial.epochs": 2,
            "seedbed.trial.samples": 100,
        }
        assert attempt.start <= searching.start <= first.start < first.end <= second.start
        assert second.end <= searching.end <= attempt.end
        assert collector.paths == {"/v1/traces"}
        everything = repr(collector.spans)
        assert "secret-name" not in everything and "learning_rate" not in everything


def test_a_job_that_another_worker_goes_on_with_stays_in_its_trace(tmp_path: Path) -> None:
    with (
        collecting() as collector,
        launch(tmp_path / "data", "--allow-root", str(tmp_path)) as untraced,
    ):
        # Nothing is traced by default, whatever callers send.
        assert traced_job(untraced, tmp_path).state == jobs_pb2.Job.SUCCEEDED
        assert collector.spans == []
    with (
        collecting() as collector,
        launch(
            tmp_path / "other",
            *("--allow-root", str(tmp_path), "--traces-endpoint", collector.url),
        ) as server,
    ):
        job = traced_job(server, tmp_path, trials=3, mode="die_once")
        assert job.state == jobs_pb2.Job.SUCCEEDED
        # The attempt that was killed could send no more.
        (attempt,) = collector.wait_for("job")
        (call,) = collector.wait_for("seedbed.v1.JobService/CreateJob")
        assert attempt.attributes["seedbed.job.attempt"] > 1
        assert (attempt.trace, attempt.parent) == (TRACE, call.id)
        assert {span.trace for span in collector.named("trial")} == {TRACE}


def test_failures_are_marked_and_tell_no_data(tmp_path: Path) -> None:
    with (
        collecting() as collector,
        launch(
            tmp_path / "data",
            *("--allow-root", str(tmp_path), "--traces-endpoint", collector.url),
        ) as server,
    ):
        job = traced_job(server, tmp_path, mode="refuse")
        assert job.state == jobs_pb2.Job.FAILED
        (attempt,) = collector.wait_for("job")
        assert attempt.failed
        assert attempt.attributes["seedbed.job.outcome"] == "FAILED"
        assert attempt.attributes["seedbed.job.error"] == "CHANGED"
        assert "dataset changed" not in repr(collector.spans)
        request = datasets_pb2.GetDatasetRequest(name="datasets/nowhere")
        error = refused(server.datasets.GetDataset, request)
        assert error.code is grpc.StatusCode.NOT_FOUND
        (call,) = collector.wait_for("seedbed.v1.DatasetService/GetDataset")
        assert call.attributes["rpc.response.status_code"] == "NOT_FOUND"
        # It is the caller's fault.
        assert not call.failed
        assert (call.parent, call.trace) != (CALLER, TRACE)


def test_a_collector_that_is_away_costs_nothing_but_the_spans(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        arguments = ("--allow-root", str(tmp_path), "--traces-endpoint", nobody)
        with launch(tmp_path / "data", *arguments) as server:
            job = traced_job(server, tmp_path)
            assert job.state == jobs_pb2.Job.SUCCEEDED
            # The slot is free again soon, and the server ends in time.
            again = traced_job(server, tmp_path)
            assert again.state == jobs_pb2.Job.SUCCEEDED
            waited = again.start_time.ToNanoseconds() - again.create_time.ToNanoseconds()
            assert waited < 15e9
            began = time.monotonic()
            assert server.end() == 0
            assert time.monotonic() - began < 15


def test_ids_and_waiting_take_nothing_from_the_generator_that_plugins_seed() -> None:
    program = (
        "import random\n"
        "from seedbed_server.telemetry import tracing\n"
        "random.seed(7)\n"
        "traces = tracing.start()\n"
        "traces.call('seedbed.v1.TaskService/GetTask', (), current=True).end('OK')\n"
        "traces.close(10)\n"
        "print(type(traces).__name__, random.random())\n"
    )
    with collecting() as collector:
        environment = {**child_environment(), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        shown = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()
        assert len(collector.spans) == 1
    assert shown[0] == "OpenTelemetry"
    assert float(shown[1]) == random.Random(7).random()


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/own"}, "http://c/own"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
    ],
)
def test_the_standard_variables_count(variables: dict[str, str], url: str) -> None:
    assert tracing.endpoint(variables) == url


def test_without_the_extra_asking_for_traces_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartupError, match=r'pip install "seedbed\[telemetry\]"'):
        tracing.choose("http://127.0.0.1:4318")
    # Variables are often set for all programs of a machine, and are no reason not to start.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert type(tracing.start()) is tracing.Tracing
    assert tracing.preload() == ()


def test_nothing_is_imported_where_nothing_is_asked_for() -> None:
    program = (
        "import sys, seedbed_server.main, seedbed_server.service, seedbed_server.executors.worker\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert not {"opentelemetry", "prometheus_client", "requests"} & set(shown)


@pytest.mark.slow
def test_the_trials_of_a_real_search_are_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with (
            start_server(tmp_path / "data", "--devices", "cpu") as server,
            seedbed.connect(server.address) as client,
        ):
            job = client.train("tabular", "sample://breast_cancer", budget="3trials", seed=1)
            trials = {trial.number: trial for trial in job.trials()}
            collector.wait_for("job")
    spans = {s.attributes["seedbed.trial.number"]: s.attributes for s in collector.named("trial")}
    assert set(spans) == set(trials)
    for number, trial in trials.items():
        assert spans[number]["seedbed.trial.architecture"] == trial.architecture
        assert spans[number]["seedbed.trial.score"] == trial.validation_score
        assert spans[number]["seedbed.trial.epochs"] == trial.epochs
        assert spans[number]["seedbed.trial.samples"] == trial.samples
    phases = {s.name for s in collector.spans if s.name.startswith("job.")}
    assert phases == {"job.queued", "job.preparing", "job.searching", "job.finishing"}
