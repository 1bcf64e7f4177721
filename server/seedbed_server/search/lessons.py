"""What the failures of a job's trials say about what is worth trying."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from seedbed_sdk.space import Choices, Domain, IntRange, Parameters
from seedbed_sdk.trainer import Architecture
from seedbed_server.jobs.values import (
    HUNG,
    INTERRUPTED,
    OUT_OF_MEMORY,
    WORKER_DIED,
    Trial,
    TrialState,
)
from seedbed_server.search.faults import CRASHED, CUT_SHORT, DIVERGED
from seedbed_server.search.space import SearchSpace

# After so many failures of a kind without a success between them, an architecture is left alone.
# What costs more is tried less often: a crash costs moments, a death a new worker, a hang a part of
# the budget.
_MOST = {DIVERGED: 5, CRASHED: 3, WORKER_DIED: 2, HUNG: 1}


@dataclass
class Lessons:
    """Which architectures are left alone, and which settings.

    Where a trial has run out of memory, its architecture is tried again only with smaller values of
    what its memory grows with, and not larger in any of these; where that is not known, not at all.
    """

    space: SearchSpace
    _failures: dict[str, Counter[str]] = field(default_factory=dict)
    _too_large: dict[str, list[Parameters]] = field(default_factory=dict)

    def note(self, trial: Trial) -> Parameters | None:
        """Learns from a trial that has ended. Returns smaller settings of its architecture to try
        next, where it ran out of memory and there are such."""
        if trial.architecture not in self.space.architectures:
            return None
        if trial.state is not TrialState.FAILED:
            self._failures.pop(trial.architecture, None)
            return None
        if trial.reason == INTERRUPTED or trial.reason.startswith(CUT_SHORT):
            return None
        if trial.reason.startswith(OUT_OF_MEMORY):
            parameters = dict(trial.parameters)
            self._too_large.setdefault(trial.architecture, []).append(parameters)
            return self._halved(trial.architecture, parameters)
        kind = next((k for k in _MOST if trial.reason.startswith(k)), CRASHED)
        self._failures.setdefault(trial.architecture, Counter())[kind] += 1
        return None

    def leaves_alone(self, architecture: str) -> bool:
        """Whether nothing more of an architecture is tried."""
        failures = self._failures.get(architecture, Counter[str]())
        if any(count >= _MOST[kind] for kind, count in failures.items()):
            return True
        too_large = self._too_large.get(architecture, ())
        return any(self._halved(architecture, parameters) is None for parameters in too_large)

    def allows(self, architecture: str, parameters: Parameters) -> bool:
        """Whether settings may be tried."""
        if self.leaves_alone(architecture):
            return False
        names = self.space.architectures[architecture].memory_grows_with
        return all(
            _is_smaller(parameters, large, names) for large in self._too_large.get(architecture, ())
        )

    def shrunk(self, architecture: str, parameters: Parameters) -> Parameters:
        """The same with what memory grows with at most half of what ran out of it."""
        found = dict(parameters)
        for large in self._too_large.get(architecture, ()):
            half = self._halved(architecture, large) or {}
            for key in self.space.architectures[architecture].memory_grows_with:
                if key in half and key in found:
                    found[key] = min(found[key], half[key])
        return found

    def _halved(self, name: str, parameters: Parameters) -> Parameters | None:
        """With half of all that its memory grows with, or as near to that as the space allows; None
        where it cannot be smaller."""
        architecture: Architecture = self.space.architectures[name]
        domains = self.space.domains[name]
        halved = {
            key: _half(domains[key], parameters[key])
            for key in architecture.memory_grows_with
            if key in domains and key in parameters
        }
        smaller = {**parameters, **halved}
        return smaller if smaller != parameters else None


def _half(domain: Domain, value: Any) -> Any:
    """The largest value of the domain up to half of the given one, else its smallest."""
    if isinstance(domain, Choices):
        smaller = sorted(v for v in domain.values if isinstance(v, int | float) and v < value)
        below = [v for v in smaller if v <= value / 2] or smaller[:1]
        return below[-1] if below else value
    half = value // 2 if isinstance(domain, IntRange) else value / 2
    return max(domain.low, half)


def _is_smaller(one: Parameters, than: Parameters, names: tuple[str, ...]) -> bool:
    pairs = [(one[name], than[name]) for name in names if name in one and name in than]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
