"""Which of two results on the validation split is better."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.metrics import METRICS, Metric


@dataclass(frozen=True)
class Judge:
    """Scores outputs [N, output size] by the job's metric, and compares results.

    On a small validation split many results share an accuracy; among those the finer `tie_breaker`
    decides. `target` holds the encoded targets [N].
    """

    metric: Metric
    tie_breaker: str
    target: Array

    def score(self, outputs: Array) -> float:
        """In the metric's unit; NaN where it is undefined."""
        return self.metric.compute(self.target, outputs)

    def better(
        self, score: float, outputs: Array, best_score: float | None, best_outputs: Array | None
    ) -> bool:
        """Whether a result beats the best so far, None where there is none yet."""
        if best_score is None or best_outputs is None:
            return True
        if score != best_score:
            return self.metric.better(score, best_score)
        finer = METRICS[self.tie_breaker]
        return finer.better(
            finer.compute(self.target, outputs), finer.compute(self.target, best_outputs)
        )
