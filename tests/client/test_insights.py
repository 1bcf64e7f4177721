"""How insights read at a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import seedbed
from seedbed.cli.insights import show, twice_the_budget

THEN = seedbed.Extrapolation(
    trials=20,
    more_trials=20,
    best=0.9,
    expected=0.912,
    lower=0.9,
    upper=0.93,
    confidence=0.8,
    improvement=0.45,
    method="m",
)
FOUND = seedbed.JobInsights(
    job="projects/default/jobs/j1",
    metric="accuracy",
    higher_is_better=True,
    learning_curve=(
        seedbed.LearningCurvePoint(2.0, 1, 100, 0.7, 0, "linear"),
        seedbed.LearningCurvePoint(6.0, 9, 900, 0.9, 8, "tabm"),
    ),
    consumption=seedbed.Consumption(seconds=10.0, trials=21),
    time_spent=seedbed.TimeSpent(1.0, 7.0, 1.5, 0.5, 30.0),
    importances=(
        seedbed.Importances("", {"architecture": 0.25}, 20),
        seedbed.Importances("tabm", {"learning_rate": 0.9, "width": 0.1}, 15),
        seedbed.Importances("linear", {}, 5, "5 trials have a score; at least 12 are needed"),
    ),
    twice_the_budget=THEN,
)


def shown(found: seedbed.JobInsights, capsys: pytest.CaptureFixture[str], **then: Any) -> list[str]:
    show(replace(found, twice_the_budget=replace(THEN, **then)))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_all_of_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = shown(FOUND, capsys)
    assert lines[:12] == [
        "best validation accuracy so far",
        "0.9000 ┤                               ╭────────────────────",
        "       ┤                               │",
        "       ┤                               │",
        "       ┤                               │",
        "       ┤                               │",
        "       ┤                               │",
        "       ┤                               │",
        "0.7000 ┤          ─────────────────────╯",
        "       └────────────────────────────────────────────────────",
        "        0 s                                           10.0 s",
        "0.9000 since 6.0 s, trial 8 (tabm); 21 trials",
    ]
    assert lines[13:19] == [
        "preparing   1.0 s  10%  ██",
        "training    7.0 s  70%  ██████████████",
        "choosing    1.5 s  15%  ███",
        "finishing   0.5 s   5%  █",
        "waiting    30.0 s       for a slot, not counted",
        "",
    ]
    assert lines[19:] == [
        "architecture       25%  █████",
        "tabm                    15 trials",
        "  learning_rate    90%  ██████████████████",
        "  width            10%  ██",
        "linear                  5 trials have a score; at least 12",
        "                        are needed",
        "",
        "Twice the budget, 20 more trials, would bring the best",
        "validation accuracy from 0.9000 to 0.9120 on average; in 80%",
        "of such cases it lies from 0.9000 to 0.9300, and in 55% it",
        "stays.",
    ]


def test_a_better_score_that_was_not_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    said = "0.9500 was reached too, and not chosen: by chance alone, or past a limit"
    assert said in shown(FOUND, capsys, best=0.95)
    assert said not in shown(FOUND, capsys)


def test_a_gain_that_does_not_show_is_none() -> None:
    found = replace(FOUND, twice_the_budget=replace(THEN, upper=0.90001, expected=0.900005))
    assert twice_the_budget(found) == (
        "Twice the budget, 20 more trials, would most likely leave the best validation accuracy at "
        "0.9000."
    )


def test_what_cannot_be_said() -> None:
    then = replace(THEN, expected=None, lower=None, upper=None, reason="3 trials have a score")
    assert twice_the_budget(replace(FOUND, twice_the_budget=then)) == (
        "What twice the budget would bring cannot be said: 3 trials have a score."
    )


def test_before_the_first_trial(capsys: pytest.CaptureFixture[str]) -> None:
    found = replace(
        FOUND,
        learning_curve=(),
        consumption=seedbed.Consumption(),
        time_spent=seedbed.TimeSpent(),
        importances=(),
    )
    lines = shown(found, capsys, best=None, expected=None, reason="0 trials have a score")
    assert lines[0] == "no trial has a score yet"
    assert "preparing  0.0 s  0%" in lines
