"""What failed is not tried again and again."""

from __future__ import annotations

import pytest

from seedbed_sdk.metrics import METRICS
from seedbed_sdk.space import Choices, FloatRange, IntRange, Parameters
from seedbed_sdk.trainer import Architecture
from seedbed_server.jobs.values import (
    HUNG,
    INTERRUPTED,
    OUT_OF_MEMORY,
    WORKER_DIED,
    Trial,
    TrialState,
)
from seedbed_server.search.faults import CUT_SHORT, DIVERGED
from seedbed_server.search.lessons import Lessons
from seedbed_server.search.space import SearchSpace, narrow
from seedbed_server.search.study import Study


def architecture(name: str, *grows: str) -> Architecture:
    space = {
        "rate": FloatRange(0.1, 1.0),
        "batch": Choices((16, 64, 256)),
        "width": IntRange(10, 100),
    }
    default = {"rate": 0.5, "batch": 256, "width": 50}

    def build(_: object) -> object:
        raise NotImplementedError

    return Architecture(
        name,
        "",
        ("tabular",),
        ("category",),
        build=build,  # type: ignore[arg-type]
        space=space,
        portfolio=(default,),
        memory_grows_with=grows,
    )


@pytest.fixture
def space() -> SearchSpace:
    return narrow([architecture("net", "batch", "width"), architecture("trees")], {})


LARGE: Parameters = {"rate": 0.5, "batch": 256, "width": 50}


def trial(reason: str, name: str = "net", number: int = 0, parameters: Parameters = LARGE) -> Trial:
    state = TrialState.FAILED if reason else TrialState.COMPLETE
    score = None if reason else 0.5
    return Trial(number, name, parameters, state, validation_score=score, reason=reason)


@pytest.mark.parametrize(
    ("reason", "most"),
    [
        ("crashed: ValueError: x", 3),
        ("the outputs cannot be used: x", 3),
        (f"{WORKER_DIED}killed by signal 11 (SIGSEGV)", 2),
        (f"{HUNG}it had not stopped", 1),
        (f"{DIVERGED}the training loss became nan", 5),
    ],
)
def test_an_architecture_is_left_alone_after_so_many_failures(
    space: SearchSpace, reason: str, most: int
) -> None:
    lessons = Lessons(space)
    for _ in range(most):
        assert lessons.allows("net", LARGE)
        lessons.note(trial(reason))
    assert not lessons.allows("net", LARGE)
    assert lessons.leaves_alone("net")
    assert lessons.allows("trees", LARGE)


def test_a_success_forgives_and_want_of_time_is_no_fault(space: SearchSpace) -> None:
    lessons = Lessons(space)
    for reason in ("crashed: x", "crashed: x", "", "crashed: x", f"{CUT_SHORT}x", INTERRUPTED):
        lessons.note(trial(reason))
    assert lessons.allows("net", LARGE)


def test_what_ran_out_of_memory_is_halved_and_nothing_as_large_is_tried(
    space: SearchSpace,
) -> None:
    lessons = Lessons(space)
    smaller = lessons.note(trial(f"{OUT_OF_MEMORY}: x"))
    assert smaller == {"rate": 0.5, "batch": 64, "width": 25}
    assert not lessons.allows("net", LARGE)
    assert not lessons.allows("net", {**LARGE, "rate": 0.1})
    assert not lessons.allows("net", {**LARGE, "batch": 16, "width": 51})
    assert lessons.allows("net", {**LARGE, "batch": 64})
    assert lessons.allows("net", smaller)
    again = lessons.note(trial(f"{OUT_OF_MEMORY}: x", parameters=smaller))
    assert again == {"rate": 0.5, "batch": 16, "width": 12}
    assert lessons.shrunk("net", {"rate": 0.9, "batch": 256, "width": 11}) == {
        "rate": 0.9,
        "batch": 16,
        "width": 11,
    }
    least = lessons.note(trial(f"{OUT_OF_MEMORY}: x", parameters=again))
    assert least == {"rate": 0.5, "batch": 16, "width": 10}
    assert not lessons.leaves_alone("net")
    assert lessons.note(trial(f"{OUT_OF_MEMORY}: x", parameters=least)) is None
    assert lessons.leaves_alone("net")


def test_without_knowing_what_memory_grows_with_there_is_no_second_trial(
    space: SearchSpace,
) -> None:
    lessons = Lessons(space)
    assert lessons.note(trial(f"{OUT_OF_MEMORY} on cuda:0", "trees")) is None
    assert lessons.leaves_alone("trees")


def study_of(space: SearchSpace, earlier: list[Trial]) -> Study:
    return Study(space, METRICS["accuracy"], 3, earlier)


def asked(study: Study) -> tuple[int, str, Parameters]:
    proposal = study.ask(affordable=lambda _: True)
    assert proposal is not None
    return proposal.number, proposal.architecture, proposal.parameters


def test_a_study_asks_for_smaller_settings_next_also_when_it_is_rebuilt(
    space: SearchSpace,
) -> None:
    failed = trial(f"{OUT_OF_MEMORY}: x")
    rebuilt = study_of(space, [failed])
    assert asked(rebuilt) == (1, "net", {"rate": 0.5, "batch": 64, "width": 25})
    study = study_of(space, [])
    proposal = study.ask(affordable=lambda _: True)
    assert proposal is not None and proposal.parameters == LARGE
    study.tell(proposal, failed)
    assert asked(study) == (1, "net", {"rate": 0.5, "batch": 64, "width": 25})


def test_all_that_a_study_asks_for_afterwards_is_smaller() -> None:
    only = narrow([architecture("net", "batch", "width")], {})
    study = study_of(only, [trial(f"{OUT_OF_MEMORY}: x")])
    for _ in range(20):
        proposal = study.ask(affordable=lambda _: True)
        assert proposal is not None
        assert proposal.parameters["batch"] <= 256 and proposal.parameters["width"] <= 50
        assert (proposal.parameters["batch"], proposal.parameters["width"]) != (256, 50)
        study.tell(proposal, trial("", number=proposal.number, parameters=proposal.parameters))


def test_a_study_is_exhausted_where_everything_is_left_alone(space: SearchSpace) -> None:
    earlier = [
        trial(f"{WORKER_DIED}x", name, 2 * place + turn)
        for place, name in enumerate(("net", "trees"))
        for turn in range(2)
    ]
    assert not study_of(space, earlier[:3]).exhausted
    study = study_of(space, earlier)
    assert study.exhausted
    assert study.ask(affordable=lambda _: True) is None
    assert study.fallback() is None


def test_the_fallback_is_the_first_that_is_not_left_alone(space: SearchSpace) -> None:
    study = study_of(space, [trial(f"{HUNG}x"), trial(f"{CUT_SHORT}x", "trees", 1)])
    proposal = study.fallback()
    assert proposal is not None
    assert (proposal.number, proposal.architecture) == (2, "trees")
