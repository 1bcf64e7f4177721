"""Metrics of a real server, read as Prometheus does."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from seedbed.v1 import datasets_pb2, jobs_pb2, predictions_pb2, values_pb2
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import EpochFinished, JobState, StopReason, Trial, TrialState
from seedbed_server.store import Files, Store
from seedbed_server.store.usage import disk_usage
from seedbed_server.store.values import now
from seedbed_server.telemetry.readings import Readings
from tests.api.harness import Harness, launch, refused
from tests.api.test_lifecycle import run
from tests.conftest import eventually
from tests.store.values import a_model, with_job


class Scrapes:
    """What a server answers to Prometheus."""

    def __init__(self, data_dir: Path) -> None:
        self.address = json.loads((data_dir / "server.json").read_text())["metrics_address"]

    def all(self) -> dict[tuple[str, frozenset[str]], float]:
        """Values by the name of the series and the values of its labels."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            text = answer.read().decode()
        families = list(text_string_to_metric_families(text))
        assert all(family.documentation for family in families)
        return {
            (sample.name, frozenset(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, *labels: str) -> float:
        return self.all().get((name, frozenset(labels)), -1.0)

    def becomes(self, value: float, name: str, *labels: str) -> bool:
        """Rows are read every few seconds only."""
        return eventually(lambda: self.value(name, *labels) == value, 30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Harness]:
    with launch(
        folder / "data",
        *("--allow-root", str(folder), "--workers", "2", "--metrics-address", "127.0.0.1:0"),
    ) as harness:
        yield harness


@pytest.fixture
def scrapes(server: Harness) -> Scrapes:
    return Scrapes(server.data_dir)


def upload(server: Harness, content: bytes) -> datasets_pb2.Dataset:
    header = datasets_pb2.UploadHeader(
        upload_id="upload1",
        file_name="private.csv",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    messages: list[Any] = [
        datasets_pb2.UploadDatasetRequest(header=header),
        datasets_pb2.UploadDatasetRequest(chunk=content),
    ]
    return server.datasets.UploadDataset(iter(messages), timeout=30).dataset


def test_what_was_done_is_counted_and_names_nobody(
    server: Harness, scrapes: Scrapes, folder: Path
) -> None:
    dataset = server.dataset(folder / "t.csv")
    job = server.finished(dataset, trials=3)
    assert job.state == jobs_pb2.Job.SUCCEEDED
    failed = server.finished(dataset, mode="refuse")
    assert failed.state == jobs_pb2.Job.FAILED
    request = predictions_pb2.PredictRequest(
        model=job.model,
        examples=[values_pb2.Example(fields={"a": values_pb2.Value(double_value=1.0)})] * 4,
    )
    server.predictions.Predict(request, timeout=30)
    refused(server.jobs.GetJob, jobs_pb2.GetJobRequest(name="jobs/user-text"))
    upload(server, b"a,b\n1,2\n")
    assert scrapes.becomes(3, "seedbed_trials_total", "COMPLETE")
    found = scrapes.all()

    def value(name: str, *labels: str) -> float:
        return found[name, frozenset(labels)]

    create = "seedbed.v1.JobService/CreateJob"
    assert value("seedbed_requests_total", create, "OK") == 2
    assert value("seedbed_requests_total", "seedbed.v1.JobService/GetJob", "NOT_FOUND") == 1
    assert value("seedbed_request_seconds_count", create) == 2
    assert value("seedbed_request_seconds_bucket", create, "+Inf") == 2
    assert value("seedbed_jobs", "SUCCEEDED") == value("seedbed_jobs", "FAILED") == 1
    assert value("seedbed_jobs_ended_total", "SUCCEEDED") == 1
    assert value("seedbed_jobs_ended_total", "FAILED") == 1
    assert value("seedbed_job_queue_seconds_count") == 2
    assert value("seedbed_queue_length") == 0
    assert value("seedbed_events_total", "trial_finished") == 3
    assert value("seedbed_events_total", "epoch_finished") == 6
    assert value("seedbed_predicted_examples_total") == 4
    assert value("seedbed_prediction_seconds_count") == 1
    assert value("seedbed_upload_bytes_total") == 8
    assert value("seedbed_uploads_total") == 1
    assert value("seedbed_readable") == 1
    rss = psutil.Process(server.process.pid).memory_info().rss
    assert value("process_resident_memory_bytes") == pytest.approx(rss, rel=0.3)
    labels = {label for _, labels in found for label in labels}
    for text in (job.name, job.model, dataset, "private", "user-text", "tiny", "line"):
        assert not [label for label in labels if text.rpartition("/")[2] in label]
    assert eventually(lambda: scrapes.value("seedbed_disk_bytes", "models") > 2e6, 90)
    assert scrapes.value("seedbed_disk_bytes", "uploads") > 0
    assert scrapes.value("seedbed_disk_free_bytes") > 0


def test_what_is_under_way_is_told(server: Harness, scrapes: Scrapes, folder: Path) -> None:
    dataset = server.dataset(folder / "waiting.csv")
    names = [server.job(dataset, mode="wait").name for _ in range(3)]
    server.until(names[1], "best_changed")
    watch = server.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=names[0]), timeout=60)
    next(watch)
    assert scrapes.becomes(2, "seedbed_slots_used", "cpu")
    assert scrapes.value("seedbed_slots", "cpu") == 2
    assert scrapes.becomes(1, "seedbed_queue_length")
    assert scrapes.becomes(1, "seedbed_watchers")
    assert scrapes.value("seedbed_queue_oldest_seconds") > 0
    assert scrapes.value("seedbed_requests_under_way") == 1
    watch.cancel()
    for name in names:
        server.jobs.CancelJob(jobs_pb2.CancelJobRequest(name=name))
    assert scrapes.becomes(0, "seedbed_watchers")
    assert scrapes.becomes(0, "seedbed_slots_used", "cpu")
    assert (
        scrapes.value("seedbed_requests_total", "seedbed.v1.JobService/WatchJob", "CANCELLED") >= 1
    )


def test_it_listens_only_where_it_is_told_and_safe(tmp_path: Path, scrapes: Scrapes) -> None:
    ended = run(tmp_path / "data", "--metrics-address", "0.0.0.0:9470")
    assert ended.returncode == 1
    assert ended.stderr == (
        "seedbed: metrics address '0.0.0.0:9470' can be reached from other machines, and metrics "
        "have neither TLS nor tokens; listen on 127.0.0.1, or pass --insecure where everybody on "
        "the network is trusted\n"
    )
    ended = run(tmp_path / "data", "--metrics-address", "unix:/tmp/m")
    assert ended.returncode == 1
    assert "metrics address 'unix:/tmp/m' is not of the form HOST:PORT" in ended.stderr
    ended = run(tmp_path / "data", "--metrics-address", scrapes.address)
    assert ended.returncode == 1
    assert f"cannot listen on {scrapes.address} for metrics" in ended.stderr


def test_events_are_counted_once_and_not_those_from_before(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.create()
    store = Store(files.database_url)
    store.migrate()
    with_job(store)
    readings = Readings(
        store, files, slots=lambda: ["cuda:0", "cuda:1"], used_slots=list, watchers=lambda: 0
    )
    readings.since = now() + timedelta(milliseconds=1)
    assert eventually(lambda: now() > readings.since)
    leased = store.jobs.lease()
    assert leased is not None
    session = JobSession(store, leased.id, leased.attempt)
    trial = Trial(0, "line", {})
    session.start_trial(trial)
    session.report_epochs([EpochFinished(0, 1, 2, 0.5, 10), EpochFinished(0, 2, 2, 0.6, 20)])
    first = readings.read(lambda: [leased.id])
    assert first.events == {"state_changed": 1, "trial_started": 1, "epoch_finished": 2}
    assert (first.trials, first.ended_jobs) == ({}, {})
    assert (first.jobs, first.slots) == ({JobState.PREPARING: 1}, {"cuda": 2})
    failed = Trial(0, "line", {}, state=TrialState.FAILED, reason="it diverged")
    session.finish_trial(failed, samples_total=20)
    session.succeed_with_earlier_model(StopReason.USER, a_model())
    # Within a few seconds the database is not asked again.
    assert readings.read(lambda: [leased.id]) is first
    readings._read_at = float("-inf")
    second = readings.read(lambda: [leased.id])
    assert second.events["epoch_finished"] == 2
    assert second.trials == {TrialState.FAILED: 1}
    assert second.ended_jobs == {JobState.SUCCEEDED: 1}
    store.close()


def test_disk_use_is_by_kind(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.create()
    files.prepared.mkdir(parents=True)
    (files.models / "m1").mkdir()
    (files.models / "m1" / "weights").write_bytes(b"x" * 50_000)
    (files.prepared / "entry").write_bytes(b"x" * 9_000)
    (tmp_path / "server.log").write_bytes(b"x" * 5_000)
    (tmp_path / "models" / "loop").symlink_to(tmp_path)
    used = disk_usage(files)
    assert set(used) == {
        *("database", "uploads", "models", "prepared", "remote", "trials", "other")
    }
    assert 50_000 <= used["models"] < 60_000
    assert 9_000 <= used["prepared"] < 20_000
    assert used["remote"] == used["trials"] == used["database"] == 0
    assert 5_000 <= used["other"] < 20_000
