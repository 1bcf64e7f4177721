"""The `seedbed` command: its output, its exit codes, its errors."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from seedbed.cli import cli, run
from seedbed.cli.output import clock, score_line, size
from seedbed.types import Score
from tests.client.tables import write_table
from tests.conftest import child_environment, eventually

COMMAND = [sys.executable, "-m", "seedbed.cli"]


def _seedbed(
    *arguments: str, server: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = child_environment() | variables
    if server:
        environment["SEEDBED_SERVER"] = server
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, text=True, capture_output=True, timeout=120
    )


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found += _commands(child, (*path, name))
    return found


@pytest.mark.parametrize("path", _commands(cli), ids=" ".join)
def test_every_help_has_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example: seedbed " + " ".join(path[:1]) in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "No such command 'trian'"),
        (["train", "--data", "x.csv"], "Missing option '--task'"),
        (["train", "--task", "tabular", "--data", "x", "--seed", "-1"], "-1 is not in the range"),
        (["job", "show"], "Missing argument 'JOB'"),
        (["serve", "--allow-root", "/no/such/folder"], "'/no/such/folder' does not exist"),
    ],
)
def test_usage_errors_exit_with_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--budget", "60"], "error: budget: '60' has no unit: write 60s or 60trials"),
        (["--budget", "0trials"], "error: budget.trials: must be at least 1, got 0trials"),
        (["--set", "limit"], "error: --set: must be KEY=VALUE, got 'limit'"),
        (["--set", "a=1", "--set", "a=2"], "error: --set: a is given twice; give it once"),
        (["--search", "epochs=9..1"], "error: search_space['epochs']: the low end must not be"),
        (["--start", "tabm"], "error: --start: must be NAME=VALUE,NAME=VALUE or JSON, got 'tabm'"),
        (["--start", "a=1,a=2"], "error: --start: a is given twice; give it once"),
        (["--start", '{"a": 1'], "error: --start: must be a JSON object (Expecting"),
    ],
)
def test_what_the_client_sees_itself_needs_no_server(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--server", "127.0.0.1:1", "--task", "tabular", "--data", "x.csv"]
    assert run([*command, *arguments]) == 1
    assert capsys.readouterr().err.startswith(says)


def test_errors_are_lines_and_json() -> None:
    found = _seedbed("jobs", "--json", server="127.0.0.1:1")
    assert found.returncode == 1
    assert found.stderr.startswith("error: no seedbed server answers at 127.0.0.1:1; start one")
    assert "Traceback" not in found.stderr
    error = json.loads(found.stdout)["error"]
    assert (error["code"], error["violations"]) == ("UNAVAILABLE", [])


@pytest.fixture(scope="module")
def trained(server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `train --json` printed; `table` is its data."""
    folder = tmp_path_factory.mktemp("cli")
    train, test = write_table(folder / "train.csv"), write_table(folder / "test.csv", seed=1)
    found = _seedbed(
        *("train", "--task", "tabular", "--data", str(train), "--test", str(test)),
        *("--target", "label", "--budget", "3trials", "--seed", "1", "--json"),
        *("--search", "architecture=linear,lightgbm"),
        server=server,
    )
    assert found.returncode == 0, found.stderr
    return {**json.loads(found.stdout), "table": test, "progress": found.stderr}


def test_train_prints_one_object(trained: dict[str, Any]) -> None:
    assert trained["state"] == "SUCCEEDED"
    assert trained["task"] == "tabular"
    assert trained["metric"] == "accuracy"
    assert trained["trials"] == 3
    assert trained["stop_reason"] == "TRIAL_BUDGET"
    assert trained["test_score"] > 0.8
    assert trained["validation_score"] > 0.8
    low, high = trained["test_interval"]
    assert low <= trained["test_score"] <= high
    assert 0 < trained["seconds"] < 120
    assert "/" not in trained["job"] + trained["model"]
    assert "error" not in trained


def test_progress_without_a_terminal_is_lines(trained: dict[str, Any]) -> None:
    lines = [line.split("s  ", 1)[1] for line in trained["progress"].splitlines()]
    states = [line for line in lines if line in ("preparing", "searching", "finishing")]
    assert states == ["preparing", "searching", "finishing"]
    assert lines[-1] == "succeeded: trial budget"
    assert sum(line.startswith("trial ") for line in lines) == 3
    assert any(line.startswith("best so far: ") for line in lines)


def test_lists_and_shows(server: str, trained: dict[str, Any]) -> None:
    job, model = trained["job"], trained["model"]
    shown = _seedbed("job", "show", job, server=server).stdout
    assert "linear (baseline)" in shown
    assert re.search(r"^test +accuracy [01]\.\d{4} \(95 % interval", shown, re.MULTILINE)
    board = json.loads(_seedbed("job", "show", job, "--json", server=server).stdout)
    assert [trial["state"] for trial in board["leaderboard"]] == ["COMPLETE"] * 3
    assert job in _seedbed("jobs", "--filter", "state = SUCCEEDED", server=server).stdout
    assert model in _seedbed("models", server=server).stdout
    assert (
        "size (numeric), colour (category)"
        in _seedbed("model", "show", model, "--server", server).stdout
    )
    assert "tabular" in _seedbed("--server", server, "tasks").stdout
    dataset = board["dataset"]
    assert "test.csv" in _seedbed("datasets", server=server).stdout
    assert "sha-256" in _seedbed("dataset", "show", dataset, server=server).stdout
    missing = _seedbed("job", "show", "no-such-job", server=server)
    assert missing.returncode == 1
    assert "no-such-job" in missing.stderr


def test_predicts_from_a_file(server: str, trained: dict[str, Any], tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    table = str(trained["table"])
    found = _seedbed(
        "predict", trained["model"], "--data", table, "--output", str(output), server=server
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr.splitlines() == [
        "left out the column label, which the model does not read",
        f"300 predictions written to {output}",
    ]
    with output.open(newline="") as answers, trained["table"].open(newline="") as truth:
        pairs = list(zip(csv.DictReader(answers), csv.DictReader(truth), strict=True))
    right = sum(answer["prediction"] == row["label"] for answer, row in pairs)
    assert right / len(pairs) == pytest.approx(trained["test_score"], abs=1e-6)
    shown = _seedbed("predict", trained["model"], "--data", table, server=server).stdout
    assert "… and 280 more; --output FILE writes all" in shown


def test_inspects_and_predicts_samples(server: str) -> None:
    found = _seedbed("inspect", "sample://breast_cancer", server=server)
    assert found.returncode == 0, found.stderr
    assert "tabular" in found.stdout


def test_a_model_is_downloaded_and_deleted(
    server: str, trained: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.zip"
    found = _seedbed("model", "download", trained["model"], str(path), server=server)
    assert found.stdout.startswith(str(path))
    assert path.read_bytes()[:2] == b"PK"


def test_detaches_and_cancels(server: str, trained: dict[str, Any]) -> None:
    command = ["train", "--task", "tabular", "--data", str(trained["table"]), "--target", "label"]
    found = _seedbed(*command, "--budget", "10m", "--detach", "--json", server=server)
    job = json.loads(found.stdout)
    assert job["model"] is None
    cancelled = json.loads(_seedbed("job", "cancel", job["job"], "--json", server=server).stdout)
    assert cancelled["job"] == job["job"]
    watched = _seedbed("job", "watch", job["job"], "--json", server=server)
    assert watched.returncode == 1
    assert json.loads(watched.stdout)["state"] == "CANCELLED"
    deleted = _seedbed("job", "delete", job["job"], server=server)
    assert deleted.stdout == f"deleted job {job['job']}\n"


def test_a_failed_job_exits_with_1(server: str, server_root: Path) -> None:
    table = write_table(server_root / "vanishes.csv")
    command = ["train", "--task", "tabular", "--data", f"{table}", "--target", "nothing"]
    found = _seedbed(*command, "--json", server=server)
    assert found.returncode == 1
    assert json.loads(found.stdout)["error"]["violations"][0]["field"] == "job.target"
    assert found.stderr.startswith("error: job.target: ")


@pytest.mark.parametrize("columns", [80, 200])
def test_the_live_display_fits_and_ctrl_c_keeps_the_best(
    server: str, trained: dict[str, Any], columns: int
) -> None:
    master, slave = pty.openpty()
    environment = child_environment() | {
        "SEEDBED_SERVER": server,
        "COLUMNS": str(columns),
        "LINES": "40",
        "TERM": "xterm-256color",
    }
    command = ["train", "--task", "tabular", "--data", str(trained["table"]), "--target", "label"]
    process = subprocess.Popen(
        [*COMMAND, *command, "--budget", "10m"],
        env=environment,
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    shown = bytearray()
    try:
        # Reading goes on until the display has a best score, which the first trial brings.
        assert eventually(lambda: _read(master, shown) and b"best accuracy" in shown, 60)
        process.send_signal(signal.SIGINT)
        assert eventually(lambda: _read(master, shown) and b"stopping, the best" in shown, 60)
        assert process.stdout is not None
        result = process.stdout.read()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert b"searching" in shown
    assert "ended by user" in result
    assert "next: seedbed predict " in result
    assert all(len(line.rstrip()) <= columns for line in result.splitlines() if "=" in line)


def _read(master: int, shown: bytearray) -> bool:
    os.set_blocking(master, False)
    try:
        shown += os.read(master, 65536)
    except (BlockingIOError, OSError):
        return bool(shown)
    return True


def test_an_embedded_server_is_announced(tmp_path: Path) -> None:
    found = _seedbed("tasks", "--json", "--data-dir", str(tmp_path / "data"))
    assert found.returncode == 0, found.stderr
    assert found.stderr == (
        f"no server given: using an embedded one, data in {tmp_path / 'data'}\n"
    )
    assert {task["task"] for task in json.loads(found.stdout)["tasks"]} >= {"tabular"}


def test_serve_prints_one_line_and_ends_on_sigterm(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--address", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.partition(" serving on ")[2].partition(", data in ")[0]
        assert _seedbed("tasks", "--server", address).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_scores_sizes_and_times_read_well() -> None:
    score = Score("accuracy", 0.87312, 8140, 0.8659, 0.8801, 0.95)
    assert score_line(score) == "accuracy 0.8731 (95 % interval 0.866–0.880, 8,140 items)"
    assert score_line(Score("rmse", 12345.678, 1)) == "rmse 12,345.7 (1 item)"
    assert [clock(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]
    assert [size(n) for n in (512, 1_400_000)] == ["512 B", "1.4 MB"]
