"""Which trials pause, which go on, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from seedbed_sdk.metrics import METRICS, Metric
from seedbed_server.jobs.values import Trial, TrialState
from seedbed_server.search.paused import MOST, PausedTrials
from seedbed_server.search.rungs import Rungs, rung_of, rungs_of

ACCURACY, RMSE = METRICS["accuracy"], METRICS["rmse"]


@dataclass
class Written:
    """Writes a checkpoint that says which trial it is of."""

    number: int

    def save_checkpoint(self, folder: Path) -> None:
        (folder / "number").write_text(str(self.number))

    def load_checkpoint(self, folder: Path) -> None:
        assert (folder / "number").read_text() == str(self.number)


def trial(number: int, *scores: float, epochs: float = 4.0) -> Trial:
    return Trial(
        number,
        "net",
        {"epochs": 10},
        TrialState.PRUNED,
        validation_score=max(scores),
        epoch_scores=scores,
        epochs=epochs,
    )


@pytest.mark.parametrize("metric", [ACCURACY, RMSE])
def test_the_worst_third_pauses(metric: Metric) -> None:
    rungs = Rungs(metric, startup=4)
    sign = 1.0 if metric is ACCURACY else -1.0
    for number, score in enumerate([0.1, 0.2, 0.3, 0.4]):
        rungs.note(number, 4, sign * score)
        assert rungs.goes_on(number, 4), "the first ones all do"
    for number, score, goes_on in ((4, 0.05, False), (5, 0.35, True), (6, 0.08, False)):
        rungs.note(number, 4, sign * score)
        assert rungs.goes_on(number, 4) is goes_on
    assert rungs.lead(5, 4) > rungs.lead(6, 4)
    for number in (7, 8):
        rungs.note(number, 4, sign * 0.01)
    assert rungs.goes_on(6, 4), "later ones have brought it out of the worst third"
    assert not rungs.goes_on(4, 4)


def test_rungs_make_trials_of_different_length_comparable() -> None:
    assert [rung_of(epoch, 20) for epoch in (1, 2, 3, 6, 9, 14, 19, 20)] == [0, 1, 2, 4, 5, 6, 6, 7]
    assert [rung_of(epoch, 800) for epoch in (40, 80, 120, 800)] == [0, 1, 2, 7]
    assert rung_of(1, 1) == 7


def test_rungs_of_a_trial_of_an_earlier_worker() -> None:
    assert dict(rungs_of(trial(1, 0.5, 0.4, 0.6, 0.7), ACCURACY)) == {1: 0.5, 3: 0.5, 4: 0.7}


def test_a_trial_is_promoted_once_others_are_worse(tmp_path: Path) -> None:
    rungs = Rungs(ACCURACY, startup=2)
    paused = PausedTrials(tmp_path, rungs)
    for number, score in ((0, 0.8), (1, 0.9), (2, 0.5)):
        rungs.note(number, 4, score)
    paused.add(trial(2, 0.5), 4, Written(2))
    assert paused.promoted() is None
    last = paused.furthest_ahead()
    assert last is not None and last.number == 2
    for number in (3, 4, 5):
        rungs.note(number, 4, 0.3)
    promoted = paused.promoted()
    assert promoted is not None and promoted.number == 2
    Written(2).load_checkpoint(paused.checkpoint(promoted))
    paused.give_up(promoted)
    assert paused.furthest_ahead() is None
    assert list(tmp_path.iterdir()) == []


def test_another_worker_finds_the_paused_trials(tmp_path: Path) -> None:
    rungs = Rungs(ACCURACY, startup=2)
    earlier = [trial(n, 0.1 * n, 0.1 * n) for n in range(1, 6)]
    first = PausedTrials(tmp_path, rungs)
    for ended in earlier:
        rungs.note(ended.number, 4, ended.validation_score or 0.0)
    for ended in earlier[:3]:
        first.add(ended, 4, Written(ended.number))
    second = PausedTrials(tmp_path, rungs)
    second.restore(earlier)
    promoted = second.furthest_ahead()
    assert promoted is not None and promoted.number == 3


def test_those_furthest_behind_are_given_up(tmp_path: Path) -> None:
    rungs = Rungs(ACCURACY, startup=2)
    paused = PausedTrials(tmp_path, rungs)
    for number in range(MOST + 4):
        rungs.note(number, 4, number / 100)
        paused.add(trial(number, number / 100), 4, Written(number))
    assert len(list(tmp_path.iterdir())) == MOST
    assert not paused.checkpoint(trial(0, 0.0)).exists()
