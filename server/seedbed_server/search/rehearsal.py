"""A search gone through without training, by what its trials cost."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from seedbed_sdk.metrics import Metric
from seedbed_server.jobs.values import Budget, Origin
from seedbed_server.search.budget import Spending
from seedbed_server.search.pacing import COSTLY_SHARE
from seedbed_server.search.paused import MOST as MOST_PAUSED
from seedbed_server.search.probing import TrialCost
from seedbed_server.search.rungs import RUNGS, Rungs, by_lead, promoted, rung_of
from seedbed_server.search.study import STARTUP_TRIALS, Proposal

# What follows is taken to go on like the last of these.
MOST_REHEARSED = 100
# How often it is gone through, each time with other trials being the better ones.
DRAWS = 5


@dataclass(frozen=True, slots=True)
class Script:
    """What a search would go by. `first` are the proposals that do not depend on how trials go,
    each with what it takes as far as that is known; `usual` is what some trials take of each
    architecture that is drawn from after those, and `leading` those of them that are likely ahead.

    `asking` are the seconds between two trials, `preparing` those before the first one. No more
    than `most` trials are begun, and not less than `startup` go on at a rung before any pauses.
    """

    budget: Budget
    first: Sequence[tuple[Proposal, TrialCost | None]]
    usual: Mapping[str, Sequence[TrialCost]]
    leading: Collection[str]
    baselines: frozenset[str]
    asking: float
    preparing: float
    most: float
    startup: int
    seed: int


@dataclass
class Rehearsal:
    """How it would go. `seconds` are those until its last trial has ended, `paused` the trials that
    would not have been trained to their end then. `first` are the known trials that would be begun,
    each with its whole seconds where they are known, and `of` how many of them each architecture
    has."""

    seconds: float
    samples: float = 0.0
    trials: int = 0
    paused: int = 0
    ran_out_of_time: bool = False
    of: Counter[str] = field(default_factory=Counter)
    first: list[tuple[Proposal, float | None]] = field(default_factory=list)


def rehearse(script: Script) -> Rehearsal:
    """The middle one, by its trials and seconds, of several. Which trials are better than which is
    taken to be chance, the same for each from its first rung to its last: a search that gets better
    as it goes pauses fewer, one with a few good settings more. Trials that are trained side by side
    are counted as if each were trained alone. The same script gives the same rehearsal."""
    draws = [_Stage(script, draw).played() for draw in range(DRAWS)]
    draws.sort(key=lambda run: (run.trials, run.seconds))
    return draws[len(draws) // 2]


@dataclass
class _Waiting:
    """A trial at a rung."""

    cost: TrialCost
    quality: float
    rung: int = 0
    done: float = 0.0


class _Stage:
    """One rehearsal."""

    def __init__(self, script: Script, draw: int) -> None:
        self.script = script
        self.run = Rehearsal(script.preparing)
        budget = script.budget
        self.until = math.inf
        if budget.wall_clock_seconds is not None:
            self.until = budget.wall_clock_seconds - Spending(budget, 0.0).reserve()
        self.samples = math.inf if budget.samples is None else float(budget.samples)
        self.most = min(script.most, budget.trials or math.inf)
        self.random = random.Random(f"{script.seed}/{draw}")
        self.rungs = Rungs(_QUALITY, script.startup)
        self.waiting: dict[int, _Waiting] = {}
        self.shared: set[str] = set()
        self.queue = list(script.first)
        self.marks: list[tuple[float, float]] = []
        # Those of the known trials that were drawn at random count too.
        drawn = sum(proposal.origin is Origin.SAMPLER for proposal, _ in script.first)
        self.learns_after = STARTUP_TRIALS - drawn
        self.sampled = 0

    def played(self) -> Rehearsal:
        """Goes through it to its end."""
        while not self._is_over():
            number = promoted(self.rungs, self._reached())
            if number is not None:
                self._train(number, self.waiting.pop(number), may_pause=True)
            elif self.run.trials >= self.most:
                # Trials that have paused are gone on with where there is nothing else to try.
                if self.run.trials < self.script.most or not self._furthest_goes_on():
                    break
            elif self.run.trials >= MOST_REHEARSED:
                self._go_on_alike()
                break
            elif not self._begin() and not self._furthest_goes_on():
                break
            self.marks.append((self.run.seconds, self.run.samples))
        self.run.paused += len(self.waiting)
        self.run.ran_out_of_time = self.run.seconds >= self.until
        return self.run

    def _is_over(self) -> bool:
        return self.run.seconds >= self.until or self.run.samples >= self.samples

    def _begin(self) -> bool:
        """Begins the next trial; false where no time is left for one that may be worth it."""
        name, proposal, cost = "", None, None
        while self.queue and proposal is None:
            proposal, cost = self.queue.pop(0)
            name = proposal.architecture
            if not self._has_time_for(name, cost):
                proposal = None
        if proposal is None:
            found = self._drawn()
            if found is None:
                return False
            name, cost = found
        else:
            self.run.first.append((proposal, None if cost is None else cost.seconds))
            self.run.of[name] += 1
        number = self.run.trials
        self.run.trials += 1
        self.run.seconds += self.script.asking
        cost = cost or self._any()
        shared = {key: seconds for key, seconds in cost.shared if key not in self.shared}
        self.shared.update(shared)
        self.run.seconds += sum(shared.values())
        trial = _Waiting(cost, self.random.random())
        self._train(number, trial, may_pause=name not in self.script.baselines)
        return True

    def _drawn(self) -> tuple[str, TrialCost] | None:
        """A trial that is not known beforehand: of any architecture at first, then of those ahead,
        which the sampler comes to."""
        drawn = {name: self.random.choice(costs) for name, costs in self.script.usual.items()}
        affordable = [n for n, cost in drawn.items() if self._has_time_for(n, cost)]
        if not affordable:
            return None
        self.sampled += 1
        ahead = [name for name in affordable if name in self.script.leading]
        name = self.random.choice(
            ahead if ahead and self.sampled > self.learns_after else affordable
        )
        return name, drawn[name]

    def _any(self) -> TrialCost:
        costs = self.script.usual[self.random.choice(sorted(self.script.usual))]
        return self.random.choice(costs)

    def _has_time_for(self, name: str, cost: TrialCost | None) -> bool:
        """As `Pacing.has_time_for`, which knows of an architecture once one of its trials ended."""
        left = self.until - self.run.seconds
        if cost is None or name not in self.run.of or name in self.script.leading:
            return True
        return cost.seconds <= COSTLY_SHARE * left

    def _train(self, number: int, trial: _Waiting, *, may_pause: bool) -> None:
        """Trains a trial until it pauses, ends, or the budget does."""
        cost = trial.cost
        # A run is made as long as the time allows.
        begin = cost.begin_seconds
        left = self.until - self.run.seconds - begin
        whole = max(1e-9, cost.seconds - begin)
        share = 1.0 if trial.done else min(1.0, max(0.0, left) / whole)
        self.run.seconds += begin
        for reached in cost.reports():
            if reached <= trial.done:
                continue
            step = (reached - trial.done) * share
            seconds, samples = step * whole, step * cost.samples
            part = min(1.0, (self.samples - self.run.samples) / max(1e-9, samples))
            self.run.seconds += seconds * part
            self.run.samples += samples * part
            trial.done = reached
            if self._is_over():
                return
            rung = rung_of(reached, 1.0)
            if not may_pause or rung <= trial.rung or rung >= RUNGS:
                continue
            trial.rung = rung
            self.rungs.note(number, rung, trial.quality)
            if not self.rungs.goes_on(number, rung):
                self._pause(number, trial)
                return

    def _pause(self, number: int, trial: _Waiting) -> None:
        if not trial.cost.continues:
            self.run.paused += 1
            return
        self.waiting[number] = trial
        for behind in by_lead(self.rungs, self._reached())[MOST_PAUSED:]:
            del self.waiting[behind]
            self.run.paused += 1

    def _furthest_goes_on(self) -> bool:
        order = by_lead(self.rungs, self._reached())
        if order:
            self._train(order[0], self.waiting.pop(order[0]), may_pause=False)
        return bool(order)

    def _reached(self) -> dict[int, int]:
        return {number: trial.rung for number, trial in self.waiting.items()}

    def _go_on_alike(self) -> None:
        """Adds the trials that are too many to go through."""
        run, half = self.run, len(self.marks) // 2
        (seconds, samples), steps = self.marks[half], len(self.marks) - half
        each = max(1e-6, (run.seconds - seconds) / steps)
        passed = (run.samples - samples) / steps
        count = min(
            self.most - run.trials,
            (self.until - run.seconds) / each,
            (self.samples - run.samples) / max(1e-6, passed),
        )
        run.paused = round(run.paused * (1 + count / run.trials))
        run.seconds += count * each
        run.samples += count * passed
        run.trials += math.ceil(count)


_QUALITY = Metric("quality", True, (), lambda target, outputs: math.nan)  # noqa: ARG005


def scaled(cost: TrialCost, epochs: float) -> TrialCost:
    """What a trial of other epochs would take."""
    factor = epochs / cost.epochs if cost.epochs else 1.0
    working = (cost.seconds - cost.begin_seconds) * factor
    return replace(
        cost,
        seconds=cost.begin_seconds + working,
        samples=cost.samples * factor,
        epochs=epochs,
    )
