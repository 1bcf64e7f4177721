"""The server process: its start, its end, and what it finds after it was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from seedbed.v1 import jobs_pb2, tasks_pb2
from seedbed_server import __version__
from tests.api.harness import Harness, Refusal, command, environment, launch
from tests.conftest import eventually


def processes(harness: Harness) -> list[psutil.Process]:
    return psutil.Process(harness.process.pid).children(recursive=True)


def run(data_dir: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself."""
    return subprocess.run(
        command(data_dir, *arguments, **options),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_it_says_where_it_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with launch(data_dir, "--allow-root", str(tmp_path)) as server:
        assert json.loads((data_dir / "server.json").read_text()) == {
            "address": server.address,
            "pid": server.process.pid,
            "allowed_roots": [str(tmp_path)],
            "version": __version__,
        }
        assert data_dir.stat().st_mode & 0o777 == 0o700
        server.tasks.ListTasks(tasks_pb2.ListTasksRequest())
        children = processes(server)
        assert children
        assert server.end(signal.SIGTERM) == 0
        assert not any(child.is_running() for child in children)
        assert not (data_dir / "server.json").exists()


def test_the_api_process_is_small_and_loads_no_numeric_library(tmp_path: Path) -> None:
    with launch(tmp_path / "data") as server:
        server.tasks.ListTasks(tasks_pb2.ListTasksRequest())
        process = psutil.Process(server.process.pid)
        assert process.memory_info().rss < 150e6
        mapped = " ".join(m.path for m in process.memory_maps())
        for library in ("libtorch", "pandas", "numpy", "sklearn", "lightgbm", "pyarrow"):
            assert library not in mapped


def test_a_second_server_on_the_data_directory_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with launch(data_dir) as server:
        second = run(data_dir)
        assert second.returncode == 1
        assert second.stdout == ""
        assert second.stderr == (
            f"seedbed: the data directory {data_dir} is in use by a seedbed server (process "
            f"{server.process.pid} at {server.address}); use that one, stop it, or pass another "
            "--data-dir\n"
        )
        server.tasks.ListTasks(tasks_pb2.ListTasksRequest())


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("0.0.0.0:8470", "pass --insecure"),
        ("[::]:8470", "pass --insecure"),
        ("example.com:1", "pass --insecure"),
        ("8470", "is not of the form HOST:PORT"),
        ("127.0.0.1:99999", "is not of the form HOST:PORT"),
        ("unix:", "names no path"),
    ],
)
def test_an_address_that_will_not_do_stops_the_start(
    tmp_path: Path, address: str, text: str
) -> None:
    ended = run(tmp_path / "data", address=address)
    assert ended.returncode == 1
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_address_in_use_stops_the_start(tmp_path: Path) -> None:
    with launch(tmp_path / "one") as server:
        ended = run(tmp_path / "two", address=server.address)
        assert ended.returncode == 1
        assert f"cannot listen on '{server.address}'" in ended.stderr


def test_options_that_will_not_do_are_named(tmp_path: Path) -> None:
    ended = run(tmp_path, "--workers", "0")
    assert ended.returncode == 2
    assert ended.stderr.startswith("seedbed: --workers: Input should be greater than or equal to 1")
    (tmp_path / "file").write_text("")
    ended = run(tmp_path / "file" / "data")
    assert ended.returncode == 1
    assert "as data directory" in ended.stderr


def test_it_listens_on_a_socket_file_and_prints_json(tmp_path: Path) -> None:
    socket = f"unix:{tmp_path}/s"
    with launch(tmp_path / "data", address=socket) as server:
        assert server.address == socket
        assert server.tasks.ListTasks(tasks_pb2.ListTasksRequest()).tasks
    process = subprocess.Popen(
        command(tmp_path / "data", "--ready-line", "json", address=socket),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert (ready["event"], ready["address"], ready["pid"]) == ("ready", socket, process.pid)
    process.terminate()
    assert process.wait(10) == 0
    process.stdout.close()


def test_it_exits_when_idle_though_not_while_it_works(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with launch(data_dir, "--allow-root", str(tmp_path), "--idle-exit", "1.5") as server:
        name = server.job(server.dataset(tmp_path / "t.csv"), mode="wait").name
        server.until(name, "best_changed")
        # Nothing is asked of it, and the job goes on.
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(2.0)
        server.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))
        assert server.process.wait(10) == 0


def test_a_hang_up_ends_it_as_soon_as_the_job_is_done(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with launch(data_dir, "--allow-root", str(tmp_path)) as server:
        name = server.job(server.dataset(tmp_path / "t.csv"), mode="wait").name
        server.until(name, "best_changed")
        server.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        server.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))
        assert server.process.wait(10) == 0


def test_a_stopped_server_goes_on_with_its_job_after_the_next_start(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    roots = ("--allow-root", str(tmp_path))
    with launch(data_dir, *roots) as server:
        name = server.job(server.dataset(tmp_path / "t.csv"), trials=3, mode="wait").name
        server.until(name, "trial_started", times=2)
        watching = threading.Event()
        ends: list[Refusal] = []

        def watch() -> None:
            try:
                for _ in server.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name), timeout=20):
                    watching.set()
            except grpc.RpcError as error:
                ends.append(Refusal(error))

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert watching.wait(20)
        children = processes(server)
        server.process.send_signal(signal.SIGTERM)
        watcher.join()
        assert server.process.wait(10) == 0
        assert [end.code for end in ends] == [grpc.StatusCode.UNAVAILABLE]
        assert "watch again after event" in ends[0].message
        assert not any(child.is_running() for child in children)
    _goes_on(data_dir, roots, name)


def test_a_killed_server_takes_its_workers_along_and_the_next_goes_on(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    roots = ("--allow-root", str(tmp_path))
    with launch(data_dir, *roots) as server:
        name = server.job(server.dataset(tmp_path / "t.csv"), trials=3, mode="wait").name
        server.until(name, "trial_started", times=2)
        children = processes(server)
        server.end(signal.SIGKILL)
        assert eventually(lambda: not any(child.is_running() for child in children))
    (data_dir / "models" / ".partial-x-y").mkdir()
    (data_dir / "models" / "orphan").mkdir()
    (data_dir / "uploads" / "orphan").mkdir()
    (data_dir / "cache" / "jobs" / "orphan").mkdir(parents=True)
    _goes_on(data_dir, roots, name)
    left = [
        p.name
        for folder in ("models", "uploads", "cache/jobs")
        for p in (data_dir / folder).iterdir()
    ]
    assert "orphan" not in left and ".partial-x-y" not in left


def _goes_on(data_dir: Path, roots: tuple[str, str], name: str) -> None:
    with launch(data_dir, *roots) as server:
        server.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))
        events = server.events(name)
        assert [e.sequence for e in events] == list(range(1, len(events) + 1))
        states = [e.state_changed.state for e in events if e.HasField("state_changed")]
        assert [jobs_pb2.Job.State.Name(s) for s in states] == [
            "QUEUED",
            "PREPARING",
            "SEARCHING",
            "QUEUED",
            "PREPARING",
            "SEARCHING",
            "FINISHING",
            "SUCCEEDED",
        ]
        trials = server.jobs.ListTrials(jobs_pb2.ListTrialsRequest(parent=name, order_by="number"))
        assert trials.trials[0].state == jobs_pb2.Trial.COMPLETE
        assert trials.trials[1].reason == "the server was stopped during the trial"


def test_a_restart_answers_the_catalogue_from_its_file(tmp_path: Path) -> None:
    """The tests' catalogue has a problem in it and is described anew; without one it is kept."""
    data_dir = tmp_path / "data"
    calls = {
        "SEEDBED_CALLS": json.dumps({"catalogue": "tests.executors.functions:sound_catalogue"})
    }
    with launch(data_dir, calls=calls["SEEDBED_CALLS"]) as server:
        before = server.tasks.ListTasks(tasks_pb2.ListTasksRequest())
        assert [t.name for t in before.tasks] == ["tasks/small", "tasks/tiny"]
    assert len(list((data_dir / "cache").glob("catalogue-*.json"))) == 1
    broken = json.dumps({"catalogue": "tests.executors.functions:bug"})
    with launch(data_dir, calls=broken) as server:
        assert server.tasks.ListTasks(tasks_pb2.ListTasksRequest()) == before


def test_a_dead_fork_server_is_replaced(tmp_path: Path) -> None:
    with launch(tmp_path / "data", "--allow-root", str(tmp_path)) as server:
        dataset = server.dataset(tmp_path / "t.csv")
        name = server.job(dataset, mode="wait").name
        server.until(name, "best_changed")
        (forker,) = [p for p in processes(server) if "forkserver" in " ".join(p.cmdline())][:1]
        workers = forker.children()
        forker.kill()
        logged = server.until(name, "log").log.message
        assert logged.startswith("the worker process died: ")
        assert eventually(lambda: not any(worker.is_running() for worker in workers))
        server.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))
        assert server.events(name)[-1].state_changed.state == jobs_pb2.Job.SUCCEEDED
        assert server.finished(dataset).state == jobs_pb2.Job.SUCCEEDED


def test_a_signal_at_the_very_start_ends_it_cleanly(tmp_path: Path) -> None:
    with launch(tmp_path / "data", preload='["seedbed_server.executors.preload"]') as server:
        children = processes(server)
        assert server.end() == 0
        assert not any(child.is_running() for child in children)
        assert "Traceback" not in server.log.read_text()
