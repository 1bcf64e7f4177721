"""How a search is said to go, by what its trials cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from seedbed_server.jobs.values import Budget
from seedbed_server.search.probing import TrialCost
from seedbed_server.search.rehearsal import MOST_REHEARSED, Script, rehearse, scaled
from seedbed_server.search.study import Proposal

NET = TrialCost(10.0, epoch_seconds=0.5, epochs=20.0, samples=2000.0, continues=True)
TREES = replace(NET, continues=False)
LINE = TrialCost(0.1, epoch_seconds=0.1, epochs=1.0, samples=100.0)


def script(
    budget: Budget, *first: str, known: Sequence[str] = ("net",), leading: str = "net"
) -> Script:
    """A search that begins with these architectures."""
    costs = {"net": NET, "trees": TREES, "line": LINE}
    return Script(
        budget,
        [(Proposal(n, name, {}), costs[name]) for n, name in enumerate(first)],
        {name: [costs[name]] for name in known},
        {leading},
        frozenset({"line"}),
        asking=0.0,
        preparing=1.0,
        most=10**9,
        startup=5,
        seed=3,
    )


def test_the_first_trials_go_to_their_end() -> None:
    run = rehearse(script(Budget(trials=5)))
    assert run.seconds == pytest.approx(1.0 + 5 * 10.0)
    assert (run.trials, run.paused, run.samples) == (5, 0, 5 * 2000.0)


def test_later_ones_pause_where_others_are_better() -> None:
    run = rehearse(script(Budget(trials=60)))
    # Of very many it would be 26 %, since the first ones at every rung go on.
    assert 5 + 55 * 0.26 < (run.seconds - 1.0) / 10.0 < 0.8 * 60
    assert 15 < run.paused < 50
    assert run.samples == pytest.approx(200.0 * (run.seconds - 1.0))


def test_what_cannot_go_on_is_given_up_where_it_pauses() -> None:
    trees = rehearse(script(Budget(trials=60), known=["trees"], leading="trees"))
    nets = rehearse(script(Budget(trials=60)))
    assert trees.paused >= nets.paused
    assert trees.seconds < nets.seconds


def test_baselines_and_what_reports_only_at_its_end_never_pause() -> None:
    run = rehearse(script(Budget(trials=60), known=["line"], leading="line"))
    assert run.paused == 0
    assert run.seconds == pytest.approx(1.0 + 60 * 0.1)
    once = replace(NET, epochs=1.0)
    whole = replace(script(Budget(trials=60)), usual={"net": [once]})
    assert rehearse(whole).seconds == pytest.approx(1.0 + 60 * 10.0)


def test_more_trials_fit_into_the_time_than_whole_ones() -> None:
    run = rehearse(script(Budget(wall_clock_seconds=300.0)))
    assert run.ran_out_of_time
    assert 30 < run.trials < 100
    few = rehearse(script(Budget(samples=10_000)))
    assert (few.trials, few.samples, few.ran_out_of_time) == (5, 10_000, False)


def test_what_is_behind_and_takes_long_is_not_begun_again() -> None:
    first = ["line", "net", "net", "line", "net", "line"]
    wanted = script(Budget(wall_clock_seconds=30.0), *first, known=["line"], leading="line")
    run = rehearse(wanted)
    assert run.of == {"line": 3, "net": 1}
    assert [proposal.number for proposal, _ in run.first] == [0, 1, 3, 5]
    assert run.trials > MOST_REHEARSED


def test_trials_too_many_to_go_through_are_like_those_before() -> None:
    some = rehearse(script(Budget(trials=MOST_REHEARSED)))
    many = rehearse(script(Budget(trials=100 * MOST_REHEARSED)))
    assert many.trials == 100 * MOST_REHEARSED
    assert 50 < many.seconds / some.seconds < 110
    assert 50 < many.paused / some.paused < 130


def test_the_same_script_gives_the_same_rehearsal() -> None:
    wanted = script(
        Budget(wall_clock_seconds=200.0), "line", "net", "trees", known=["net", "trees"]
    )
    assert rehearse(wanted) == rehearse(wanted)


def test_a_small_space_is_trained_to_its_end() -> None:
    run = rehearse(replace(script(Budget(trials=50)), most=20))
    assert (run.trials, run.paused) == (20, 0)
    assert run.seconds == pytest.approx(1.0 + 20 * 10.0)


def test_a_trial_of_other_epochs_takes_as_much_longer() -> None:
    cost = scaled(replace(NET, begin_seconds=2.0), 40.0)
    assert (cost.seconds, cost.epochs, cost.samples) == (18.0, 40.0, 4000.0)
