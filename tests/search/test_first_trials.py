"""What a search begins with: in which order, each once, also where the search is gone on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from seedbed_sdk.metrics import METRICS
from seedbed_sdk.space import FloatRange
from seedbed_server.jobs.values import INTERRUPTED, EarlierJob, Origin, TrialState
from seedbed_server.search.first_trials import first_trials
from seedbed_server.search.space import narrow
from seedbed_server.search.study import Proposal, Study
from tests.search.test_space import ALL
from tests.search.test_study import run

POINTS = (
    {"architecture": "net", "width": 64},
    {"architecture": "trees", "learning_rate": 0.2, "epochs": 60},
)
EARLIER = (
    EarlierJob("job-a", "net", {"learning_rate": 0.02, "epochs": 7, "width": 64}, 0.0),
    EarlierJob("job-b", "trees", {"learning_rate": 0.1, "epochs": 100}, 0.2),
)
ORIGINS = ["baseline", *2 * ["starting_point"], *2 * ["earlier_job"], *2 * ["portfolio"]]


def always(_: str) -> bool:
    return True


def asked(study: Study, affordable: Callable[[str], bool] = always) -> Proposal:
    proposal = study.ask(affordable=affordable)
    assert proposal is not None
    return proposal


def make(seed: int = 1) -> Study:
    space = narrow(ALL, {})
    return Study(space, METRICS["accuracy"], seed, [], first_trials(space, POINTS, EARLIER))


def test_baselines_then_the_user_s_then_earlier_jobs_then_portfolios() -> None:
    found = first_trials(narrow(ALL, {}), POINTS, EARLIER)
    assert [(t.architecture, t.origin, t.job) for t in found] == [
        ("linear", Origin.BASELINE, ""),
        ("net", Origin.STARTING_POINT, ""),
        ("trees", Origin.STARTING_POINT, ""),
        ("net", Origin.EARLIER_JOB, "job-a"),
        # The same as the portfolio's first, which therefore does not come again.
        ("trees", Origin.EARLIER_JOB, "job-b"),
        ("net", Origin.PORTFOLIO, ""),
        ("trees", Origin.PORTFOLIO, ""),
    ]


def test_what_a_starting_point_leaves_out_is_the_default() -> None:
    found = first_trials(narrow(ALL, {}), POINTS)
    assert found[1].parameters == {"learning_rate": 0.003, "epochs": 20, "width": 64}


def test_settings_are_moved_into_a_narrower_space_and_drop_out_with_their_architecture() -> None:
    space = narrow(ALL[:2], {"learning_rate": FloatRange(0.1, 0.3)})
    assert list(space.architectures) == ["trees"]
    found = first_trials(space, POINTS, EARLIER)
    assert [t.parameters["learning_rate"] for t in found] == [0.2, 0.1, 0.1]
    assert [t.origin for t in found] == ["starting_point", "earlier_job", "portfolio"]


def test_the_study_proposes_them_in_order_and_says_where_they_came_from() -> None:
    study = make()
    proposals = [asked(study) for _ in range(9)]
    assert [p.origin for p in proposals] == [*ORIGINS, "sampler", "sampler"]
    assert [p.origin_job for p in proposals[3:6]] == ["job-a", "job-b", ""]
    assert proposals[3].parameters == EARLIER[0].parameters


def test_a_study_that_is_built_again_goes_on_with_the_same() -> None:
    whole = run(make(), 12)
    space = narrow(ALL, {})
    for count in range(1, 12):
        first = first_trials(space, POINTS, EARLIER)
        again = Study(space, METRICS["accuracy"], 1, whole[:count], first)
        assert run(again, 1) == [whole[count]]


def test_a_trial_that_was_interrupted_is_begun_again_as_what_it_was() -> None:
    trials = run(make(), 4)
    trials[2] = replace(
        trials[2], state=TrialState.FAILED, validation_score=None, reason=INTERRUPTED
    )
    space = narrow(ALL, {})
    first = first_trials(space, POINTS, EARLIER)
    proposal = asked(Study(space, METRICS["accuracy"], 1, trials, first))
    assert (proposal.number, proposal.origin) == (4, Origin.STARTING_POINT)
    assert proposal.parameters == trials[2].parameters


def test_what_there_is_no_time_for_yet_keeps_its_place() -> None:
    study = make()
    asked(study)
    other = asked(study, lambda name: name != "net")
    assert (other.architecture, other.origin) == ("trees", Origin.STARTING_POINT)
    back = asked(study)
    assert (back.architecture, back.origin) == ("net", Origin.STARTING_POINT)


def test_many_starting_points_do_not_put_off_pausing() -> None:
    space = narrow(ALL, {})
    points = [{"architecture": "net", "epochs": epochs} for epochs in range(3, 61)]
    study = Study(space, METRICS["accuracy"], 0, [], first_trials(space, points))
    assert study.rungs.startup == 5
