"""The learning rate over a run, and how long the run may be."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Warm-up, stable, decay (Hu et al. 2024, "MiniCPM"; Hägele et al. 2024): linear from zero,
    then constant, then linear to zero. The decay can begin at any step, so a run can be shortened
    while it goes on and still end well."""

    warmup_fraction: float = 0.05
    decay_fraction: float = 0.4

    def multiplier(self, step: int, total_steps: int) -> float:
        """Of the learning rate at `step` (from 0) of a run of `total_steps`; in (0, 1]."""
        warmup = max(1.0, self.warmup_fraction * total_steps)
        decay = max(1.0, self.decay_fraction * total_steps)
        rising = (step + 1) / warmup
        falling = (total_steps - step) / decay
        return max(min(1.0, rising, falling), 1e-8)


class Pace:
    """Seconds a step takes, from the steps so far; the first two, which warm up, are left out."""

    WARMUP_STEPS = 2

    def __init__(self) -> None:
        self._steps = 0
        self._seconds = 0.0
        self._last = time.monotonic()

    def restart(self) -> None:
        """Leaves out the time since the last step, such as a validation pass."""
        self._last = time.monotonic()

    def step(self) -> None:
        """Notes that a step has ended."""
        now = time.monotonic()
        self._steps += 1
        if self._steps > self.WARMUP_STEPS:
            self._seconds += now - self._last
        self._last = now

    @property
    def seconds_per_step(self) -> float | None:
        """None until there are enough steps to tell."""
        measured = self._steps - self.WARMUP_STEPS
        return self._seconds / measured if measured >= 2 else None


def steps_that_fit(
    seconds_left: float,
    seconds_per_step: float | None,
    validation_seconds: float = 0.0,
    *,
    every: float = math.inf,
    since: int = 0,
) -> float:
    """How many more steps fit, where a validation pass comes after `every` steps and after the last
    one, and there have been `since` steps after the one before; infinite where there is no limit or
    no measurement yet."""
    if math.isinf(seconds_left) or not seconds_per_step:
        return math.inf
    if math.isinf(every):
        return max(0.0, math.floor((seconds_left - validation_seconds) / seconds_per_step))
    left = seconds_left + since * seconds_per_step
    rounds, rest = divmod(left, every * seconds_per_step + validation_seconds)
    further = math.floor((rest - validation_seconds) / seconds_per_step)
    return max(0.0, rounds * every + max(0, further) - since)
