"""The model of a job that was extended, which another one has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.metrics import Metric
from seedbed_server.jobs.values import Model
from seedbed_server.search.chosen import Chosen


@dataclass(frozen=True)
class Published:
    """What a job had published before it was extended. `target` is the validation split's."""

    model: Model
    metric: Metric
    target: Array

    def gives_way_to(self, chosen: Chosen) -> bool:
        """Whether it is replaced: by what has a better validation score, or by its own trial where
        more of the models of that are trained on all items now, which the score does not show."""
        if self._is_worse_than(chosen):
            return True
        again = sum(part.refitted is not None for part in chosen.parts)
        return self._is_of_the_same_trial(chosen) and again > self._trained_on_all

    def may_give_way_to(self, chosen: Chosen) -> bool:
        """Whether it is or would be replaced once that is trained once more."""
        return self._is_worse_than(chosen) or self._is_of_the_same_trial(chosen)

    def _is_worse_than(self, chosen: Chosen) -> bool:
        if self.model.validation_score is None:
            return True
        score = self.metric.compute(self.target, chosen.outputs)
        return self.metric.better(score, self.model.validation_score.value)

    def _is_of_the_same_trial(self, chosen: Chosen) -> bool:
        members = set(self.model.recipe.get("members", [self.model.trial]))
        if {part.candidate.trial.number for part in chosen.parts} != members or len(members) > 1:
            return False
        score = self.metric.compute(self.target, chosen.outputs)
        before = self.model.validation_score
        return before is None or not self.metric.better(before.value, score)

    @property
    def _trained_on_all(self) -> int:
        return sum(parameters is not None for parameters in self.model.recipe.get("refit", ()))
