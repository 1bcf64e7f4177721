"""`seedbed doctor` against real servers, well and not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import seedbed
from seedbed_server.checkup import libraries
from tests.api.harness import Harness, launch
from tests.conftest import child_environment
from tests.executors.functions import CALLS

NAMES = {"server", "settings", "metrics", "disk", "database", "jobs", "plugins", "weights"}
NAMES |= {"accelerators", "memory", "clock", "traces"}


@contextmanager
def examined(
    data_dir: Path, *arguments: str, finds: str = "well", **settings: Any
) -> Iterator[Harness]:
    calls = {**CALLS, "libraries": f"tests.checkup.functions:{finds}"}
    with launch(data_dir, *arguments, calls=json.dumps(calls), **settings) as server:
        yield server


def doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "seedbed.cli", "doctor", *arguments],
        env=child_environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_server_that_is_well(tmp_path: Path) -> None:
    with examined(tmp_path / "data", "--allow-root", str(tmp_path)) as server:
        shown = doctor("--server", server.address, COLUMNS="80")
        answer = doctor("--server", server.address, "--json")
        with seedbed.connect(server.address) as client:
            status = client.server_status()
    assert shown.returncode == 0, shown.stdout
    assert shown.stderr == ""
    lines = shown.stdout.splitlines()
    # Folded to the terminal, but never within a path.
    assert all(len(line) <= 80 or str(tmp_path) in line for line in lines)
    assert re.match(rf"OK +server +{re.escape(server.address)} answers in [\d.]+ ms$", lines[0])
    assert re.search(r"^OK +server +version 0\.1\.0, as this client, up 0:0", lines[1])
    assert str(tmp_path) in shown.stdout
    assert re.search(r"^OK +database +it is whole$", shown.stdout, re.M)
    assert re.search(r"^OK +database +a change is safe after [\d.]+ ms$", shown.stdout, re.M)
    found = json.loads(answer.stdout)
    assert found["well"] is True
    assert {check["name"] for check in found["checks"]} == NAMES
    assert {check["severity"] for check in found["checks"]} <= {"OK", "WARNING"}
    assert found["server"]["version"] == seedbed.__version__
    assert found["server"]["disk_bytes"]["database"] > 0
    assert found["server"]["free_bytes"] > 0
    assert status.well and status.start_time < status.time


def test_what_is_not_well_is_said_with_what_would_do(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with examined(
        tmp_path / "data",
        *("--allow-root", str(gone), "--traces-endpoint", "http://127.0.0.1:9"),
        finds="broken",
        devices="cuda:0,cuda:3",
        memory_limit_bytes=10**15,
    ) as server:
        answer = doctor("--server", server.address, "--json")
        shown = doctor("--server", server.address, COLUMNS="100")
    assert answer.returncode == shown.returncode == 1
    found = json.loads(answer.stdout)
    assert found["well"] is False
    bad = {
        (check["name"], check["severity"]): check
        for check in found["checks"]
        if check["severity"] != "OK"
    }
    assert bad["settings", "PROBLEM"]["message"] == (
        f"the folder {gone} that data may lie in cannot be read"
    )
    assert bad["plugins", "PROBLEM"]["message"] == ("odd (package odd-plugin): No module named 'x'")
    weights = bad["weights", "WARNING"]
    assert weights["message"] == "small, tiny: no pretrained weights are installed"
    assert weights["suggestion"] == "pip install weights"
    assert bad["accelerators", "PROBLEM"]["message"] == (
        "cuda:3 is to be used and is not there; there is cuda:0"
    )
    assert "cannot be reached" in bad["traces", "WARNING"]["message"]
    assert bad["memory", "WARNING"]["suggestion"].startswith("set SEEDBED_MEMORY_LIMIT_BYTES to ")
    assert all(check["suggestion"] for check in bad.values())
    assert re.search(r"^PROBLEM +plugins +odd \(package odd-plugin\)", shown.stdout, re.M)
    assert "→ pip install weights" in shown.stdout
    assert re.search(r"^3 problems, \d warnings$", shown.stdout.splitlines()[-1])


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with examined(data_dir) as server:
        assert server.end() == 0
    database = data_dir / "seedbed.db"
    content = bytearray(database.read_bytes())
    # An index page of which the header says nonsense; the schema on the first page stays.
    page = 4096
    last = len(content) // page - 1
    content[last * page : last * page + 12] = b"\xff" * 12
    database.write_bytes(bytes(content))
    with examined(data_dir) as server:
        found = json.loads(doctor("--server", server.address, "--json").stdout)
    faults = [c for c in found["checks"] if c["name"] == "database" and c["severity"] == "PROBLEM"]
    assert faults and faults[0]["message"].startswith("it is damaged: ")
    assert "restore seedbed.db" in faults[0]["suggestion"]


def test_a_plugin_process_that_dies_is_a_problem_and_hides_nothing(tmp_path: Path) -> None:
    calls = json.dumps({**CALLS, "libraries": "os:abort"})
    with launch(tmp_path / "data", calls=calls) as server:
        ended = doctor("--server", server.address, "--json")
    found = json.loads(ended.stdout)
    assert ended.returncode == 1
    (plugins,) = [c for c in found["checks"] if c["name"] == "plugins"]
    assert plugins["severity"] == "PROBLEM"
    assert plugins["message"].startswith("they could not be loaded: ")
    assert {"disk", "database", "memory", "clock"} <= {c["name"] for c in found["checks"]}


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    ended = doctor("--server", f"unix:{tmp_path}/nobody", "--json")
    assert ended.returncode == 1
    (check,) = json.loads(ended.stdout)["checks"]
    assert (check["name"], check["severity"]) == ("server", "PROBLEM")
    assert "no seedbed server answers at" in check["message"]
    assert "seedbed serve --address" in check["message"]


def test_the_real_plugins_load_and_say_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    from seedbed_text import encoders
    from seedbed_vision import backbones

    monkeypatch.setattr(backbones, "available", lambda: ())
    monkeypatch.setattr(encoders, "available", lambda: ())
    found = libraries.look()
    assert found["problems"] == []
    assert {"tabular", "image_classification", "text_regression"} <= set(found["tasks"])
    assert found["missing"]["image_classification"] == [backbones.NOTHING_PRETRAINED]
    assert found["missing"]["segmentation"] == [backbones.NOTHING_PRETRAINED]
    assert found["missing"]["text_regression"] == [encoders.NOTHING_PRETRAINED]
    assert "tabular" not in found["missing"]
