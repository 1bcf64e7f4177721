"""How much architecture and hyperparameters matter: found where it is there, and only there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed_sdk.metrics import METRICS
from seedbed_sdk.space import Choices, Domain, FloatRange, IntRange
from seedbed_server.jobs.values import Trial, TrialState
from seedbed_server.search.importance import Importances, importances

ACCURACY, RMSE = METRICS["accuracy"], METRICS["rmse"]
NET: dict[str, Domain] = {
    "learning_rate": FloatRange(1e-4, 1.0, log=True),
    "width": IntRange(16, 512, log=True),
    "dropout": FloatRange(0.0, 0.5),
    "batch_size": Choices((64, 256, 1024)),
}
SPACES = {"net": NET, "line": {"penalty": FloatRange(1e-3, 1e3, log=True)}}


def trials(
    count: int, seed: int = 0, *, noise: float = 0.01, name: str = "net", start: int = 0
) -> list[Trial]:
    """Random settings whose score depends on the learning rate alone, best at 0.01."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(start, start + count):
        rate = 10 ** rng.uniform(-4, 0)
        score = 0.9 - 0.05 * (math.log10(rate) + 2) ** 2 + rng.normal(0, noise)
        parameters = {
            "learning_rate": rate,
            "width": int(2 ** rng.uniform(4, 9)),
            "dropout": rng.uniform(0, 0.5),
            "batch_size": int(rng.choice([64, 256, 1024])),
        }
        found.append(Trial(number, name, parameters, TrialState.COMPLETE, validation_score=score))
    return found


def of(found: list[Importances], architecture: str) -> Importances:
    return next(each for each in found if each.architecture == architecture)


@pytest.mark.parametrize("count", [20, 400])
def test_what_matters_is_found(count: int) -> None:
    shares = of(importances(trials(count), SPACES, ACCURACY), "net").shares
    assert next(iter(shares)) == "learning_rate"
    assert shares["learning_rate"] > 0.7
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == set(NET)


def test_the_same_trials_give_the_same_shares() -> None:
    assert importances(trials(20), SPACES, ACCURACY) == importances(trials(20), SPACES, ACCURACY)


def test_one_trial_that_diverged_does_not_outweigh_all_else() -> None:
    """Its batch size is not what matters, however bad its score is."""
    ran = trials(30)
    parameters = {**ran[0].parameters, "batch_size": 1024, "dropout": 0.5, "width": 16}
    bad = Trial(30, "net", parameters, TrialState.COMPLETE, validation_score=-1e6)
    found = of(importances([*ran, bad], SPACES, ACCURACY), "net")
    assert next(iter(found.shares)) == "learning_rate"


def test_for_a_loss_the_bad_end_is_the_upper_one() -> None:
    def flipped(trial: Trial, score: float) -> Trial:
        return Trial(
            trial.number, "net", trial.parameters, TrialState.COMPLETE, validation_score=score
        )

    ran = trials(30)
    losses = [flipped(trial, -(trial.validation_score or 0.0)) for trial in ran]
    up, down = importances(ran, SPACES, ACCURACY), importances(losses, SPACES, RMSE)
    assert of(down, "net").shares == pytest.approx(of(up, "net").shares)


def test_noise_is_called_noise() -> None:
    said = []
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        noise = [
            Trial(t.number, "net", t.parameters, TrialState.COMPLETE, validation_score=rng.normal())
            for t in trials(20, seed)
        ]
        said.append(of(importances(noise, SPACES, ACCURACY), "net").reason)
    assert said.count("how the scores of its 20 trials differ cannot be told from chance") >= 5


def test_the_choice_of_architecture() -> None:
    """By how much the scores of two architectures overlap."""

    def share(gap: float) -> float:
        rng = np.random.default_rng(0)
        ran = [
            Trial(
                number,
                "ab"[number % 2],
                {},
                TrialState.COMPLETE,
                validation_score=0.5 + gap * (number % 2) + 0.01 * rng.normal(),
            )
            for number in range(30)
        ]
        return of(importances(ran, {}, ACCURACY), "").shares["architecture"]

    assert share(0.0) < 0.1
    assert 0.3 < share(0.02) < 0.8
    assert share(1.0) > 0.99


def test_too_few_trials_are_said_to_be_too_few() -> None:
    ran = [*trials(5), *trials(1, name="line", start=5)]
    found = importances(ran, SPACES, ACCURACY)
    assert [(each.architecture, each.trials, dict(each.shares)) for each in found] == [
        ("", 6, {}),
        ("net", 5, {}),
        ("line", 1, {}),
    ]
    assert found[1].reason == "5 trials have a score; at least 12 are needed"
    assert found[0].reason == "6 trials have a score; at least 12 are needed"
    assert importances([], SPACES, ACCURACY) == []
    assert of(importances(trials(12), SPACES, ACCURACY), "").reason == "only net was tried"


def test_what_never_varied_is_left_out() -> None:
    fixed = [
        Trial(
            t.number,
            "net",
            {**t.parameters, "dropout": 0.1},
            TrialState.COMPLETE,
            validation_score=t.validation_score,
        )
        for t in trials(20)
    ]
    assert "dropout" not in of(importances(fixed, SPACES, ACCURACY), "net").shares
    same = [
        Trial(n, "net", {"dropout": 0.1}, TrialState.COMPLETE, validation_score=0.5 + n / 100)
        for n in range(12)
    ]
    reason = of(importances(same, SPACES, ACCURACY), "net").reason
    assert reason == "its hyperparameters had the same values in all trials"
    level = [
        Trial(t.number, "net", t.parameters, TrialState.COMPLETE, validation_score=0.5)
        for t in trials(12)
    ]
    assert of(importances(level, SPACES, ACCURACY), "net").reason == (
        "all 12 trials have the same score"
    )


def test_settings_of_an_older_plugin_are_taken_as_they_were() -> None:
    """Its space does not hold them any more, or has gone."""
    narrow: dict[str, Domain] = {
        "learning_rate": FloatRange(0.1, 0.2),
        "batch_size": Choices((64,)),
        "dropout": FloatRange(0.0, 0.1),
    }
    for spaces in ({}, {"net": narrow}):
        shares = of(importances(trials(30), spaces, ACCURACY), "net").shares
        assert set(shares) == set(NET)
