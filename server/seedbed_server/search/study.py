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
from seedbed_sdk.space import Parameters
from seedbed_server.jobs.values import INTERRUPTED, Trial, TrialState
from seedbed_server.search.space import ARCHITECTURE, SearchSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)
# Said of `group` in every study; the version is pinned.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

RUNGS = 10
ATTEMPTS_TO_ASK = 50
FREE_ATTEMPTS = 5


@dataclass(frozen=True)
class Proposal:
    """What to try next."""

    number: int
    architecture: str
    parameters: Parameters
    handle: optuna.Trial


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
        self._study = optuna.create_study(
            direction="maximize" if metric.higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=max(5, len(self._portfolio)), n_warmup_steps=2
            ),
        )
        for trial in sorted(earlier, key=lambda t: t.number):
            self._next = trial.number + 1
            if trial.reason != INTERRUPTED:
                self._add(trial)

    @property
    def exhausted(self) -> bool:
        """Whether every setting has been tried."""
        return len(self._tried) >= self.space.size()

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
            if key in self._tried or not affordable(architecture):
                self._study.tell(handle, state=optuna.trial.TrialState.FAIL)
                if planned is not None:
                    self._portfolio.remove(planned)
                continue
            self._remember(architecture, key)
            number = self._next
            self._next += 1
            return Proposal(number, architecture, parameters, handle)
        return None

    def rung_score(self, proposal: Proposal, rung: int, score: float) -> bool:
        """Reports a score at a tenth of the trial's epochs; says whether to prune it."""
        proposal.handle.report(score, rung)
        return proposal.handle.should_prune()

    def tell(self, proposal: Proposal, state: TrialState, score: float | None) -> None:
        """Says how a trial went. A pruned trial's score counts; a failed trial has none."""
        handle = proposal.handle
        if state is TrialState.FAILED or score is None:
            self._study.tell(handle, state=optuna.trial.TrialState.FAIL)
        elif state is TrialState.PRUNED:
            self._study.tell(handle, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(handle, score)

    def _remember(self, architecture: str, key: str) -> None:
        if key not in self._tried:
            self._tried.add(key)
            self._tried_of[architecture] += 1

    def _with_something_left(self, affordable: Callable[[str], bool]) -> list[str]:
        return [
            name
            for name in self.space.architectures
            if self._tried_of[name] < self.space.size_of(name) and affordable(name)
        ]

    def _planned(self) -> tuple[str, Parameters] | None:
        """The next portfolio entry that was not tried."""
        for entry in self._portfolio:
            if _key(*entry) not in self._tried:
                return entry
        return None

    def _sampler(self, attempt: int) -> optuna.samplers.BaseSampler:
        seed = (self.seed * 1_000_003 + self._next * 101 + attempt) % 2**32
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=len(self._portfolio) + 5, group=True, multivariate=True
        )

    def _add(self, trial: Trial) -> None:
        self._remember(trial.architecture, _key(trial.architecture, dict(trial.parameters)))
        if trial.validation_score is None or trial.architecture not in self.space.architectures:
            return
        params = self._flat(trial.architecture, dict(trial.parameters))
        distributions = self.space.distributions(trial.architecture)
        if set(params) != set(distributions):
            return
        pruned = trial.state is TrialState.PRUNED
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED
                if pruned
                else optuna.trial.TrialState.COMPLETE,
                value=trial.validation_score,
                params=params,
                distributions=distributions,
                intermediate_values=_rungs(trial.epoch_scores),
            )
        )

    def _flat(self, architecture: str, parameters: Parameters) -> dict[str, Any]:
        named = {f"{architecture}.{key}": value for key, value in parameters.items()}
        return {ARCHITECTURE: architecture, **named}


def _key(architecture: str, parameters: Parameters) -> str:
    return json.dumps([architecture, parameters], sort_keys=True, default=str)


def rung_of(epoch: int, epochs: int) -> int:
    """In which tenth of its epochs a trial is, from 1 to 10: what makes trials of different lengths
    comparable."""
    return min(RUNGS, max(1, RUNGS * epoch // max(epochs, 1)))


def _rungs(scores: Sequence[float]) -> dict[int, float]:
    return {rung_of(epoch, len(scores)): score for epoch, score in enumerate(scores, start=1)}
