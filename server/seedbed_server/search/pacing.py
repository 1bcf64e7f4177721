"""What the trials of each architecture take, and which are worth the time that is left."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import median

from seedbed_server.jobs.values import Trial, TrialState
from seedbed_server.search.budget import Spending
from seedbed_server.search.faults import CUT_SHORT
from seedbed_server.search.recipes import company_of

# A run cut shorter than this seldom beats those that were not.
LEAST_SHARE_OF_A_TRIAL = 0.5
# Where another architecture is ahead, what takes longer than this share of the time left is not
# tried again as long as there is something else to try.
COSTLY_SHARE = 0.25
# So many of the latest measurements count.
MEASURED = 5
# Other settings may take less time than a trial that lacked it.
MOST_CUT_SHORT = 2


@dataclass
class Pacing:
    """Seconds by architecture: the least that an epoch and a whole trial took, and what predicting
    an item did, of which the median counts, since one measurement may fall into a slow moment."""

    spending: Spending
    _item_seconds: dict[str, deque[float]] = field(default_factory=dict)
    trial_seconds: dict[str, float] = field(default_factory=dict)
    _epoch_seconds: dict[str, float] = field(default_factory=dict)
    _cut_short: Counter[str] = field(default_factory=Counter)

    def note(self, trial: Trial) -> None:
        """Takes a trial that has ended."""
        if trial.state is TrialState.FAILED:
            self._cut_short[trial.architecture] += trial.reason.startswith(CUT_SHORT)
            return
        if company_of(trial.recipe):
            # It took less than one does alone.
            return
        name, per_epoch = trial.architecture, trial.seconds / max(trial.epochs, 1.0)
        self._epoch_seconds[name] = min(self._epoch_seconds.get(name, per_epoch), per_epoch)
        if trial.state is TrialState.COMPLETE:
            shortest = self.trial_seconds.get(name, trial.seconds)
            self.trial_seconds[name] = min(shortest, trial.seconds)

    def note_predicting(self, architecture: str, seconds: float) -> None:
        """Takes what predicting an item took."""
        self._item_seconds.setdefault(architecture, deque(maxlen=MEASURED)).append(seconds)

    def item_seconds(self, architecture: str) -> float:
        """What predicting an item takes; 0 where that is not known."""
        return median(self._item_seconds.get(architecture, (0.0,)))

    def affordable(self, architecture: str) -> bool:
        """Whether an epoch of it fits into the time left, as far as is known."""
        if self._cut_short[architecture] >= MOST_CUT_SHORT:
            return False
        return self._epoch_seconds.get(architecture, 0.0) < self.spending.seconds_left()

    def has_time_for(self, architecture: str, leading: str | None) -> bool:
        """Whether so much of a trial fits that it may be worth something, as far as is known;
        `leading` is the architecture that is ahead."""
        left = self.spending.seconds_left()
        seconds = self.trial_seconds.get(architecture, 0.0)
        behind = leading is not None and leading != architecture
        if behind and seconds > COSTLY_SHARE * left:
            return False
        return LEAST_SHARE_OF_A_TRIAL * seconds < left and self.affordable(architecture)

    def seconds_alone(self, trial: Trial) -> float:
        """What training it again by itself would take, as far as is known."""
        if not company_of(trial.recipe):
            return trial.seconds
        return max(trial.seconds, trial.epochs * self._epoch_seconds.get(trial.architecture, 0.0))
