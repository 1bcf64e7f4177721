"""The study: portfolio first, no setting twice, the same for a seed, whole after a rebuild."""

from __future__ import annotations

from dataclasses import replace

from seedbed_sdk.metrics import METRICS
from seedbed_sdk.space import Choices, IntRange
from seedbed_server.jobs.values import Trial, TrialState
from seedbed_server.search.space import narrow
from seedbed_server.search.study import Proposal, Study
from tests.search.test_space import ALL, NET


def score_of(proposal: Proposal) -> float:
    rate = float(proposal.parameters.get("learning_rate", 0.01))
    return 1.0 - abs(rate - 0.03)


def run(study: Study, count: int) -> list[Trial]:
    trials = []
    for _ in range(count):
        proposal = study.ask(affordable=lambda architecture: True)
        assert proposal is not None
        score = score_of(proposal)
        trials.append(ended(proposal, score))
        study.tell(proposal, trials[-1])
    return trials


def ended(proposal: Proposal, score: float | None) -> Trial:
    return Trial(
        proposal.number,
        proposal.architecture,
        proposal.parameters,
        TrialState.FAILED if score is None else TrialState.COMPLETE,
        validation_score=score,
        epoch_scores=() if score is None else (score,),
        epochs=1,
    )


def make(seed: int = 1, earlier: list[Trial] | None = None) -> Study:
    return Study(narrow(ALL, {}), METRICS["accuracy"], seed, earlier or [])


def test_portfolio_comes_first_and_numbers_count_up() -> None:
    trials = run(make(), 8)
    assert [t.architecture for t in trials[:4]] == ["linear", "trees", "net", "trees"]
    assert [t.number for t in trials] == list(range(8))


def test_same_seed_same_proposals_and_other_seed_others() -> None:
    first, again, other = run(make(1), 20), run(make(1), 20), run(make(2), 20)
    assert first == again
    assert first != other


def test_rebuilt_study_goes_on_where_it_was() -> None:
    trials = run(make(), 12)
    rebuilt = run(make(earlier=trials), 3)
    assert [t.number for t in rebuilt] == [12, 13, 14]
    settings = [(t.architecture, tuple(sorted(t.parameters.items()))) for t in trials + rebuilt]
    assert len(set(settings)) == len(settings)


def test_small_space_is_exhausted_and_nothing_is_tried_twice() -> None:
    space = narrow([NET], {"learning_rate": Choices((0.01,)), "epochs": Choices((3, 4))})
    study = Study(space, METRICS["accuracy"], 0, [])
    seen = []
    for _ in range(40):
        proposal = study.ask(affordable=lambda architecture: True)
        if proposal is None:
            break
        seen.append(proposal.parameters)
        study.tell(proposal, ended(proposal, 0.5))
    assert len(seen) == 4
    assert study.exhausted


def test_failed_trials_are_not_learned_from_and_not_repeated() -> None:
    study = make()
    proposal = study.ask(affordable=lambda architecture: True)
    assert proposal is not None
    study.tell(proposal, ended(proposal, None))
    following = study.ask(affordable=lambda architecture: True)
    assert following is not None
    assert following.architecture != proposal.architecture


def test_what_is_not_affordable_is_not_proposed() -> None:
    study = make()
    for _ in range(6):
        proposal = study.ask(affordable=lambda architecture: architecture == "linear")
        assert proposal is not None and proposal.architecture == "linear"
        study.tell(proposal, ended(proposal, 0.5))


def test_an_architecture_with_nothing_to_set_does_not_end_the_search() -> None:
    fixed = [
        replace(NET, name=f"fixed_{number}", space={}, portfolio=[{}], baseline=False)
        for number in range(6)
    ]
    study = Study(narrow([*fixed, NET], {}), METRICS["accuracy"], 0, [])
    tried = []
    for _ in range(60):
        proposal = study.ask(affordable=lambda architecture: True)
        assert proposal is not None
        tried.append(proposal.architecture)
        # The sampler has every reason to ask for what cannot be tried again.
        study.tell(proposal, ended(proposal, 0.9 if "fixed" in proposal.architecture else 0.1))
    assert tried.count("net") == 54


def test_proposals_for_one_shape_differ_in_real_numbers_only() -> None:
    space = narrow([NET], {})

    def proposals() -> list[Proposal]:
        study = Study(space, METRICS["accuracy"], 3, [])
        run(study, 9)
        first = study.ask(affordable=lambda architecture: True)
        assert first is not None
        found = [first]
        for _ in range(7):
            other = study.ask_like(first)
            assert other is not None
            found.append(other)
        for proposal in found:
            study.tell(proposal, ended(proposal, score_of(proposal)))
        return found

    found = proposals()
    assert [proposal.number for proposal in found] == list(range(9, 17))
    assert len({proposal.parameters["epochs"] for proposal in found}) == 1
    assert len({proposal.parameters["learning_rate"] for proposal in found}) == 8
    assert [p.parameters for p in proposals()] == [p.parameters for p in found]


def test_there_is_no_other_proposal_where_only_the_shape_can_be_set() -> None:
    fixed = replace(NET, space={"epochs": IntRange(1, 9)}, portfolio=[{"epochs": 3}])
    study = Study(narrow([fixed], {}), METRICS["accuracy"], 3, [])
    first = study.ask(affordable=lambda architecture: True)
    assert first is not None
    assert study.ask_like(first) is None
    assert not study.exhausted


def test_a_proposal_is_like_the_best_trial_in_architecture_and_shape() -> None:
    study = make()
    settings = {"learning_rate": 0.01, "epochs": 5, "width": 64}
    assert not study.is_like_the_best(Proposal(9, "net", settings))
    for score in (0.5, None, 0.7, 0.7):
        proposal = study.ask(affordable=lambda architecture: True)
        assert proposal is not None
        study.tell(proposal, ended(proposal, score))
    # The third was the network, 128 wide, for 20 epochs.
    assert study.is_like_the_best(Proposal(9, "net", {**settings, "width": 128}))
    assert not study.is_like_the_best(Proposal(9, "net", settings))
    assert not study.is_like_the_best(Proposal(9, "trees", {"epochs": 100}))
