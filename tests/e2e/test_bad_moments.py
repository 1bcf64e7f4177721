"""Requests that are fine and come at a bad moment: what they name has changed, gone or is in use,
or the disk is full. The server says so, keeps nothing half-done and goes on serving."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import seedbed
from tests.conftest import RunningServer, child_environment, eventually
from tests.e2e.conftest import (
    GOOD,
    SAMPLE,
    SLOW,
    House,
    any_row,
    children,
    refused,
    serve,
    write_noise,
)

pytestmark = pytest.mark.usefixtures("undisturbed")


def test_data_that_changed_or_vanished_before_the_job_ran(
    house: House, sample: seedbed.Dataset
) -> None:
    paths = [house.root / "will_change.csv", house.root / "will_vanish.csv"]
    for path in paths:
        path.write_text(GOOD)
    datasets = [house.register(f"file://{path}") for path in paths]
    before = house.leftovers()
    running = house.client.train("tabular", sample, budget="600s", search_space=SLOW, detach=True)
    queued = [
        house.client.train("tabular", dataset, target="y", budget="1trials", detach=True)
        for dataset in datasets
    ]
    paths[0].write_text(GOOD + "61,5,yes\n")
    paths[1].unlink()
    assert [job.refresh().state for job in queued] == [seedbed.JobState.QUEUED] * 2
    running.cancel()
    with pytest.raises(seedbed.JobFailed) as changed:
        queued[0].wait()
    with pytest.raises(seedbed.JobFailed) as vanished:
        queued[1].wait()
    assert (changed.value.code, changed.value.reason) == ("FAILED_PRECONDITION", "DATASET_CHANGED")
    assert f"changed since the job was created: {paths[0]}" in str(changed.value)
    assert "create the dataset again" in str(changed.value)
    assert (vanished.value.code, vanished.value.reason) == (
        "FAILED_PRECONDITION",
        "DATASET_VANISHED",
    )
    assert f"{paths[1]} does not exist; put it back" in str(vanished.value)
    with refused(house, seedbed.FailedPrecondition, ["is FAILED and has no model"]):
        queued[0].model()
    for job in (running, *queued):
        job.delete()
    assert eventually(lambda: house.leftovers() == before)


def test_what_does_not_exist(house: House) -> None:
    for get, what in (
        (house.client.job, "job"),
        (house.client.model, "model"),
        (house.client.dataset, "dataset"),
    ):
        with refused(house, seedbed.NotFound, [f"there is no {what} 'nothing'"]):
            get("nothing")
    with refused(house, seedbed.NotFound, ["'tabula'", "tabular"]):
        house.client.task("tabula")
    with refused(house, seedbed.InvalidArgument, ["'No Name'", "projects/default/jobs/ID"], "name"):
        house.client.job("No Name")


def test_a_model_that_was_deleted(house: House, sample: seedbed.Dataset) -> None:
    model = house.client.train("tabular", sample, budget="1trials").model()
    model.predict([any_row(model)])
    model.delete()
    with refused(house, seedbed.NotFound, [f"there is no model {model.id!r}"]):
        model.predict([any_row(model)])
    with refused(house, seedbed.NotFound, [f"there is no model {model.id!r}"]):
        model.delete()
    assert model.id not in house.leftovers()["model folders"]


def test_what_is_in_use_stays(house: House) -> None:
    path = house.root / "used.csv"
    path.write_text(GOOD)
    dataset = house.register(f"file://{path}")
    job = house.client.train("tabular", dataset, target="y", budget="600s", detach=True)
    with refused(
        house,
        seedbed.FailedPrecondition,
        [f"job {job.id!r} is ", "cannot be deleted; cancel it or wait for its end"],
    ):
        job.delete()
    with refused(house, seedbed.FailedPrecondition, [f"dataset {dataset.id!r} is used by", job.id]):
        house.client.delete_dataset(dataset)
    job.cancel()
    job.delete()
    whole = house.client.create_dataset(dataset, test=dataset)
    with refused(
        house, seedbed.FailedPrecondition, [f"dataset {dataset.id!r} is used by", whole.id]
    ):
        house.client.delete_dataset(dataset)
    house.client.delete_dataset(whole)
    house.client.delete_dataset(dataset)


def test_a_second_server_on_the_data_directory(house: House) -> None:
    command = [str(Path(sys.executable).with_name("seedbed")), "serve"]
    second = subprocess.run(
        [*command, "--address", "127.0.0.1:0", "--data-dir", str(house.server.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_environment(),
    )
    assert second.returncode != 0
    assert second.stdout == ""
    assert f"the data directory {house.server.data_dir} is in use" in second.stderr
    assert f"process {house.server.process.pid} at {house.server.address}" in second.stderr
    assert "pass another --data-dir" in second.stderr


# A full disk


# A network of some megabytes, in one trial.
BIG = {
    "architecture": "tabm",
    "members": 4,
    "width": 128,
    "depth": 3,
    "epochs": 3,
    "batch_size": 256,
}


def own_disk(folder: Path, size: str) -> list[str]:
    """What to put before a command so that `folder` is a disk of its own for it, and for it alone.

    Skips where this machine does not allow that.
    """
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f'mount -t tmpfs -o size={size} tmpfs "{folder}" && exec "$@"'
    prefix = ["unshare", "--mount", *user, "sh", "-c", mount, "sh"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {getattr(error, 'stderr', error)}")
    return prefix


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@contextmanager
def ballast(folder: Path, leave: int) -> Iterator[None]:
    """A file that takes all but `leave` bytes of the disk."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            file.write(bytes(free_bytes(folder) - leave))
        except OSError as error:
            # The server writes too, such as its log.
            assert error.errno == errno.ENOSPC
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def test_a_full_disk_while_a_model_is_written(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with (
        serve(data_dir, prefix=own_disk(data_dir, "64m")) as server,
        seedbed.connect(server.address) as client,
    ):
        disk = Path(f"/proc/{server.process.pid}/root{data_dir}")

        def big() -> seedbed.Job:
            return client.train("tabular", SAMPLE, budget="1trials", search_space=BIG)

        def files() -> list[str]:
            return sorted(p.name for f in ("models", "cache/jobs") for p in (disk / f).glob("*"))

        size = big().model().info.size_bytes
        assert eventually(lambda: len(files()) == 1)
        before = files()
        # The best trial's file does not fit; then it does, and the model made of it does not.
        for leave, folder in ((size // 2, "cache/jobs"), (size * 3 // 2, "models")):
            with ballast(disk, leave), pytest.raises(seedbed.JobFailed) as caught:
                big()
            error = caught.value
            assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
            assert f"the disk is full: writing to {data_dir / folder}" in str(error)
            assert "bytes free; free some space and try again" in str(error)
            assert eventually(lambda: files() == before)
        assert [job.info.model for job in client.jobs("state = FAILED")] == ["", ""]
        assert [model.id for model in client.models()] == before
        with ballast(disk, 0):
            with pytest.raises(seedbed.ResourceExhausted, match="free some space and try again"):
                client.train("tabular", SAMPLE, budget="1trials", detach=True)
            assert len(client.jobs()) == 3
        assert big().state is seedbed.JobState.SUCCEEDED
        end_with_a_full_disk(server, client, disk, write_noise(tmp_path / "noise.csv"))


def end_with_a_full_disk(
    server: RunningServer, client: seedbed.Client, disk: Path, data: Path
) -> None:
    """A SIGTERM ends the server, though nothing can be written about the job at work."""
    job = client.train("tabular", data, budget="600s", search_space=SLOW, detach=True)
    next(e for e in job.watch() if isinstance(e.body, seedbed.EpochFinished))
    workers = children(server)
    with ballast(disk, 0):
        server.process.terminate()
        assert server.process.wait(15) == 0
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in workers))


def test_after_all_of_it_a_job_succeeds_and_nothing_is_left(house: House) -> None:
    before = house.leftovers()
    job = house.client.train("tabular", "sample://wine", budget="1trials")
    assert job.state is seedbed.JobState.SUCCEEDED
    model = job.model()
    assert len(model.predict([any_row(model)])) == 1
    after = house.leftovers()
    assert set(after["models"]) - set(before["models"]) == {model.id}
    assert after["model folders"] == after["models"]
    assert after["partial uploads"] == []
    assert eventually(lambda: house.leftovers()["scratch"] == [])
    unfinished = [job.id for job in house.client.jobs() if not job.state.ended]
    assert unfinished == []
    succeeded = {j.info.model for j in house.client.jobs("state = SUCCEEDED")}
    assert len(succeeded) >= 1
