"""Servers on PostgreSQL: one, two that share a database, and one whose database goes away."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest

from seedbed.v1 import jobs_pb2
from tests.api.harness import Harness, Refusal, command, environment, launch
from tests.conftest import eventually
from tests.running_databases import PASSWORD, Cluster, free_port, postgresql_cluster
from tests.shared_databases import USER, name_of, new_database

LEASE_SECONDS = 4


@pytest.fixture
def url(cluster: Cluster) -> str:
    return new_database(cluster)


def trials(server: Harness, name: str) -> list[jobs_pb2.Trial]:
    request = jobs_pb2.ListTrialsRequest(parent=name, order_by="number", page_size=1000)
    return list(server.jobs.ListTrials(request).trials)


def get(server: Harness, name: str) -> jobs_pb2.Job:
    return server.jobs.GetJob(jobs_pb2.GetJobRequest(name=name))


def stop(server: Harness, name: str) -> None:
    server.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))


def states(events: list[jobs_pb2.JobEvent]) -> list[str]:
    found = [e.state_changed.state for e in events if e.HasField("state_changed")]
    return [jobs_pb2.Job.State.Name(state) for state in found]


def check_once_each(events: list[jobs_pb2.JobEvent]) -> None:
    """The events are gap-free, and no trial was started or ended twice."""
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    for kind in ("trial_started", "trial_finished"):
        numbers = [getattr(e, kind).trial for e in events if e.HasField(kind)]
        assert numbers == list(range(len(numbers)))


def family(server: Harness) -> list[psutil.Process]:
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def test_a_job_whose_watchers_and_stop_are_on_another_server(
    tmp_path: Path, cluster: Cluster, url: str
) -> None:
    roots = ("--allow-root", str(tmp_path))
    settings = {"database": url, "lease_seconds": LEASE_SECONDS}
    with launch(tmp_path / "data", *roots, **settings) as first:
        name = first.job(first.dataset(tmp_path / "t.csv"), mode="steady").name
        first.until(name, "trial_finished")
        with launch(tmp_path / "data", *roots, **settings) as second:
            second.until(name, "trial_finished", times=5)
            command_lines = [" ".join(p.cmdline()) for s in (first, second) for p in family(s)]
            assert PASSWORD not in "".join(command_lines)
            stop(second, name)
            events = second.events(name)
            check_once_each(events)
            assert states(events)[-2:] == ["FINISHING", "SUCCEEDED"]
            cancelled = first.job(get(second, name).dataset, mode="wait").name
            second.until(cancelled, "trial_started", times=2)
            second.jobs.CancelJob(jobs_pb2.CancelJobRequest(name=cancelled))
            assert states(first.events(cancelled))[-1] == "CANCELLED"
        assert first.end() == 0
    assert PASSWORD not in first.log.read_text()


def test_a_job_goes_on_where_its_server_was_killed(tmp_path: Path, url: str) -> None:
    roots = ("--allow-root", str(tmp_path))
    settings = {"database": url, "lease_seconds": LEASE_SECONDS}
    with launch(tmp_path / "data", *roots, **settings) as first:
        name = first.job(first.dataset(tmp_path / "t.csv"), mode="wait").name
        first.until(name, "trial_started", times=2)
        with launch(tmp_path / "data", *roots, **settings) as second:
            assert trials(second, name)[1].state == jobs_pb2.Trial.RUNNING
            first.end(signal.SIGKILL)
            second.until(name, "trial_started", times=4)
            stop(second, name)
            events = second.events(name)
            check_once_each(events)
            assert states(events)[2:6] == ["SEARCHING", "QUEUED", "PREPARING", "SEARCHING"]
            assert states(events)[-1] == "SUCCEEDED"
            complete, failed = jobs_pb2.Trial.COMPLETE, jobs_pb2.Trial.FAILED
            assert [t.state for t in trials(second, name)] == [complete, failed, complete, failed]
            assert trials(second, name)[1].reason == "the server was stopped during the trial"


def test_a_server_that_was_paused_finds_its_job_taken(tmp_path: Path, url: str) -> None:
    roots = ("--allow-root", str(tmp_path))
    settings = {"database": url, "lease_seconds": LEASE_SECONDS}
    with launch(tmp_path / "data", *roots, **settings) as first:
        name = first.job(first.dataset(tmp_path / "t.csv"), mode="steady").name
        first.until(name, "trial_finished", times=3)
        with launch(tmp_path / "data", *roots, **settings) as second:
            paused = family(first)
            for process in paused:
                process.suspend()
            try:
                queued = second.until(name, "log")
                assert "not heard of any more" in queued.log.message
                second.until(name, "trial_finished", times=len(trials(second, name)) + 3)
            finally:
                for process in paused:
                    with suppress(psutil.NoSuchProcess):
                        process.resume()
            assert eventually(lambda: '"event": "lease_lost"' in first.log.read_text(), 60)
            stop(first, name)
            events = second.events(name)
            check_once_each(events)
            assert states(events).count("QUEUED") == 2
            assert states(events)[-1] == "SUCCEEDED"
            assert get(first, name) == get(second, name)


def test_a_worker_that_was_paused_is_given_up(tmp_path: Path, url: str) -> None:
    settings = {"database": url, "lease_seconds": LEASE_SECONDS}
    with launch(tmp_path / "data", "--allow-root", str(tmp_path), **settings) as server:
        before = set(family(server))
        name = server.job(server.dataset(tmp_path / "t.csv"), mode="wait").name
        server.until(name, "trial_started", times=2)
        (worker,) = [p for p in set(family(server)) - before if os.getpgid(p.pid) == p.pid]
        worker.suspend()
        server.until(name, "trial_started", times=4)
        assert eventually(lambda: not worker.is_running(), 30)
        stop(server, name)
        assert states(server.events(name))[-1] == "SUCCEEDED"


@pytest.fixture
def own() -> Iterator[Cluster]:
    """A database server for a test that stops it."""
    with postgresql_cluster() as running:
        with running.connect() as connection:
            connection.execute(f"CREATE USER {USER} PASSWORD '{PASSWORD}'")
        yield running


def test_all_goes_on_after_the_database_was_away(tmp_path: Path, own: Cluster) -> None:
    settings = {"database": new_database(own), "lease_seconds": LEASE_SECONDS}
    with launch(tmp_path / "data", "--allow-root", str(tmp_path), **settings) as server:
        name = server.job(server.dataset(tmp_path / "t.csv"), mode="steady").name
        server.until(name, "trial_finished", times=3)
        own.stop(signal.SIGQUIT)
        with pytest.raises(grpc.RpcError) as caught:
            get(server, name)
        refusal = Refusal(caught.value)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.message == "the database cannot be reached at the moment; try again"
        # The worker has waited for longer than its lease by then.
        assert eventually(lambda: '"event": "database_awaited"' in server.log.read_text(), 60)
        own.start()
        assert eventually(lambda: reached(server, name), 60)
        server.until(name, "trial_finished", times=len(trials(server, name)) + 3)
        stop(server, name)
        events = server.events(name)
        check_once_each(events)
        assert states(events) == ["QUEUED", "PREPARING", "SEARCHING", "FINISHING", "SUCCEEDED"]
        assert {t.state for t in trials(server, name)} == {jobs_pb2.Trial.COMPLETE}


def reached(server: Harness, name: str) -> bool:
    try:
        get(server, name)
    except grpc.RpcError:
        return False
    return True


def refused(data_dir: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """The status and the words of a server that does not start."""
    ended = subprocess.run(
        command(data_dir, *arguments),
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert PASSWORD not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


def test_what_the_start_says(tmp_path: Path, cluster: Cluster, url: str) -> None:
    data = tmp_path / "data"
    assert refused(data, "--database", url) == (
        2,
        "seedbed: --database: holds a password, which everybody on this machine can see in the "
        "list of processes; put the address into SEEDBED_DATABASE, or the password alone into "
        "PGPASSWORD or ~/.pgpass\n",
    )
    nowhere = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/{name_of(url)}"
    status, said = refused(data, database=nowhere)
    assert status == 1
    assert "cannot be reached" in said and "SEEDBED_DATABASE" in said
    status, said = refused(data, database=f"mysql://{USER}:{PASSWORD}@127.0.0.1/d")
    assert status == 1 and "a database of the kind 'mysql'" in said
