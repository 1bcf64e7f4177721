"""The Optuna study: lives in memory, is rebuilt from the trial rows, and only decides."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna

from seedbed_sdk.metrics import Metric
from seedbed_sdk.space import FloatRange, Parameters
from seedbed_server.jobs.values import INTERRUPTED, OUT_OF_MEMORY, Origin, Trial, TrialState
from seedbed_server.search.first_trials import FirstTrial, first_trials
from seedbed_server.search.lessons import Lessons
from seedbed_server.search.recipes import found_rate
from seedbed_server.search.rungs import Rungs, rungs_of
from seedbed_server.search.space import ARCHITECTURE, EPOCHS, SearchSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)
# Said of `group` in every study; the version is pinned.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

ATTEMPTS_TO_ASK = 50
FREE_ATTEMPTS = 5
# Drawn at random between the first trials and those that are learned from.
STARTUP_TRIALS = 5
LEARNING_RATE = "learning_rate"


@dataclass(frozen=True)
class Proposal:
    """What to try next, and where that came from: `origin_job` is the id of an EARLIER_JOB. A trial
    that goes on after a pause has no handle."""

    number: int
    architecture: str
    parameters: Parameters
    handle: optuna.Trial | None = None
    origin: Origin = Origin.SAMPLER
    origin_job: str = ""


class Study:
    """Asks for settings, and is told how they went. `first` comes before what the sampler proposes;
    None is what `first_trials` makes of the space alone.

    Each trial's sampler is seeded by the job's seed and the trial's number, since the position of a
    sampler's random stream is lost when a study is rebuilt.
    """

    def __init__(
        self,
        space: SearchSpace,
        metric: Metric,
        seed: int,
        earlier: Sequence[Trial],
        first: Sequence[FirstTrial] | None = None,
    ) -> None:
        self.space = space
        self.metric = metric
        self.seed = seed
        self._first = list(first_trials(space) if first is None else first)
        self._tried: set[str] = set()
        self._tried_of: Counter[str] = Counter()
        self._next = 0
        self._explores = False
        self._ended: dict[int, Trial] = {}
        self.lessons = Lessons(space)
        self._asides: list[FirstTrial] = []
        # However many settings the user brings, they are compared as soon as any others.
        self.rungs = Rungs(metric, startup=max(5, len(space.portfolio())))
        told = _told_by(earlier)
        for trial in sorted(earlier, key=lambda t: t.number):
            self._next = trial.number + 1
            if trial.reason != INTERRUPTED:
                self._ended[trial.number] = trial
                self._remember(trial.architecture, _key(trial.architecture, dict(trial.parameters)))
                for rung, score in rungs_of(trial, metric):
                    self.rungs.note(trial.number, rung, score)
                if trial.number in told:
                    self._learn(trial)
        self._study = self._rebuilt()

    def finds_rate(self, architecture: str) -> bool:
        """Whether a learning rate found before its first trial could be tried."""
        domain = self.space.domains[architecture].get(LEARNING_RATE)
        return self._tried_of[architecture] == 1 and isinstance(domain, FloatRange)

    @property
    def exhausted(self) -> bool:
        """Whether every setting has been tried that is worth it."""
        return not self._with_something_left(lambda _: True)

    def ask(self, *, affordable: Callable[[str], bool]) -> Proposal | None:
        """The next settings that were not tried before; None where none is left that
        `affordable(architecture)` allows. After a few proposals that will not do, the sampler only
        chooses the hyperparameters, and the architectures that have something left take turns."""
        for attempt in range(ATTEMPTS_TO_ASK):
            choice = self._with_something_left(affordable)
            if not choice:
                return None
            self._study.sampler = self._sampler(attempt)
            planned = self._planned(affordable)
            if planned is not None:
                self._study.enqueue_trial(self._flat(planned.architecture, planned.parameters))
            elif attempt >= FREE_ATTEMPTS:
                self._study.enqueue_trial({ARCHITECTURE: choice[attempt % len(choice)]})
            proposal = self._asked(affordable, planned)
            if proposal is not None:
                return proposal
            if planned is not None:
                (self._asides if planned in self._asides else self._first).remove(planned)
        return None

    def ask_like(self, first: Proposal) -> Proposal | None:
        """Settings that were not tried before and differ from `first`, which has not ended,
        in real numbers only. None where some attempts find none.

        What has not ended counts as bad, so that several such proposals lie apart from each other.
        """
        shape = self.space.shape_of(first.architecture, first.parameters)
        for attempt in range(FREE_ATTEMPTS):
            self._study.sampler = self._sampler(attempt, constant_liar=True)
            self._study.enqueue_trial(self._flat(first.architecture, shape))
            proposal = self._asked(lambda architecture: True)  # noqa: ARG005
            if proposal is not None:
                return proposal
        return None

    @property
    def explores(self) -> bool:
        """Whether the last proposal was the sampler's own, with none of the first trials left."""
        return self._explores

    def is_like_the_best(self, proposal: Proposal) -> bool:
        """Whether the best trial so far has the same architecture and shape; how long it took does
        not matter."""
        best: Trial | None = None
        best_score: float | None = None
        for _, trial in sorted(self._ended.items()):
            score = trial.validation_score
            if score is not None and (best_score is None or self.metric.better(score, best_score)):
                best, best_score = trial, score
        if best is None or best.architecture != proposal.architecture:
            return False
        shapes = (
            self.space.shape_of(one.architecture, dict(one.parameters)) | {EPOCHS: None}
            for one in (best, proposal)
        )
        return next(shapes) == next(shapes)

    def _asked(
        self, affordable: Callable[[str], bool], planned: FirstTrial | None = None
    ) -> Proposal | None:
        """What the sampler proposes, or `planned`, which it was given; None where that was tried
        before, is not affordable, or has been learned to fail."""
        handle = self._study.ask()
        architecture, parameters = self.space.suggest(handle)
        key = _key(architecture, parameters)
        allowed = self.lessons.allows(architecture, parameters)
        if key in self._tried or not affordable(architecture) or not allowed:
            self._study.tell(handle, state=optuna.trial.TrialState.FAIL)
            if planned is None and not allowed and not self.lessons.leaves_alone(architecture):
                self._put_aside(architecture, self.lessons.shrunk(architecture, parameters))
            return None
        self._remember(architecture, key)
        number = self._next
        self._next += 1
        self._explores = planned is None
        if planned is None:
            return Proposal(number, architecture, parameters, handle)
        origin, job = planned.origin, planned.job
        return Proposal(number, architecture, parameters, handle, origin, job)

    def fallback(self) -> Proposal | None:
        """The simplest that may do: the first settings of the portfolio, which begins with the
        baselines, whose architecture is not left alone. They may have been tried before."""
        for architecture, parameters in self.space.portfolio():
            if self.lessons.allows(architecture, parameters):
                self._remember(architecture, _key(architecture, parameters))
                self._next += 1
                baseline = self.space.architectures[architecture].baseline
                origin = Origin.BASELINE if baseline else Origin.PORTFOLIO
                return Proposal(self._next - 1, architecture, parameters, origin=origin)
        return None

    def rung_score(self, proposal: Proposal, rung: int, score: float) -> bool:
        """Reports a trial's best score at a tenth of its epochs; says whether it goes on."""
        if proposal.handle is not None:
            proposal.handle.report(score, rung)
        self.rungs.note(proposal.number, rung, score)
        return self.rungs.goes_on(proposal.number, rung)

    def tell(self, proposal: Proposal, trial: Trial) -> None:
        """Says how a trial ended. A pruned trial's score counts; a failed trial has none."""
        again = proposal.number in self._ended
        self._ended[proposal.number] = trial
        self._learn(trial)
        handle = proposal.handle
        if handle is None or again:
            # Optuna takes no second word on a trial.
            self._study = self._rebuilt()
        elif trial.state is TrialState.FAILED or trial.validation_score is None:
            self._study.tell(handle, state=optuna.trial.TrialState.FAIL)
        elif trial.state is TrialState.PRUNED:
            self._study.tell(handle, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(handle, trial.validation_score)

    def _learn(self, trial: Trial) -> None:
        """Takes what a trial says about what to try next."""
        if (smaller := self.lessons.note(trial)) is not None:
            self._put_aside(trial.architecture, smaller)
        rate, domains = found_rate(trial.recipe), self.space.domains.get(trial.architecture, {})
        if rate is not None and isinstance(domain := domains.get(LEARNING_RATE), FloatRange):
            within = min(max(rate, domain.low), domain.high)
            wanted = {**trial.parameters, LEARNING_RATE: within}
            self._put_aside(trial.architecture, wanted)

    def _put_aside(self, architecture: str, parameters: Parameters) -> None:
        """Has settings tried next."""
        self._asides.append(FirstTrial(architecture, parameters, Origin.SAMPLER))

    def _remember(self, architecture: str, key: str) -> None:
        if key not in self._tried:
            self._tried.add(key)
            self._tried_of[architecture] += 1

    def _with_something_left(self, affordable: Callable[[str], bool]) -> list[str]:
        return [
            name
            for name in self.space.architectures
            if self._tried_of[name] < self.space.size_of(name)
            and affordable(name)
            and not self.lessons.leaves_alone(name)
        ]

    def _planned(self, affordable: Callable[[str], bool]) -> FirstTrial | None:
        """What trials have suggested, such as smaller settings where memory ran out, then the next
        of the first trials, if it was not tried and may be now."""
        for trial in [*self._asides, *self._first]:
            tried = _key(trial.architecture, trial.parameters) in self._tried
            allowed = self.lessons.allows(trial.architecture, trial.parameters)
            if not tried and allowed and affordable(trial.architecture):
                return trial
        return None

    def _sampler(self, attempt: int, *, constant_liar: bool = False) -> optuna.samplers.BaseSampler:
        seed = (self.seed * 1_000_003 + self._next * 101 + attempt) % 2**32
        tried = sum(_key(t.architecture, t.parameters) in self._tried for t in self._first)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=tried + STARTUP_TRIALS,
            group=True,
            multivariate=True,
            constant_liar=constant_liar,
        )

    def _rebuilt(self) -> optuna.Study:
        study = optuna.create_study(
            direction="maximize" if self.metric.higher_is_better else "minimize",
            pruner=optuna.pruners.NopPruner(),
        )
        for _, trial in sorted(self._ended.items()):
            self._add(study, trial)
        return study

    def _add(self, study: optuna.Study, trial: Trial) -> None:
        if trial.validation_score is None or trial.architecture not in self.space.architectures:
            return
        params = self._flat(trial.architecture, dict(trial.parameters))
        distributions = self.space.distributions(trial.architecture)
        if set(params) != set(distributions):
            return
        pruned = trial.state is TrialState.PRUNED
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED
                if pruned
                else optuna.trial.TrialState.COMPLETE,
                value=trial.validation_score,
                params=params,
                distributions=distributions,
                intermediate_values=dict(rungs_of(trial, self.metric)),
            )
        )

    def _flat(self, architecture: str, parameters: Parameters) -> dict[str, Any]:
        named = {f"{architecture}.{key}": value for key, value in parameters.items()}
        return {ARCHITECTURE: architecture, **named}


def _told_by(trials: Sequence[Trial]) -> set[int]:
    """The numbers of the trials that say something by themselves: of those that a dying process
    took along, the first, and none where they had too little memory together."""
    ended: dict[tuple[str, datetime | None], list[Trial]] = {}
    for trial in sorted(trials, key=lambda t: t.number):
        together = trial.end_time if trial.state is TrialState.FAILED else None
        ended.setdefault((trial.architecture, together), []).append(trial)
    found: set[int] = set()
    for (_, together), group in ended.items():
        alone = together is None or len(group) == 1
        if alone or not group[0].reason.startswith(OUT_OF_MEMORY):
            found |= {trial.number for trial in (group if alone else group[:1])}
    return found


def _key(architecture: str, parameters: Parameters) -> str:
    return json.dumps([architecture, parameters], sort_keys=True, default=str)
