"""Log lines: one an event, whoever writes it, with the job and the trial that it is about."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from seedbed.v1 import jobs_pb2
from tests.api.harness import launch
from tests.conftest import child_environment


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Every line of a log, each of which has to be a JSON object."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_every_line_of_a_job_names_it_and_its_trial(tmp_path: Path) -> None:
    with launch(
        tmp_path / "data",
        *("--allow-root", str(tmp_path)),
        driver="tests.telemetry.talking:run_job",
    ) as server:
        name = server.job(server.dataset(tmp_path / "t.csv")).name
        server.events(name)
        job = server.jobs.GetJob(jobs_pb2.GetJobRequest(name=name))
        assert job.state == jobs_pb2.Job.CANCELLED
        assert server.end() == 0
    lines = lines_of(server.log)
    job_id = name.rpartition("/")[2]
    said = {line["event"]: line for line in lines}
    for line in lines:
        assert {"event", "level", "timestamp"} <= set(line)
    during = (
        "epoch 1 of 2",
        "ours",
        "python_warning",
        "from a thread",
        "uncaught_exception_in_thread",
        "it failed",
    )
    for event in during:
        assert (said[event]["job"], said[event]["attempt"]) == (job_id, 1), said[event]
        assert said[event]["trial"] == 0, said[event]
    assert said["epoch 1 of 2"]["logger"] == "some_plugin.network"
    assert said["epoch 1 of 2"]["level"] == "info"
    assert said["ours"]["loss"] == 0.5
    warning = said["python_warning"]
    assert (warning["category"], warning["text"]) == ("UserWarning", "an odd value\nin two lines")
    assert "talking.py:" in warning["where"]
    assert "ZeroDivisionError: a bug" in said["uncaught_exception_in_thread"]["traceback"]
    assert "ZeroDivisionError: a bug" in said["it failed"]["exception"]
    assert said["two at a time"]["trials"] == [1, 2]
    for event in ("before any trial", "after the trials"):
        assert said[event]["job"] == job_id
        assert "trial" not in said[event] and "trials" not in said[event]
    # What the API process does for the job names it too, and the rest does not.
    assert {said["job_leased"]["job"], said["worker_ended"]["job"]} == {job_id}
    assert "job" not in said["server_ready"]


PROGRAM = (
    "import logging\n"
    "from seedbed_server import logs\n"
    "logs.configure()\n"
    "logs.bind_process(job='j123')\n"
    "logging.getLogger('plugin').warning('watch out')\n"
)


def test_a_terminal_gets_lines_for_people() -> None:
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=child_environment(),
        stderr=theirs,
        check=True,
        timeout=60,
    )
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert "watch out" in shown and "j123" in shown
    assert not shown.startswith("{")


def test_an_exception_that_ends_a_process_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "raise KeyError('gone')\n"],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    warning, error = map(json.loads, done.stderr.splitlines())
    assert (warning["event"], warning["level"]) == ("watch out", "warning")
    assert (error["event"], error["level"]) == ("uncaught_exception", "critical")
    assert "KeyError: 'gone'" in error["traceback"]
