"""The benchmark `quality`: both sides are scored alike, runs end, results are kept under what they
depend on."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks import quality_runs
from benchmarks.peers import scores
from benchmarks.quality_data import DATA, DataSet
from seedbed.embedded import process_exists
from seedbed_sdk import ranking_metrics, segmentation_metrics


def test_mean_iou_of_peers_is_ours() -> None:
    generator = np.random.default_rng(0)
    truth = generator.choice([0, 1, 2, 4, 11], (3, 9, 7)).astype(np.uint8)
    said = generator.choice([0, 1, 2, 4], truth.shape).astype(np.uint8)
    judged = np.where(truth == 11, segmentation_metrics.VOID, truth)
    ours = segmentation_metrics.COMPUTE["mean_iou"](judged, said)
    assert scores.mean_iou(truth, said, void=11, classes=11) == pytest.approx(ours)


def test_recall_of_peers_is_ours() -> None:
    held_out = [{1, 2}, set(range(20, 35)), {7}]
    ranked = np.array([[2, 5, 6, *range(40, 47)], [*range(25, 32), 1, 2, 3], [*range(50, 60)]])
    targets = np.full((3, 15), -1)
    for row, items in enumerate(held_out):
        targets[row, : len(items)] = sorted(items)
    ours = float(ranking_metrics.recall(targets, ranked).mean())
    assert ours == pytest.approx((0.5 + 0.7 + 0) / 3)
    assert scores.recall_at_10(held_out, ranked) == pytest.approx(ours)


def test_macro_f1_of_peers_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, said = generator.choice(["a", "b", "c"], (2, 50), p=[0.7, 0.2, 0.1])
    expected = f1_score(truth, said, average="macro", labels=np.unique(truth))
    assert scores.macro_f1(truth, said) == pytest.approx(expected)


@pytest.mark.parametrize("data", DATA, ids=lambda data: data.name)
def test_every_peer_has_a_script(data: DataSet) -> None:
    assert data.peers
    for peer in data.peers:
        assert (quality_runs.SCRIPTS / f"{peer}.py").is_file()


def test_a_run_is_killed_at_its_hard_end_with_what_it_started(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    script = (
        "import pathlib, subprocess, sys, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(p.pid)); time.sleep(600)"
    )
    with pytest.raises(quality_runs.RunFailed, match="was killed after 5 s"):
        quality_runs.last_line([sys.executable, "-c", script], 5.0, dict(os.environ))
    pid = int((tmp_path / "pid").read_text())
    assert not process_exists(pid) or _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """An orphan that has ended and that nobody has waited for yet."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("Z")


def test_a_run_that_fails_says_what_it_said() -> None:
    with pytest.raises(quality_runs.RunFailed, match="out of luck"):
        quality_runs.last_line([sys.executable, "-c", "raise SystemExit('out of luck')"], 60.0, {})


def test_results_are_kept_by_the_code_and_not_by_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(quality_runs, "ROOT", tmp_path)
    for name in ("client", "plugins", "server"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text("x = 1\n")
    ran: list[int] = []

    def ours(*asked: object) -> quality_runs.Result:
        ran.append(1)
        return quality_runs.Result(0.5, 20.0, 25.0, "")

    monkeypatch.setattr(quality_runs, "_ours", ours)
    files = tmp_path / "train.csv", tmp_path / "test.csv"

    def result() -> quality_runs.Result:
        quality_runs._versions.cache_clear()
        return quality_runs.result_of(DATA[0], files, quality_runs.OURS, 20, 0)

    first = result()
    (tmp_path / "README.md").write_text("new")
    assert result() == first
    assert len(ran) == 1
    (tmp_path / "server" / "code.py").write_text("x = 2\n")
    result()
    assert len(ran) == 2
    lines = (tmp_path / "seedbed-benchmarks" / "quality.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"][:5] for line in lines] == [
        ["adult", "accuracy", "seedbed", 20, 0]
    ] * 2
    quality_runs._versions.cache_clear()
