"""The Node.js example, installed from its lock file and run against a real server."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.client.tables import write_table
from tests.conftest import ROOT

NEEDED = [program for program in ("node", "npm") if shutil.which(program) is None]

pytestmark = pytest.mark.skipif(
    bool(NEEDED), reason=f"{' and '.join(NEEDED)} not installed: Node.js 20 or later is needed"
)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder in a copy of the layout that it expects, with its packages installed."""
    root = tmp_path_factory.mktemp("node")
    folder = root / "examples" / "node"
    ignore = shutil.ignore_patterns("node_modules")
    shutil.copytree(ROOT / "examples" / "node", folder, ignore=ignore)
    shutil.copytree(ROOT / "proto", root / "proto")
    installed = subprocess.run(
        ["npm", "ci", "--ignore-scripts"], cwd=folder, text=True, capture_output=True, timeout=240
    )
    assert installed.returncode == 0, installed.stderr
    return folder


def _train(example: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "train.mjs", *arguments], cwd=example, text=True, capture_output=True, timeout=120
    )


def test_trains_and_predicts(example: Path, server: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv")
    found = _train(example, server, str(table), "--target", "label", "--budget", "3trials")
    assert found.returncode == 0, found.stdout + found.stderr
    lines = found.stdout.splitlines()
    assert re.match(rf"uploaded table.csv as \S+, {table.stat().st_size} bytes", lines[0])
    assert lines[1] == "a budget of no trials is refused:"
    assert re.match(r"  job\.budget\.trials: .*\b0\b", lines[2])
    assert "  succeeded" in lines
    board = lines[lines.index("leaderboard:") + 1 :]
    assert len([line for line in board if re.match(r"  \d\. [01]\.\d{4}  \w+", line)]) == 3
    assert any("(baseline)" in line for line in board)
    assert re.match(
        r"test accuracy [01]\.\d{4} \(interval 0\.\d+–[01]\.\d+\) on \d+ items", board[-2]
    )
    assert re.match(
        r"prediction for the first row: (yes|no) \(probability [01]\.\d{3}\)", board[-1]
    )


def test_shows_what_the_server_refuses(example: Path, server: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv")
    found = _train(example, server, str(table), "--target", "lable", "--budget", "3trials")
    assert found.returncode == 1
    assert re.search(r"^error: job\.target: .*lable", found.stderr, re.MULTILINE)
    assert "    at " not in found.stderr


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (ROOT / "examples" / "node" / "package-lock.json").read_text()
