"""The embedded server: found, started, shared, restarted, and gone after its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedbed
from seedbed.embedded import process_exists, read_server_file
from tests.client.tables import write_table
from tests.conftest import child_environment, eventually


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory whose server, if a test leaves one, is ended."""
    monkeypatch.delenv("SEEDBED_SERVER", raising=False)
    monkeypatch.setenv("PYTHONPATH", child_environment()["PYTHONPATH"])
    folder = tmp_path / "data"
    yield folder
    found = read_server_file(folder)
    if found is not None and process_exists(found.pid):
        os.kill(found.pid, signal.SIGTERM)


def _pid(data_dir: Path) -> int:
    found = read_server_file(data_dir)
    assert found is not None
    return found.pid


def test_starts_one_says_so_and_leaves_nothing(data_dir: Path) -> None:
    started: list[Path] = []
    with seedbed.connect(data_dir=data_dir, on_start=started.append) as client:
        assert client.tasks()
        pid = _pid(data_dir)
        with seedbed.connect(data_dir=data_dir, on_start=started.append) as second:
            assert second.server == client.server
        assert client.jobs() == []
    assert started == [data_dir]
    assert not process_exists(pid)


def test_passes_paths_by_reference(data_dir: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv")
    with seedbed.connect(data_dir=data_dir) as client:
        dataset = client.create_dataset(table)
        assert [Path(s.uri.removeprefix("file://")) for s in dataset.sources] == [table]


def test_takes_the_directory_from_the_environment(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDBED_DATA_DIR", str(data_dir))
    with seedbed.connect() as client:
        assert client.data_dir == data_dir


def test_a_killed_server_is_started_again_and_the_job_goes_on(
    data_dir: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "table.csv")
    with seedbed.connect(data_dir=data_dir) as client:
        # LightGBM's threads crawl on a machine that is busy with other tests.
        space = {"architecture": ["linear", "tabm"]}
        job = client.train(
            *("tabular", table), target="label", budget="4trials", search_space=space, detach=True
        )
        seen = []
        for event in job.watch():
            seen.append(event.sequence)
            if len(seen) == 4:
                os.kill(_pid(data_dir), signal.SIGKILL)
        assert job.refresh().state is seedbed.JobState.SUCCEEDED
        kept = [t for t in job.trials() if t.state is not seedbed.TrialState.FAILED]
        assert len(kept) == 4
    assert seen == list(range(1, len(seen) + 1))


def test_a_detached_job_is_finished_without_its_client(data_dir: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv")
    with seedbed.connect(data_dir=data_dir) as client:
        job = client.train("tabular", table, target="label", budget="2trials", detach=True)
        pid = _pid(data_dir)
    assert eventually(lambda: not process_exists(pid), 60)
    with seedbed.connect(data_dir=data_dir) as client:
        assert client.job(job.id).state is seedbed.JobState.SUCCEEDED


def test_many_at_once_share_one(data_dir: Path) -> None:
    program = (
        "import sys, seedbed\n"
        "with seedbed.connect(data_dir=sys.argv[1]) as client:\n"
        "    print(client.server, len(client.tasks()) > 0, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(data_dir)]
    clients = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
            text=True,
        )
        for _ in range(3)
    ]
    try:
        lines = set()
        for client in clients:
            assert client.stdout is not None
            lines.add(client.stdout.readline())
        pid = _pid(data_dir)
    finally:
        for client in clients:
            client.communicate("", timeout=60)
    assert len(lines) == 1
    assert lines.pop().endswith(" True\n")
    assert [client.returncode for client in clients] == [0, 0, 0]
    assert eventually(lambda: not process_exists(pid), 30)


def test_a_directory_that_cannot_be(data_dir: Path) -> None:
    data_dir.write_text("a file")
    with pytest.raises(seedbed.FailedPrecondition) as caught:
        seedbed.connect(data_dir=data_dir)
    assert str(caught.value).startswith(f"the data directory {data_dir} cannot be made (")


def test_a_server_that_cannot_start_shows_the_end_of_its_log(data_dir: Path) -> None:
    (data_dir / "server.sock").mkdir(parents=True)
    with pytest.raises(seedbed.FailedPrecondition) as caught:
        seedbed.connect(data_dir=data_dir)
    assert "the embedded server could not start (exit code " in str(caught.value)
    assert "server.sock" in str(caught.value)
