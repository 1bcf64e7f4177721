"""Single runs of the benchmark `quality`, ours or a peer's: each is a process of its own with a
hard end, and its result is kept in the user's cache under all that it depends on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import HERE, LIBRARIES, REQUIREMENTS, python_of
from benchmarks.quality_data import DataSet, Files
from seedbed.embedded import process_exists, read_server_file

OURS = "seedbed"
ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(__file__).parent / "peers"
PRODUCT = ("client", "plugins", "server", "constraints.txt")
# A run is killed after this many budgets and seconds: beginning, reading and the test's scoring lie
# outside of the budget, and what is late by more than that has not kept to it in any sense.
HARD_END_BUDGETS = 2.0
HARD_END_SECONDS = 120.0
IMPORT = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
# What is set for our own processes is not forced on the peers, nor is one thread on us.
NOT_PASSED_ON = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS")


class RunFailed(Exception):
    """A run ended without a score, or was killed at its hard end."""


@dataclass(frozen=True, slots=True)
class Result:
    """A run's score on the test data, the seconds that it took until its model was final, and the
    seconds of its whole process, imports and the test's scoring included."""

    score: float
    seconds: float
    process_seconds: float
    version: str


def result_of(data: DataSet, files: Files, side: str, budget: int, seed: int) -> Result:
    """Our result, or that of the peer's script of that name, from the cache where it is there.

    Raises RunFailed where there is none, which is not kept.
    """
    key = [data.name, data.metric, side, budget, seed, _versions(side)]
    path = _cache() / "quality.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else ():
        entry = json.loads(line)
        if entry["key"] == key:
            return Result(**entry["result"])
    result = (_ours if side == OURS else _theirs)(data, files, side, budget, seed)
    line = json.dumps({"key": key, "result": asdict(result)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(line + "\n")
    print(line, file=sys.stderr, flush=True)
    return result


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seedbed-benchmarks"


@cache
def _versions(side: str) -> str:
    """Digest of what a side's results depend on beside data, budget and seed."""
    if side == OURS:
        return _digest(ROOT / name for name in PRODUCT)
    environment = side.split("_")[0]
    script = _digest(sorted(_with_imports(SCRIPTS / f"{side}.py", set())))
    if environment == HERE:
        packages = [f"{name}=={version(name)}" for name in LIBRARIES]
    else:
        packages = list(REQUIREMENTS[environment])
    return hashlib.sha256("\n".join([script, *packages]).encode()).hexdigest()[:12]


def _with_imports(script: Path, found: set[Path]) -> set[Path]:
    """The script and what lies beside it that it imports, also by way of others."""
    found.add(script)
    for name in IMPORT.findall(script.read_text()):
        path = SCRIPTS / f"{name}.py"
        if path.is_file() and path not in found:
            _with_imports(path, found)
    return found


def _digest(paths: Iterable[Path]) -> str:
    """Of files and of all in folders, but what Python and the tests' tools leave there."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                total.update(f"{file.relative_to(ROOT)}\0".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:12]


def _ours(data: DataSet, files: Files, side: str, budget: int, seed: int) -> Result:
    train, test = files
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "seedbed.cli", "--data-dir", folder, "train"]
        command += ["--task", data.task]
        command += ["--data", str(train), "--test", str(test), "--metric", data.metric]
        command += ["--target", data.target] if data.target else []
        for role, path in data.tables.items():
            command += ["--table", f"{role}={path}"]
        for name, value in data.options.items():
            command += ["--set", f"{name}={value}"]
        command += ["--budget", f"{budget}s", "--seed", str(seed), "--json"]
        environment = _environment()
        # The code that the result is kept for, wherever another copy is installed.
        environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / name) for name in PRODUCT[:3])
        try:
            answer, seconds = last_line(command, _hard_end(budget), environment)
        finally:
            _end_server(Path(folder))
    if answer["test_score"] is None:
        raise RunFailed(f"{' '.join(command)} ended without a test score: {answer}")
    return Result(answer["test_score"], answer["seconds"], seconds, _versions(side))


def _theirs(data: DataSet, files: Files, side: str, budget: int, seed: int) -> Result:
    train, test = files
    asked = {
        "train": str(train),
        "test": str(test),
        "target": data.target,
        "metric": data.metric,
        "seconds": budget,
        "seed": seed,
        "tables": {role: str(path) for role, path in data.tables.items()},
        "known": dict(data.known),
    }
    python, script = python_of(side.split("_")[0]), SCRIPTS / f"{side}.py"
    environment = _environment()
    environment.pop("PYTHONPATH", None)
    command = [str(python), str(script), json.dumps(asked)]
    answer, seconds = last_line(command, _hard_end(budget), environment)
    return Result(answer["score"], answer["seconds"], seconds, answer["version"])


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}


def _hard_end(budget: int) -> float:
    return HARD_END_BUDGETS * budget + HARD_END_SECONDS


def last_line(
    command: list[str], limit: float, environment: Mapping[str, str]
) -> tuple[dict[str, Any], float]:
    """The JSON object that a process prints last, and the seconds that it ran. What it started and
    left behind is killed. Raises RunFailed where it fails, and where it is killed after `limit`
    seconds."""
    began = time.monotonic()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            said, complained = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{' '.join(command)} was killed after {limit:g} s") from None
        finally:
            # Also what a process that has ended left behind, such as workers that load data.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    lines = said.strip().splitlines()
    if process.returncode or not lines:
        raise RunFailed(f"{' '.join(command)} failed:\n{complained[-4000:]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer, time.monotonic() - began


def _end_server(data_dir: Path) -> None:
    """Ends the embedded server, which is in a session of its own, where it is there still."""
    found = read_server_file(data_dir)
    if found is not None and process_exists(found.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGKILL)
