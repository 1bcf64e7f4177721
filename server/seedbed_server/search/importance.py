"""How much architecture and hyperparameters matter for the score, by the trials there are."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from seedbed_sdk.metrics import Metric
from seedbed_sdk.space import Choices, Domain, FloatRange, IntRange
from seedbed_server.jobs.values import Trial
from seedbed_server.search.space import ARCHITECTURE, distribution

optuna.logging.set_verbosity(optuna.logging.ERROR)

LEAST_TRIALS = 12
# fANOVA's time grows faster than the number of trials.
MOST_TRIALS = 150
TREES = 32
ALL_SECONDS = 15.0
# Of twelve trials whose scores are noise alone, one forest in twenty predicts more than this; of
# more trials, fewer do.
LEAST_PREDICTED = 0.1
WHISKER = 1.5


@dataclass(frozen=True, slots=True)
class Importances:
    """The shares, in [0, 1], of an architecture's hyperparameters, or of the choice of the
    `architecture` where that is empty; the largest first. None with a `reason`."""

    architecture: str
    trials: int
    shares: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


def importances(
    trials: Sequence[Trial], spaces: Mapping[str, Mapping[str, Domain]], metric: Metric
) -> list[Importances]:
    """Of the choice of the architecture, then of each architecture that has a score, the most tried
    first. `spaces` are the architectures' hyperparameters with the values that may be tried."""
    scored = [trial for trial in trials if trial.validation_score is not None]
    by_architecture: dict[str, list[Trial]] = {}
    for trial in scored:
        by_architecture.setdefault(trial.architecture, []).append(trial)
    found = [_of_architecture(by_architecture, metric)] if scored else []
    until = time.monotonic() + ALL_SECONDS
    for name, own in sorted(by_architecture.items(), key=lambda item: -len(item[1])):
        if time.monotonic() > until:
            reason = f"there was no time for it within {ALL_SECONDS:.0f} s"
            found.append(Importances(name, len(own), reason=reason))
        else:
            found.append(_of_hyperparameters(name, own, spaces.get(name, {}), metric))
    return found


def _of_architecture(trials: Mapping[str, Sequence[Trial]], metric: Metric) -> Importances:
    """The share of the scores' variance between architectures: omega squared of a one-way analysis
    of variance, which for one factor is what fANOVA would estimate, without the bias upwards of few
    trials."""
    flat = [trial for own in trials.values() for trial in own]
    repeated = sum(len(own) > 1 for own in trials.values())
    if len(trials) < 2:
        return Importances("", len(flat), reason=f"only {flat[0].architecture} was tried")
    if len(flat) < LEAST_TRIALS:
        return Importances("", len(flat), reason=_too_few(len(flat)))
    if repeated < 2:
        reason = "fewer than two architectures were tried more than once"
        return Importances("", len(flat), reason=reason)
    scores = _scores(flat, metric)
    places = {name: [t.architecture == name for t in flat] for name in trials}
    whole = float(np.sum((scores - scores.mean()) ** 2))
    if whole == 0.0:
        return Importances("", len(flat), reason=_no_difference(len(flat)))
    within = sum(float(np.sum((scores[p] - scores[p].mean()) ** 2)) for p in places.values())
    error = within / (len(flat) - len(trials))
    share = (whole - within - (len(trials) - 1) * error) / (whole + error)
    return Importances("", len(flat), {ARCHITECTURE: min(1.0, max(0.0, share))})


def _of_hyperparameters(
    name: str, trials: Sequence[Trial], space: Mapping[str, Domain], metric: Metric
) -> Importances:
    """By fANOVA (Hutter et al. 2014), on at most 150 trials, evenly spread over the search."""
    varied = [
        key
        for key in trials[0].parameters
        if all(key in trial.parameters for trial in trials)
        and len({trial.parameters[key] for trial in trials}) > 1
    ]
    if len(trials) < LEAST_TRIALS:
        return Importances(name, len(trials), reason=_too_few(len(trials)))
    if not varied:
        reason = "its hyperparameters had the same values in all trials"
        return Importances(name, len(trials), reason=reason)
    step = -(-len(trials) // MOST_TRIALS)
    used = trials[::step]
    scores = _scores(used, metric)
    if np.ptp(scores) == 0.0:
        return Importances(name, len(used), reason=_no_difference(len(used)))
    domains = {key: _domain([t.parameters[key] for t in used], space.get(key)) for key in varied}
    if _predicted(used, scores, domains) < LEAST_PREDICTED:
        reason = f"how the scores of its {len(used)} trials differ cannot be told from chance"
        return Importances(name, len(used), reason=reason)
    return Importances(name, len(used), _fanova(used, scores, domains))


def _fanova(
    trials: Sequence[Trial], scores: NDArray[np.float64], domains: Mapping[str, Domain]
) -> dict[str, float]:
    """The shares. What is searched by its logarithm is given as that, so that its values weigh as
    they were drawn; Optuna's evaluator would weigh them by their size."""
    study = optuna.create_study()
    distributions = {key: distribution(_linear(domain)) for key, domain in domains.items()}
    for trial, score in zip(trials, scores, strict=True):
        params = {
            key: math.log(trial.parameters[key]) if _is_log(domain) else trial.parameters[key]
            for key, domain in domains.items()
        }
        study.add_trial(
            optuna.trial.create_trial(
                value=float(score), params=params, distributions=distributions
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in shares.items()}


def _is_log(domain: Domain) -> bool:
    return not isinstance(domain, Choices) and domain.log


def _linear(domain: Domain) -> Domain:
    if isinstance(domain, Choices) or not domain.log:
        return domain
    return FloatRange(math.log(domain.low), math.log(domain.high))


def _scores(trials: Sequence[Trial], metric: Metric) -> NDArray[np.float64]:
    """The scores [N], higher being better. Those far below the others are moved to where the
    others end, since one that diverged would outweigh all else."""
    sign = 1.0 if metric.higher_is_better else -1.0
    scores = sign * np.asarray([t.validation_score for t in trials], dtype=np.float64)
    low, high = np.quantile(scores, [0.25, 0.75])
    return scores.clip(min=float(low - WHISKER * (high - low)))


def _predicted(
    trials: Sequence[Trial], scores: NDArray[np.float64], domains: Mapping[str, Domain]
) -> float:
    """R² of a forest on scores that it was not shown: about 0 or below where the hyperparameters
    say nothing."""
    columns = [
        [_place(t.parameters[key], domain) for t in trials] for key, domain in domains.items()
    ]
    forest = RandomForestRegressor(100, min_samples_leaf=2, oob_score=True, random_state=0)
    return float(forest.fit(np.transpose(columns), scores).oob_score_)


def _place(value: Any, domain: Domain) -> float:
    return float(domain.values.index(value)) if isinstance(domain, Choices) else float(value)


def _domain(values: Sequence[Any], declared: Domain | None) -> Domain:
    """What a hyperparameter may be; where the trials had other values, what they had."""
    if declared is not None and all(value in declared for value in values):
        return declared
    numbers = [value for value in values if type(value) in (int, float)]
    if len(numbers) < len(values):
        return Choices(tuple(dict.fromkeys(values)))
    if all(isinstance(number, int) for number in numbers):
        return IntRange(min(numbers), max(numbers))
    return FloatRange(float(min(numbers)), float(max(numbers)))


def _too_few(count: int) -> str:
    return f"{count} trials have a score; at least {LEAST_TRIALS} are needed"


def _no_difference(count: int) -> str:
    return f"all {count} trials have the same score"
