"""Test scores that seedbed and its peers reach in the same time, on the same files and cores.

A run takes as long as its budget, so that all of them take hours: what was run is kept in the
user's cache and not run again with the same versions. `QUALITY_DATA` names the data sets to run and
`QUALITY_SECONDS` the budgets, with commas between them; the default is all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measure import Case, compare
from benchmarks.peers.environments import python_of

NAME = "quality"
BUDGETS = (60, 180)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SCRIPTS = Path(__file__).parent / "peers"
# What a side may take beyond its budget before it is given up.
PATIENCE = 6.0
TEST_SHARE = 0.2


@dataclass(frozen=True)
class DataSet:
    """A data set: its files are made by `write` in a folder; `peers` can do its task."""

    name: str
    task: str
    target: str
    metric: str
    peers: tuple[str, ...]
    write: Callable[[Path], tuple[Path, Path]]


def run(rounds: int) -> Iterator[Case]:
    """A case for each data set, budget and peer, over as many seeds as rounds."""
    wanted = os.environ.get("QUALITY_DATA", "")
    seconds = [int(s) for s in os.environ.get("QUALITY_SECONDS", "").split(",") if s] or BUDGETS
    for data in DATA:
        if wanted and data.name not in wanted.split(","):
            continue
        with tempfile.TemporaryDirectory() as folder:
            train, test = data.write(Path(folder))
            for budget in seconds:
                yield from _cases(data, train, test, budget, rounds)


def _cases(data: DataSet, train: Path, test: Path, budget: int, rounds: int) -> Iterator[Case]:
    found: dict[str, list[float]] = {}
    for seed in range(rounds):
        for side in ("seedbed", *data.peers):
            result = _kept(data, side, budget, seed, train, test)
            found.setdefault(side, []).append(result["score"])
    higher = data.metric != "rmse"
    for peer in data.peers:
        pairs = list(zip(found["seedbed"], found[peer], strict=True))
        better = (mean(found["seedbed"]) > mean(found[peer])) == higher
        yield compare(
            NAME,
            f"{data.name}, {budget} s: test {data.metric} against {peer}; mean "
            f"{mean(found['seedbed']):.4f} and {mean(found[peer]):.4f}, so that "
            f"{'ours' if better else 'theirs'} is better",
            pairs,
            unit=data.metric,
            limit="required: at least equal everywhere, better on most",
            higher_is_better=higher,
        )


def _kept(
    data: DataSet, side: str, budget: int, seed: int, train: Path, test: Path
) -> dict[str, Any]:
    """The result of a run, from the cache where it is there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "seedbed-benchmarks" / "quality.jsonl"
    key = [data.name, side, budget, seed, _revision() if side == "seedbed" else ""]
    if path.is_file():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["key"] == key:
                result: dict[str, Any] = entry["result"]
                return result
    command = _ours if side == "seedbed" else _theirs
    result = command(data, side, budget, seed, train, test)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({"key": key, "result": result}) + "\n")
    print(json.dumps({"key": key, "result": result}), file=sys.stderr, flush=True)
    return result


def _revision() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        check=True,
        capture_output=True,
        text=True,
        cwd=SCRIPTS,
    )
    return found.stdout.strip()


def _ours(
    data: DataSet,
    side: str,  # noqa: ARG001
    budget: int,
    seed: int,
    train: Path,
    test: Path,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        program = Path(sys.executable).with_name("seedbed")
        command = [str(program), "--data-dir", folder, "train"]
        command += ["--task", data.task, "--data", str(train), "--test", str(test)]
        command += ["--target", data.target, "--metric", data.metric, "--budget", f"{budget}s"]
        answer = _last_line([*command, "--seed", str(seed), "--json"], budget)
    return {"score": answer["test_score"], "seconds": answer["seconds"], "version": _revision()}


def _theirs(
    data: DataSet, side: str, budget: int, seed: int, train: Path, test: Path
) -> dict[str, Any]:
    # What one writes by hand uses the libraries that are here.
    python = sys.executable if side == "optuna" else str(python_of(side))
    asked = {
        "train": str(train),
        "test": str(test),
        "target": data.target,
        "metric": data.metric,
        "seconds": budget,
        "seed": seed,
    }
    script = SCRIPTS / f"{side}_tables.py"
    return _last_line([python, str(script), json.dumps(asked)], budget)


def _last_line(command: list[str], budget: int) -> dict[str, Any]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE * budget + 120, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _shared(train: str, test: str) -> Callable[[Path], tuple[Path, Path]]:
    return lambda folder: (SHARED / train, SHARED / test)  # noqa: ARG005


def _bundled(loader: str) -> Callable[[Path], tuple[Path, Path]]:
    """One of scikit-learn's own, divided at random but always alike."""

    def write(folder: Path) -> tuple[Path, Path]:
        from sklearn import datasets
        from sklearn.model_selection import train_test_split

        frame = getattr(datasets, loader)(as_frame=True).frame
        kinds = frame["target"] if frame["target"].nunique() <= 20 else None
        parts = train_test_split(frame, test_size=TEST_SHARE, random_state=0, stratify=kinds)
        paths = folder / "train.csv", folder / "test.csv"
        for part, path in zip(parts, paths, strict=True):
            part.to_csv(path, index=False)
        return paths

    return write


TABLES = ("autogluon", "flaml", "optuna")
DATA = (
    DataSet(
        "adult",
        "tabular",
        "income",
        "accuracy",
        TABLES,
        _shared("adult-train.csv", "adult-test.csv"),
    ),
    DataSet(
        "breast_cancer", "tabular", "target", "accuracy", TABLES, _bundled("load_breast_cancer")
    ),
    DataSet("digits", "tabular", "target", "accuracy", TABLES, _bundled("load_digits")),
    DataSet("wine", "tabular", "target", "accuracy", TABLES, _bundled("load_wine")),
    DataSet("diabetes", "tabular", "target", "r2", TABLES, _bundled("load_diabetes")),
)
