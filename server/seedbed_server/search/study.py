"""The Optuna study: lives in memory, is rebuilt from the trial rows, and only decides."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from seedbed_sdk.metrics import Metric
from seedbed_sdk.space import FloatRange, Parameters
from seedbed_server.jobs.values import INTERRUPTED, Trial, TrialState
from seedbed_server.search.lessons import Lessons
from seedbed_server.search.recipes import found_rate
from seedbed_server.search.rungs import Rungs, rungs_of
from seedbed_server.search.space import ARCHITECTURE, SearchSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)
# Said of `group` in every study; the version is pinned.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

ATTEMPTS_TO_ASK = 50
FREE_ATTEMPTS = 5
LEARNING_RATE = "learning_rate"


@dataclass(frozen=True)
class Proposal:
    """What to try next. A trial that goes on after a pause has no handle."""

    number: int
    architecture: str
    parameters: Parameters
    handle: optuna.Trial | None = None


class Study:
    """Asks for settings, and is told how they went.

    Each trial's sampler is seeded by the job's seed and the trial's number, since the position of a
    sampler's random stream is lost when a study is rebuilt.
    """

    def __init__(
        self, space: SearchSpace, metric: Metric, seed: int, earlier: Sequence[Trial]
    ) -> None:
        self.space = space
        self.metric = metric
        self.seed = seed
        self._portfolio = space.portfolio()
        self._tried: set[str] = set()
        self._tried_of: Counter[str] = Counter()
        self._next = 0
        self._ended: dict[int, Trial] = {}
        self.lessons = Lessons(space)
        self._asides: list[tuple[str, Parameters]] = []
        self.rungs = Rungs(metric, startup=max(5, len(self._portfolio)))
        for trial in sorted(earlier, key=lambda t: t.number):
            self._next = trial.number + 1
            if trial.reason != INTERRUPTED:
                self._ended[trial.number] = trial
                self._remember(trial.architecture, _key(trial.architecture, dict(trial.parameters)))
                for rung, score in rungs_of(trial, metric):
                    self.rungs.note(trial.number, rung, score)
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
            planned = self._planned()
            if planned is not None:
                self._study.enqueue_trial(self._flat(*planned))
            elif attempt >= FREE_ATTEMPTS:
                self._study.enqueue_trial({ARCHITECTURE: choice[attempt % len(choice)]})
            handle = self._study.ask()
            architecture, parameters = self.space.suggest(handle)
            key = _key(architecture, parameters)
            allowed = self.lessons.allows(architecture, parameters)
            if key in self._tried or not affordable(architecture) or not allowed:
                self._study.tell(handle, state=optuna.trial.TrialState.FAIL)
                if planned is not None:
                    (self._asides if planned in self._asides else self._portfolio).remove(planned)
                elif not allowed and not self.lessons.leaves_alone(architecture):
                    shrunk = self.lessons.shrunk(architecture, parameters)
                    self._asides.append((architecture, shrunk))
                continue
            self._remember(architecture, key)
            number = self._next
            self._next += 1
            return Proposal(number, architecture, parameters, handle)
        return None

    def fallback(self) -> Proposal | None:
        """The simplest that may do: the first settings of the portfolio, which begins with the
        baselines, whose architecture is not left alone. They may have been tried before."""
        for architecture, parameters in self.space.portfolio():
            if self.lessons.allows(architecture, parameters):
                self._remember(architecture, _key(architecture, parameters))
                self._next += 1
                return Proposal(self._next - 1, architecture, parameters)
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
            self._asides.append((trial.architecture, smaller))
        rate, domains = found_rate(trial.recipe), self.space.domains.get(trial.architecture, {})
        if rate is not None and isinstance(domain := domains.get(LEARNING_RATE), FloatRange):
            within = min(max(rate, domain.low), domain.high)
            wanted = {**trial.parameters, LEARNING_RATE: within}
            self._asides.append((trial.architecture, wanted))

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

    def _planned(self) -> tuple[str, Parameters] | None:
        """What trials have suggested, such as smaller settings where memory ran out, then the next
        portfolio entry, if it was not tried."""
        for entry in [*self._asides, *self._portfolio]:
            if _key(*entry) not in self._tried and self.lessons.allows(*entry):
                return entry
        return None

    def _sampler(self, attempt: int) -> optuna.samplers.BaseSampler:
        seed = (self.seed * 1_000_003 + self._next * 101 + attempt) % 2**32
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=len(self._portfolio) + 5, group=True, multivariate=True
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


def _key(architecture: str, parameters: Parameters) -> str:
    return json.dumps([architecture, parameters], sort_keys=True, default=str)
